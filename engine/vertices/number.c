/* SPDX-License-Identifier: Apache-2.0 */
/* Decimals are compared where they stand; a prefix of 64 bits, 16 digits and an exponent, mostly tells
 * enough. */
#include "number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Of the absolute value, from the top: an exponent, 16 digits, and whether there are more of them. A negative
 * number has all bits turned round.
 */
#define PREFIX_DIGITS 16
#define DIGITS_BITS 54
#define EXPONENT_BIAS 128
#define EXPONENT_MAX 255
#define MAGNITUDE_MAX ((1ull << 63) - 1)

static const uint64_t powers[PREFIX_DIGITS + 1] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000,
	100000000, 1000000000, 10000000000, 100000000000, 1000000000000, 10000000000000, 100000000000000,
	1000000000000000, 10000000000000000};

static bool is_blank_before(char c)
{
	return c == ' ' || c == '\t' || c == '\n';
}

/* Lines of Windows end in a CR. */
static bool is_blank_behind(char c)
{
	return is_blank_before(c) || c == '\r';
}

static const char *skip_digits(const char *at, const char *end)
{
	while (at < end && (unsigned char)(*at - '0') < 10)
		at++;
	return at;
}

bool number_parse(const char *text, size_t len, struct number *ret)
{
	const char *at = text, *end = text + len, *whole, *whole_end, *frac, *frac_end;
	bool negative;

	*ret = (struct number){.whole = text, .frac = text};
	while (at < end && is_blank_before(*at))
		at++;
	while (end > at && is_blank_behind(end[-1]))
		end--;
	negative = at < end && *at == '-';
	whole = at + negative;
	whole_end = skip_digits(whole, end);
	frac = frac_end = whole_end;
	if (whole_end < end && *whole_end == '.') {
		frac = whole_end + 1;
		frac_end = skip_digits(frac, end);
	}
	if (frac_end != end || (whole == whole_end && frac == frac_end))
		return false;
	while (whole < whole_end && *whole == '0')
		whole++;
	while (frac < frac_end && frac_end[-1] == '0')
		frac_end--;
	ret->whole = whole;
	ret->frac = frac;
	ret->whole_len = (size_t)(whole_end - whole);
	ret->frac_len = (size_t)(frac_end - frac);
	ret->negative = negative && (ret->whole_len || ret->frac_len);
	return true;
}

static int compare_frac(const struct number *a, const struct number *b)
{
	size_t n = a->frac_len < b->frac_len ? a->frac_len : b->frac_len;
	int c = n ? memcmp(a->frac, b->frac, n) : 0;

	/* No zeros at the end: the longer one is the greater. */
	return c ? c : (a->frac_len > b->frac_len) - (a->frac_len < b->frac_len);
}

int number_compare(const struct number *a, const struct number *b)
{
	int c;

	if (a->negative != b->negative)
		return a->negative ? -1 : 1;
	c = (a->whole_len > b->whole_len) - (a->whole_len < b->whole_len);
	if (!c && a->whole_len)
		c = memcmp(a->whole, b->whole, a->whole_len);
	if (!c)
		c = compare_frac(a, b);
	return a->negative ? -c : c;
}

static uint64_t take_digits(uint64_t value, const char *digits, size_t n)
{
	for (size_t i = 0; i < n; i++)
		value = value * 10 + (uint64_t)(digits[i] - '0');
	return value;
}

/* 0.DIGITS times ten to the exponent. */
static uint64_t magnitude(const struct number *n)
{
	const char *frac = n->frac;
	size_t from_whole = n->whole_len < PREFIX_DIGITS ? n->whole_len : PREFIX_DIGITS, from_frac,
	       frac_len = n->frac_len;
	int64_t exponent = (int64_t)n->whole_len;
	uint64_t digits;
	bool more;

	for (; !n->whole_len && frac_len && *frac == '0'; frac++, frac_len--)
		exponent--;
	if (!n->whole_len && !frac_len)
		return 0;
	from_frac = PREFIX_DIGITS - from_whole < frac_len ? PREFIX_DIGITS - from_whole : frac_len;
	digits = take_digits(take_digits(0, n->whole, from_whole), frac, from_frac);
	digits *= powers[PREFIX_DIGITS - from_whole - from_frac];
	more = from_whole + from_frac < n->whole_len + frac_len;
	exponent += EXPONENT_BIAS;
	if (exponent < 1)
		return 1;
	if (exponent > EXPONENT_MAX)
		return MAGNITUDE_MAX;
	return (uint64_t)exponent << (DIGITS_BITS + 1) | digits << 1 | more;
}

