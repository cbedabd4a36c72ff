/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_PRNG_H
#define BASE_PRNG_H
/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): one seed draws
 * everything. */
#include <stdint.h>

struct prng {
	uint64_t state; /* the seed */
};

static inline uint64_t prng_next(struct prng *prng)
{
	uint64_t z = (prng->state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Uniform in 0 … n−1 for n far below 2^64; n must not be 0. */
static inline uint64_t prng_below(struct prng *prng, uint64_t n)
{
	return prng_next(prng) % n;
}

#endif
