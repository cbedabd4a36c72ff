/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Word count as one would write it in an afternoon. The same words and the same output as graphs/wordcount.
 *
 * usage: wc_plain FILE [THREADS] >words.tsv
 */
#include "plain_count.h"

static void count_line(struct table *t, const char *line, size_t len)
{
	char word[256];
	size_t at = 0;

	for (size_t i = 0; i <= len; i++) {
		unsigned char c = i < len ? (unsigned char)line[i] : 0;

		if (c >= 'A' && c <= 'Z')
			c = (unsigned char)(c + 32);
		if (((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80) && at < sizeof(word)) {
			word[at++] = (char)c;
			continue;
		}
		if (at)
			add(t, word, at, 1);
		at = 0;
	}
}

int main(int argc, char **argv)
{
	return print_counts(argv[1], argc > 2 ? atoi(argv[2]) : 1, SIZE_MAX);
}