static uint64_t with_sign(uint64_t m, bool negative)
{
	m |= 1ull << 63;
	return negative ? ~m : m;
}

uint64_t number_prefix(const struct number *n)
{
	return with_sign(magnitude(n), n->negative);
}

/* The last bit says that there is more; of negative numbers it is turned round. */
bool number_prefix_is_whole(uint64_t prefix)
{
	return (prefix & 1) != prefix >> 63;
}

size_t number_length(const struct number *n)
{
	return n->negative + (n->whole_len ? n->whole_len : 1) + (n->frac_len ? n->frac_len + 1 : 0);
}

void number_write(const struct number *n, char *ret)
{
	if (n->negative)
		*ret++ = '-';
	if (n->whole_len)
		memcpy(ret, n->whole, n->whole_len);
	else
		*ret = '0';
	ret += n->whole_len ? n->whole_len : 1;
	if (!n->frac_len)
		return;
	*ret++ = '.';
	memcpy(ret, n->frac, n->frac_len);
}

/* ---- general ---- */

#define GENERAL_STACK 128
#define GENERAL_MAX (64u << 10) /* more digits say nothing that a long double could hold */
#define LONG_DOUBLE_BIAS 16382  /* the least exponent of a normal one becomes 1 */
#define FRACTION_BITS 47
#define SIGNIFICAND_BITS 64

bool general_parse(const char *text, size_t len, long double *ret)
{
	char stack[GENERAL_STACK], *copy = stack, *end;
	bool ok;

	*ret = 0;
	while (len && is_blank_behind(text[len - 1]))
		len--;
	if (!len || len > GENERAL_MAX)
		return false;
	if (len >= sizeof(stack) && !(copy = malloc(len + 1)))
		return false;
	memcpy(copy, text, len);
	copy[len] = 0;
	*ret = strtold(copy, &end);
	ok = end == copy + len;
	if (!ok)
		*ret = 0;
	if (copy != stack)
		free(copy);
	return ok;
}

/* What is no number comes first, and is all the same. */
int general_compare(long double a, long double b)
{
	if (isnan(a) || isnan(b))
		return !!isnan(b) - !!isnan(a);
	return (a > b) - (a < b);
}

/* The last bit says that the magnitude has more bits than these. */
static uint64_t general_magnitude(long double x)
{
	const uint64_t left = (1ull << (SIGNIFICAND_BITS - 1 - FRACTION_BITS)) - 1;
	long double scaled;
	uint64_t significand;
	int exponent;

	if (isinf(x))
		return MAGNITUDE_MAX - 5; /* whole, and its negative above what is no number */
	if (x == 0)
		return 0;
	scaled = ldexpl(frexpl(x, &exponent), SIGNIFICAND_BITS);
	exponent += LONG_DOUBLE_BIAS;
	if (exponent < 1)
		return 1;
	significand = (uint64_t)scaled;
	return (uint64_t)exponent << (FRACTION_BITS + 1) |
	       (significand << 1 >> (SIGNIFICAND_BITS - FRACTION_BITS)) << 1 |
	       ((significand & left) || scaled != (long double)significand);
}

/* Below the number of -inf there is room for what is none. */
uint64_t general_prefix(long double x)
{
	if (isnan(x))
		return 1; /* and whole */
	return with_sign(general_magnitude(fabsl(x)), x < 0);
}

size_t general_write(long double x, char ret[GENERAL_TEXT_LEN])
{
	static const int digits[] = {15, 18, 21};
	int n = 0;

	if (isnan(x))
		return (size_t)snprintf(ret, GENERAL_TEXT_LEN, "nan");
	for (size_t i = 0; i < sizeof(digits) / sizeof(digits[0]); i++) {
		n = snprintf(ret, GENERAL_TEXT_LEN, "%.*Lg", digits[i], x + 0.0L);
		if (strtold(ret, NULL) == x)
			break;
	}
	return (size_t)n;
}
