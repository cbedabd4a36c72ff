/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_BURN_H
#define BENCH_BURN_H
/* Work that only a processor does. */
#include <stdint.h>

static inline uint64_t burn(uint64_t x, uint64_t n)
{
	while (n--)
		x = x * 6364136223846793005u + (x >> 33 | 1);
	return x;
}

#endif
