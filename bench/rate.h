/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_RATE_H
#define BENCH_RATE_H
/* The clock of the benchmarks' programs, and the line that bench/run reads. */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

static inline double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* GB/s since `started`; the sum is shown so that computing it is not left out. */
static inline void print_rate(uint64_t bytes, double started, uint64_t sum)
{
	printf("%.3f %llu\n", (double)bytes / 1e9 / (now_s() - started), (unsigned long long)sum % 10);
}

#endif
