/* SPDX-License-Identifier: Apache-2.0 */
/* Exact sums: 64 bits and a scale as long as they hold, then limbs of 18 digits, as many as are needed. */
#include "number.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL_DIGITS 18
#define LIMB_DIGITS 18u
#define LIMB 1000000000000000000

/* Limbs from the least on, `frac` of them behind the point. Each is between -LIMB and LIMB, of any sign. */
struct wide {
	size_t frac, count;
	int64_t limbs[];
};

static const int64_t powers[SMALL_DIGITS + 1] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000,
	100000000, 1000000000, 10000000000, 100000000000, 1000000000000, 10000000000000, 100000000000000,
	1000000000000000, 10000000000000000, 100000000000000000, LIMB};

static int64_t take_digits(int64_t value, const char *digits, size_t n)
{
	for (size_t i = 0; i < n; i++)
		value = value * 10 + (digits[i] - '0');
	return value;
}

/* False where it does not fit; *t is then as it was. */
static bool add_small(struct total *t, const struct number *n)
{
	int64_t value, sum = t->u.small;

	if (n->whole_len + n->frac_len > SMALL_DIGITS)
		return false;
	value = take_digits(take_digits(0, n->whole, n->whole_len), n->frac, n->frac_len);
	value = n->negative ? -value : value;
	if (n->frac_len < t->scale && __builtin_mul_overflow(value, powers[t->scale - n->frac_len], &value))
		return false;
	if (n->frac_len > t->scale && __builtin_mul_overflow(sum, powers[n->frac_len - t->scale], &sum))
		return false;
	if (__builtin_add_overflow(sum, value, &sum))
		return false;
	t->u.small = sum;
	t->scale = n->frac_len > t->scale ? (uint32_t)n->frac_len : t->scale;
	return true;
}

/* ---- wide ---- */

/* With at least so many limbs on each side of the point. */
static bool reserve(struct total *t, size_t whole, size_t frac)
{
	struct wide *w = t->u.wide, *grown;
	size_t old_whole = w ? w->count - w->frac : 0, old_frac = w ? w->frac : 0;

	whole = whole > old_whole ? whole : old_whole;
	frac = frac > old_frac ? frac : old_frac;
	if (w && whole == old_whole && frac == old_frac)
		return true;
	grown = calloc(1, sizeof(*grown) + (whole + frac) * sizeof(grown->limbs[0]));
	if (!grown)
		return false;
	grown->frac = frac;
	grown->count = whole + frac;
	if (w)
		memcpy(grown->limbs + frac - old_frac, w->limbs, w->count * sizeof(w->limbs[0]));
	free(w);
	t->u.wide = grown;
	return true;
}

/* Into the limb, and what is too much for it into those before it; the first one is left room. */
static void add_limb(struct wide *w, size_t at, int64_t value)
{
	for (; value; at++) {
		int64_t sum = w->limbs[at] + value;

		value = sum >= LIMB ? 1 : sum <= -LIMB ? -1 : 0;
		w->limbs[at] = sum - value * LIMB;
	}
}

static size_t limbs_of(size_t digits)
{
	return (digits + LIMB_DIGITS - 1) / LIMB_DIGITS;
}

static bool add_wide(struct total *t, const struct number *n)
{
	struct wide *w = t->u.wide;
	int64_t sign = n->negative ? -1 : 1;
	size_t whole = limbs_of(n->whole_len), frac = limbs_of(n->frac_len);
	/* The first limb is never more than a count of carries: one more before it where it is used. */
	size_t room = w ? w->count - w->frac + (w->limbs[w->count - 1] != 0) : 1;

	if (!reserve(t, whole + 1 > room ? whole + 1 : room, frac))
		return false;
	w = t->u.wide;
	for (size_t i = 0; i < whole; i++) {
		size_t end = n->whole_len - i * LIMB_DIGITS,
		       begin = end > LIMB_DIGITS ? end - LIMB_DIGITS : 0;

		add_limb(w, w->frac + i, sign * take_digits(0, n->whole + begin, end - begin));
	}
	for (size_t i = 0; i < frac; i++) {
		size_t left = n->frac_len - i * LIMB_DIGITS, here = left < LIMB_DIGITS ? left : LIMB_DIGITS;

		add_limb(w, w->frac - 1 - i,
			sign * take_digits(0, n->frac + i * LIMB_DIGITS, here) * powers[LIMB_DIGITS - here]);
	}
	return true;
}

/* The same sum in limbs. */
static bool widen(struct total *t)
{
	struct total wide = {.scale = TOTAL_IS_WIDE};
	struct number n;
	char *text = total_text(t);
	bool ok = text && number_parse(text, strlen(text), &n) && add_wide(&wide, &n);

	free(text);
	if (ok)
		*t = wide;
	else
		free(wide.u.wide);
	return ok;
}

bool total_add(struct total *t, const struct number *n)
{
	if (t->scale != TOTAL_IS_WIDE) {
		if (add_small(t, n))
			return true;
		if (!widen(t))
			return false;
	}
	return add_wide(t, n);
}

/* ---- text ---- */

/* All limbs of one sign, which is that of the first that is not 0. Returns whether that is minus. */
static bool settle(int64_t *limbs, size_t count)
{
	size_t top = count;
	bool negative;

	while (top && !limbs[top - 1])
		top--;
	negative = top && limbs[top - 1] < 0;
	for (size_t i = 0; i < top; i++) {
		if (negative)
			limbs[i] = -limbs[i];
	}
	for (size_t i = 0; i + 1 < top; i++)
		if (limbs[i] < 0) {
			limbs[i] += LIMB;
			limbs[i + 1]--;
		}
	return negative;
}

static char *wide_text(const struct wide *from)
{
	size_t size = sizeof(*from) + from->count * sizeof(from->limbs[0]);
	struct wide *w = malloc(size);
	char *text = malloc((from->count + 1) * LIMB_DIGITS + 4), *at = text;

	if (!w || !text) {
		free(w);
		free(text);
		return NULL;
	}
	memcpy(w, from, size);
	if (settle(w->limbs, w->count))
		*at++ = '-';
	for (size_t i = w->count; i-- > 0;) {
		if (i + 1 == w->frac)
			*at++ = '.';
		at += snprintf(at, LIMB_DIGITS + 1, "%018" PRId64, w->limbs[i]);
	}
	*at = 0;
	free(w);
	return text;
}

static char *small_text(const struct total *t)
{
	uint64_t value = t->u.small < 0 ? -(uint64_t)t->u.small : (uint64_t)t->u.small;
	char digits[32], *text = malloc(sizeof(digits) + 4);
	int n = snprintf(digits, sizeof(digits), "%0*" PRIu64, (int)t->scale + 1, value);

	if (text)
		snprintf(text, sizeof(digits) + 4, "%s%.*s.%s", t->u.small < 0 ? "-" : "", n - (int)t->scale,
			digits, digits + n - (int)t->scale);
	return text;
}

char *total_text(const struct total *t)
{
	char *rough = t->scale == TOTAL_IS_WIDE ? wide_text(t->u.wide) : small_text(t), *text = NULL;
	struct number n;

	if (rough && number_parse(rough, strlen(rough), &n) && (text = malloc(number_length(&n) + 1))) {
		number_write(&n, text);
		text[number_length(&n)] = 0;
	}
	free(rough);
	return text;
}

void total_fini(struct total *t)
{
	if (t->scale == TOTAL_IS_WIDE)
		free(t->u.wide);
}
