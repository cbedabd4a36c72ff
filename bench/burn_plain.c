/* SPDX-License-Identifier: Apache-2.0 */
/* The function of the bench plugin's `burn`, called from main. usage: burn_plain ITERATIONS TIMES */
#include "burn.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	uint64_t sum = 0;

	if (argc != 3)
		return 2;
	for (uint64_t i = 0; i < strtoull(argv[2], NULL, 10); i++)
		sum += burn(i, strtoull(argv[1], NULL, 10));
	printf("%llu\n", (unsigned long long)sum);
	return 0;
}
