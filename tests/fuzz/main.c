/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over the files that it is given: for machines without libFuzzer, and to try one finding
 * again. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		uint8_t *data = malloc(2 << 20);
		size_t n = f && data ? fread(data, 1, 2 << 20, f) : 0;

		if (f)
			fclose(f);
		LLVMFuzzerTestOneInput(data, n);
		free(data);
	}
	return 0;
}
