/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"
#include "vertices/number.h"

#include <math.h>

static struct number parsed(const char *text)
{
	struct number n;

	assert_true(number_parse(text, strlen(text), &n));
	return n;
}

static void test_what_is_a_number(void **state)
{
	static const char *const good[] = {"0", "-0", "00", "5.", ".5", "-.5", " 7", "\t-7.50 ", "7\r",
		"123456789012345678901234567890"},
				 *const written[] = {"0", "0", "0", "5", "0.5", "-0.5", "7", "-7.5", "7",
					 "123456789012345678901234567890"},
				 *const bad[] = {"", " ", "-", ".", "-.", "+5", "- 5", "1e3", "0x10", "1,000",
					 "12abc", "1.2.3", "--1", "inf", "nan", "5 6", "\r5", "٣"};
	struct number n;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		char text[64] = "";

		n = parsed(good[i]);
		number_write(&n, text);
		assert_string_equal(text, written[i]);
		assert_int_equal(number_length(&n), strlen(written[i]));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (number_parse(bad[i], strlen(bad[i]), &n) || n.whole_len || n.frac_len || n.negative)
			fail_msg("'%s' is taken for a number", bad[i]);
	assert_false(number_parse("5\0", 2, &n));
}

/* From the least on; those of one line are equal. */
static const char *const ascending[][3] = {{"-99999999999999999999999999999999999999999"},
	{"-18446744073709551617"}, {"-12345678901234567.5"}, {"-12345678901234567.25"},
	{"-9007199254740993", "-9007199254740993.0"}, {"-9007199254740992"}, {"-2"}, {"-1", "-1.000", "-01"},
	{"-0.5", "-.5"}, {"-0.0000000000000000000000001"}, {"0", "-0", "-.0"},
	{"0.00000000000000000000000000000000000001"}, {"0.1", ".10"}, {"0.10000000000000001"},
	{"0.100000000000000010001"}, {"1"}, {"1.5", "1.50", "0001.5"}, {"9"}, {"10"}, {"9007199254740992"},
	{"9007199254740993"}, {"12345678901234567"}, {"12345678901234567.25"}, {"12345678901234567.5"},
	{"18446744073709551616"}, {"18446744073709551617"}, {"340282366920938463463374607431768211455"},
	{"340282366920938463463374607431768211456"}};
#define ASCENDING (sizeof(ascending) / sizeof(ascending[0]))

static int sign(int64_t x)
{
	return (x > 0) - (x < 0);
}

static void compare(const char *a, const char *b, int wanted)
{
	struct number x = parsed(a), y = parsed(b);
	uint64_t p = number_prefix(&x), q = number_prefix(&y);

	if (sign(number_compare(&x, &y)) != wanted)
		fail_msg("%s and %s compare as %d", a, b, number_compare(&x, &y));
	if (p != q && (p < q ? -1 : 1) != wanted)
		fail_msg("prefixes of %s and %s", a, b);
	if (p == q && wanted && number_prefix_is_whole(p))
		fail_msg("the prefix of %s and %s is not whole", a, b);
}

static void test_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < ASCENDING; i++)
		for (size_t j = 0; j < ASCENDING; j++)
			for (int s = 0; s < 3 && ascending[i][s]; s++)
				for (int t = 0; t < 3 && ascending[j][t]; t++)
					compare(ascending[i][s], ascending[j][t],
						sign((int64_t)i - (int64_t)j));
	for (int exponent = 0; exponent < 400; exponent++) {
		char big[512], small[512];

		snprintf(big, sizeof(big), "1%0*d", exponent + 2, 0);
		snprintf(small, sizeof(small), "1%0*d", exponent + 1, 0);
		compare(big, small, 1);
		snprintf(big, sizeof(big), "0.%0*d3", exponent + 1, 0);
		snprintf(small, sizeof(small), "0.%0*d2", exponent + 1, 0);
		compare(big, small, 1);
		compare("0", small, -1);
	}
}

static void write_int128(__int128 x, char ret[64])
{
	unsigned __int128 left = x < 0 ? -(unsigned __int128)x : (unsigned __int128)x;
	char *at = ret + 63;

	*at = 0;
	do
		*--at = (char)('0' + (int)(left % 10));
	while ((left /= 10));
	if (x < 0)
		*--at = '-';
	memmove(ret, at, strlen(at) + 1);
}

static uint64_t draw(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Of all lengths, beside 128 bits. */
static __int128 draw_int128(uint64_t *seed)
{
	__int128 x = (__int128)((unsigned __int128)draw(seed) << 64 | draw(seed)) >> (draw(seed) % 126);

	return draw(seed) % 3 ? x : x / 10000000000 * 10000000000;
}

static void test_order_of_128_bits(void **state)
{
	uint64_t seed = 88172645463325252u;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		__int128 x = draw_int128(&seed),
			 y = draw(&seed) % 4 ? draw_int128(&seed) : x + (int)(draw(&seed) % 3) - 1;
		char a[64], b[64];

		write_int128(x, a);
		write_int128(y, b);
		compare(a, b, (x > y) - (x < y));
	}
}

