/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines to sort, of 100 bytes with the LF, as TeraSort's records are: ten random printable bytes, then the
 * line's number and filling. The same seed gives the same bytes.
 *
 * usage: gen_sort BYTES [SEED]
 */
#include "base/prng.h"
#include "base/size.h"

#include <stdio.h>

#define LINE 100

int main(int argc, char **argv)
{
	uint64_t bytes = 0, seed = 1;
	struct prng prng;

	if (argc < 2 || size_parse_bytes(argv[1], &bytes) < 0 ||
		(argc > 2 && size_parse_number(argv[2], &seed) < 0)) {
		fprintf(stderr, "usage: gen_sort BYTES [SEED]\n");
		return 2;
	}
	prng.state = seed;
	for (uint64_t i = 0; i < bytes / LINE; i++) {
		uint64_t a = prng_next(&prng), b = prng_next(&prng);
		char line[LINE + 1];

		for (int k = 0; k < 5; k++, a /= 95, b /= 95) {
			line[2 * k] = (char)(' ' + a % 95);
			line[2 * k + 1] = (char)(' ' + b % 95);
		}
		snprintf(line + 10, sizeof(line) - 10, "%032llx%057d", (unsigned long long)i, 0);
		line[LINE - 1] = '\n';
		fwrite(line, 1, LINE, stdout);
	}
	return ferror(stdout) != 0;
}
