/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text with Zipf's distribution: word k of the vocabulary is drawn with a weight of 1/k. Rejection-free, from
 * a table of cumulated weights; the same seed gives the same bytes.
 *
 * usage: gen_text BYTES [SEED [VOCABULARY [WORDS-A-LINE]]]
 */
#include "base/prng.h"
#include "base/size.h"

#include <stdio.h>

#define TABLE (1u << 20)

int main(int argc, char **argv)
{
	uint64_t bytes = 0, seed = 1, vocabulary = 100000, per_line = 10, written = 0;
	struct prng prng;
	uint32_t *table = base_alloc(TABLE * sizeof(*table));
	char(*words)[12];
	double total = 0, sum = 0;
	uint32_t at = 0;

	if (argc < 2 || size_parse_bytes(argv[1], &bytes) < 0 ||
		(argc > 2 && size_parse_number(argv[2], &seed) < 0) ||
		(argc > 3 && size_parse_number(argv[3], &vocabulary) < 0) ||
		(argc > 4 && size_parse_number(argv[4], &per_line) < 0) || !vocabulary || !per_line ||
		vocabulary > TABLE) {
		fprintf(stderr, "usage: gen_text BYTES [SEED [VOCABULARY [WORDS-A-LINE]]]\n");
		return 2;
	}
	prng.state = seed;
	words = base_alloc(vocabulary * sizeof(*words));
	for (uint64_t i = 0; i < vocabulary; i++) {
		uint64_t n = i + 1;
		size_t len = 0;

		/* Different words for different numbers; frequent ones are short, as in a language. */
		while (n && len < sizeof(*words) - 2) {
			words[i][len++] = (char)('a' + n % 26);
			n /= 26;
			words[i][len++] = "aeiou"[n % 5];
			n /= 5;
		}
		total += 1.0 / (double)(i + 1);
	}
	for (uint64_t i = 0; i < vocabulary; i++) {
		sum += 1.0 / (double)(i + 1);
		while (at < TABLE && (double)at < sum / total * TABLE)
			table[at++] = (uint32_t)i;
	}
	while (written < bytes) {
		for (uint64_t i = 0; i < per_line && written < bytes; i++) {
			const char *word = words[table[prng_below(&prng, TABLE)]];

			fputs(word, stdout);
			putchar(i + 1 < per_line ? ' ' : '\n');
			written += strlen(word) + 1;
		}
	}
	free(words);
	free(table);
	return 0;
}
