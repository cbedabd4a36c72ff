/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTICES_NUMBER_H
#define VERTICES_NUMBER_H
/*
 * Numbers as they stand in records. `type: number` is what `sort -n` takes: blanks, '-', digits, one '.' and
 * digits; it is compared and added digit by digit, exactly at any length. `type: general` is what `sort -g`
 * takes: what strtold does.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A decimal: the digits that count, in the text that it was read from. */
struct number {
	const char *whole, *frac;
	size_t whole_len, frac_len; /* without zeros at the beginning, and at the end */
	bool negative;              /* never of 0 */
};

/* False where the text, without the blanks around it, is not wholly a number; *ret is then 0. */
bool number_parse(const char *text, size_t len, struct number *ret);
int number_compare(const struct number *a, const struct number *b);
/*
 * A number of 64 bits that orders as numbers do: where two differ they decide. Where they are the same the
 * numbers are equal if the prefix is whole; else what is behind its 16 digits is to be compared.
 */
uint64_t number_prefix(const struct number *n);
bool number_prefix_is_whole(uint64_t prefix);
/* The one way to write it: no zeros around it, 0 before a point, no "-0". Returns its length. */
size_t number_length(const struct number *n);
void number_write(const struct number *n, char *ret);

/* The same for general numbers. False also where the text is too long to be one. */
bool general_parse(const char *text, size_t len, long double *ret);
/* nan comes before all numbers. */
int general_compare(long double a, long double b);
uint64_t general_prefix(long double x);
#define GENERAL_TEXT_LEN 64
/* The shortest of some that strtold makes the same number of. */
size_t general_write(long double x, char ret[GENERAL_TEXT_LEN]);

/* ---- total.c: exact sums ---- */

struct wide;

/* All zero is 0. To be freed by total_fini. */
struct total {
	union {
		int64_t small; /* times 10^-scale */
		struct wide *wide;
	} u;
	uint32_t scale;
};
#define TOTAL_IS_WIDE UINT32_MAX /* as scale */

/* False: out of memory. */
bool total_add(struct total *t, const struct number *n);
/* Allocated, as number_write writes it; NULL: out of memory. */
char *total_text(const struct total *t);
void total_fini(struct total *t);

#endif
