/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "base/diag.h"
#include "base/hash.h"
#include "base/prng.h"
#include "base/size.h"

static void test_sizes_as_people_write_them(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t bytes;
	} cases[] = {{"0", 0, 0}, {"512", 0, 512}, {"64KiB", 0, 65536}, {"32MiB", 0, 32u << 20},
		{"1G", 0, 1u << 30}, {"2 MiB", 0, 2u << 20}, {"", DAG_EINVAL, 0}, {"-1", DAG_EINVAL, 0},
		{"1XiB", DAG_EINVAL, 0}, {"99999999999TiB", DAG_ELIMIT, 0},
		{"99999999999999999999999", DAG_ELIMIT, 0}};

	(void)state;
	for (size_t i = 0; i < DAG_LENGTH(cases); i++) {
		uint64_t bytes = 0;

		assert_int_equal(size_parse_bytes(cases[i].text, &bytes), cases[i].r);
		assert_int_equal(bytes, cases[i].bytes);
	}
}

static void test_durations(void **state)
{
	dag_instant d;

	(void)state;
	assert_int_equal(size_parse_duration("250ms", &d), 0);
	assert_true(d == 250 * DAG_MS);
	assert_int_equal(size_parse_duration("2m", &d), 0);
	assert_true(d == 120 * DAG_SECOND);
	assert_int_equal(size_parse_duration("2 weeks", &d), DAG_EINVAL);
	assert_int_equal(size_parse_duration("99999999999999999h", &d), DAG_ELIMIT);
}

static void test_size_format(void **state)
{
	char buf[SIZE_TEXT_LEN];

	(void)state;
	assert_string_equal(size_format(999, buf), "999 B");
	assert_string_equal(size_format(1536, buf), "1.5 KiB");
	assert_string_equal(size_format(UINT64_MAX, buf), "16.0 EiB");
}

/* The nearest word is near: a third of the letters may differ, no more. */
static void test_nearest(void **state)
{
	static const char *const names[] = {"program", "plugin", "width"};

	(void)state;
	assert_string_equal(dag_nearest("progam", names, 3), "program");
	assert_string_equal(dag_nearest("widht", names, 3), "width");
	assert_null(dag_nearest("zzzzzz", names, 3));
}

/* One that begins alike is meant rather than one that takes fewer changes. */
static void test_nearest_begins_alike(void **state)
{
	static const char *const names[] = {"entry", "env", "retries", "memory", "timeout", "width"};

	(void)state;
	assert_string_equal(dag_nearest("retry", names, 6), "retries");
	assert_string_equal(dag_nearest("mem", names, 6), "memory");
	assert_string_equal(dag_nearest("time", names, 6), "timeout");
	assert_string_equal(dag_nearest("entr", names, 6), "entry");
	assert_null(dag_nearest("wide_as_needed", names, 6));
	assert_null(dag_nearest("re", names, 6));
}

static void test_diag_is_bounded_and_clean(void **state)
{
	struct dag_diag diag = {0};
	char *text;

	(void)state;
	for (int i = 0; i < DAG_MESSAGES_MAX + 5; i++)
		dag_diag_add(&diag, "f", 3, 7, "a\x1b[2J%d", i);
	assert_int_equal(diag.count, DAG_MESSAGES_MAX);
	assert_int_equal(diag.dropped, 5);
	text = dag_message_format(&diag.items[0]);
	assert_string_equal(text, "f:3:7: a?[2J0");
	free(text);
	dag_diag_fini(&diag);
}

/* The values are xxHash's own (XXH3, seed 0), in one go and in pieces. */
static void test_hash(void **state)
{
	struct hash_state *h = hash_state_new(), *before = hash_state_new();
	unsigned char data[10000], copy[sizeof(data)];
	struct dag_hash whole;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i * 31);
	for (size_t n = 0; n <= sizeof(data); n += 1 + n / 3) {
		memset(copy, 0, sizeof(copy));
		hash_state_reset(h);
		hash_state_copy(h, copy, data, n);
		assert_true(hash_equal(hash_state_digest(h), hash_128(data, n)));
		assert_memory_equal(copy, data, n);
		hash_state_set(before, h);
		hash_state_update(h, data, 7);
		assert_false(hash_equal(hash_state_digest(h), hash_128(data, n)));
		hash_state_set(h, before);
		assert_true(hash_equal(hash_state_digest(h), hash_128(data, n)));
	}
	hash_state_reset(h);
	hash_state_destroy(&before);
	assert_true(hash_64("", 0) == 0x2d06800538d394c2u);
	whole = hash_128("", 0);
	assert_true(whole.low == 0x6001c324468d497fu && whole.high == 0x99aa06d3014798d8u);
	whole = hash_128(data, sizeof(data));
	for (size_t at = 0, n; at < sizeof(data); at += n) {
		n = DAG_MIN((size_t)(at % 613 + 1), sizeof(data) - at);
		hash_state_update(h, data + at, n);
	}
	assert_true(hash_equal(hash_state_digest(h), whole));
	hash_state_destroy(&h);
	assert_null(h);
}

static void test_arena_and_buffer(void **state)
{
	struct arena arena = {0};
	struct buffer b = {0};

	(void)state;
	for (int i = 0; i < 1000; i++) {
		char *s = arena_format(&arena, "%d", i);

		assert_int_equal((uintptr_t)s % 16, 0);
		assert_int_equal(atoi(s), i);
		buffer_format(&b, "%d ", i);
	}
	memset(arena_alloc(&arena, 5 << 20), 1, 5 << 20);
	assert_memory_equal(b.data, "0 1 2 ", 6);
	buffer_consume(&b, 4);
	assert_memory_equal(b.data, "2 3 ", 4);
	buffer_fini(&b);
	arena_fini(&arena);
}

static void test_prng_is_its_seed(void **state)
{
	struct prng a = {42}, b = {42}, c = {43};

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_true(prng_next(&a) == prng_next(&b));
	assert_true(prng_next(&a) != prng_next(&c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes_as_people_write_them),
		cmocka_unit_test(test_durations), cmocka_unit_test(test_size_format),
		cmocka_unit_test(test_nearest), cmocka_unit_test(test_nearest_begins_alike),
		cmocka_unit_test(test_diag_is_bounded_and_clean), cmocka_unit_test(test_hash),
		cmocka_unit_test(test_arena_and_buffer), cmocka_unit_test(test_prng_is_its_seed)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