static void check_total(struct total *t, const char *wanted)
{
	char *text = total_text(t);

	assert_non_null(text);
	assert_string_equal(text, wanted);
	free(text);
}

static void add(struct total *t, const char *text)
{
	struct number n = parsed(text);

	assert_true(total_add(t, &n));
}

static void test_sums_of_128_bits(void **state)
{
	uint64_t seed = 1234567;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct total t = {0};
		__int128 sum = 0;
		int width = 70 + (int)(draw(&seed) % 50), count = (int)(draw(&seed) % 60);
		char text[64];

		for (int i = 0; i < count; i++) {
			__int128 x = draw_int128(&seed) >> (127 - width + (int)(draw(&seed) % 60));

			sum += x;
			write_int128(x, text);
			add(&t, text);
		}
		write_int128(sum, text);
		check_total(&t, text);
		total_fini(&t);
	}
}

static void test_sums_of_decimals(void **state)
{
	static const struct {
		const char *add[5], *sum;
	} cases[] = {{{NULL}, "0"}, {{"0.1", "0.2"}, "0.3"}, {{"1.5", "1.50"}, "3"}, {{"-0", "0"}, "0"},
		{{"1", "-1.0"}, "0"}, {{"9223372036854775807", "1"}, "9223372036854775808"},
		{{"-9223372036854775808", "-1", "9223372036854775809"}, "0"},
		{{"999999999999999999", "0.999999999999999999", "0.000000000000000001"},
			"1000000000000000000"},
		{{"99999999999999999999999999999999999999", "0.00000000000000000000000000000000000001"},
			"99999999999999999999999999999999999999.00000000000000000000000000000000000001"},
		{{"100000000000000000000000000000000000000", "-0.1"},
			"99999999999999999999999999999999999999.9"},
		{{"-100000000000000000000000000000000000000", "0.1",
			 "100000000000000000000000000000000000000"},
			"0.1"},
		{{"123456789012345.67", "0.000000000000001"}, "123456789012345.670000000000001"}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct total t = {0};

		for (int j = 0; j < 5 && cases[i].add[j]; j++)
			add(&t, cases[i].add[j]);
		check_total(&t, cases[i].sum);
		total_fini(&t);
	}
}

/* Carries run through all limbs, up and down again. */
static void test_sums_that_carry(void **state)
{
	struct total t = {0};
	char nines[256], text[300];

	(void)state;
	memset(nines, '9', 200);
	nines[200] = 0;
	add(&t, nines);
	add(&t, "1");
	snprintf(text, sizeof(text), "1%0200d", 0);
	check_total(&t, text);
	add(&t, "-1");
	check_total(&t, nines);
	for (int i = 0; i < 1000; i++)
		add(&t, nines);
	for (int i = 0; i < 1001; i++) {
		snprintf(text, sizeof(text), "-%s", nines);
		add(&t, text);
	}
	check_total(&t, "0");
	total_fini(&t);
}

static void test_general_numbers(void **state)
{
	static const char *const order[] = {"nan", "-inf", "-1e4000", "-2", "-1.5", "-1e-4000", "0",
		"1e-4940", "1e-400", "0.1", "1", "0x1.8p0", "+2", "16", "1e3", "9223372036854775806",
		"9223372036854775807", "1e4000", "infinity"},
				 *const bad[] = {"", " ", "1e", "abc", "12abc", "0x", "1 2", "1,0"};
	char text[GENERAL_TEXT_LEN];
	long double x, y;

	(void)state;
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		for (size_t j = 0; j < sizeof(order) / sizeof(order[0]); j++) {
			uint64_t p, q;

			assert_true(general_parse(order[i], strlen(order[i]), &x));
			assert_true(general_parse(order[j], strlen(order[j]), &y));
			p = general_prefix(x);
			q = general_prefix(y);
			assert_int_equal(sign(general_compare(x, y)), sign((int64_t)i - (int64_t)j));
			assert_true(i == j ? p == q : i < j ? p <= q : p >= q);
			assert_true(i == j || p != q || !number_prefix_is_whole(p));
		}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(general_parse(bad[i], strlen(bad[i]), &x));
	general_parse("1E3", 3, &x);
	assert_int_equal(general_write(x, text), 4);
	assert_string_equal(text, "1000");
	general_parse("-0.0", 4, &x);
	general_write(x, text);
	assert_string_equal(text, "0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_is_a_number),
		cmocka_unit_test(test_order), cmocka_unit_test(test_order_of_128_bits),
		cmocka_unit_test(test_sums_of_128_bits), cmocka_unit_test(test_sums_of_decimals),
		cmocka_unit_test(test_sums_that_carry), cmocka_unit_test(test_general_numbers)};

	return cmocka_run_group_tests_name("number", tests, NULL, NULL);
}
