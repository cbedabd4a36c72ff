/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An access log in the common format: page k of 100,000 is asked for with a weight of about 1/k, by one of
 * 50,000 clients. The same seed gives the same bytes.
 *
 * usage: gen_log BYTES [SEED]
 */
#include "base/prng.h"
#include "base/size.h"

#include <math.h>
#include <stdio.h>

#define PAGES 100000.0

static uint32_t draw_page(struct prng *prng)
{
	return (uint32_t)exp((double)prng_below(prng, 1u << 30) / (1u << 30) * log(PAGES));
}

int main(int argc, char **argv)
{
	uint64_t bytes = 0, seed = 1, written = 0;
	struct prng prng;

	if (argc < 2 || argc > 3 || size_parse_bytes(argv[1], &bytes) < 0 ||
		(argc > 2 && size_parse_number(argv[2], &seed) < 0)) {
		fprintf(stderr, "usage: gen_log BYTES [SEED]\n");
		return 2;
	}
	prng.state = seed;
	for (uint64_t second = 0; written < bytes; second++) {
		uint32_t client = (uint32_t)prng_below(&prng, 50000);
		int n = printf("10.0.%u.%u - - [22/Nov/2026:%02u:%02u:%02u +0000] \"GET /page/%u.html "
			       "HTTP/1.1\" 200 %u\n",
			client / 250, client % 250, (unsigned)(second / 36000 % 24),
			(unsigned)(second / 600 % 60), (unsigned)(second / 10 % 60), draw_page(&prng),
			(unsigned)prng_below(&prng, 100000));

		if (n < 0)
			return 1;
		written += (uint64_t)n;
	}
	return 0;
}
