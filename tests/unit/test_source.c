/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"
#include "vertex/source.h"

#include <fcntl.h>

/* The only file of a new folder. */
static void write_file(char folder[64], char path[80], const char *text)
{
	FILE *f;

	snprintf(path, 80, "%s/f", unit_folder(folder));
	f = fopen(path, "w");
	fputs(text, f);
	fclose(f);
}

/* Every record of a file belongs to exactly one split, wherever the cuts are. */
static void test_splits_cover_each_line_once(void **state)
{
	static const char text[] = "one\n\ntwo words\nthree\nlast without its end";
	char folder[64], path[80];

	(void)state;
	write_file(folder, path, text);
	for (uint64_t size = 1; size <= sizeof(text); size++) {
		char got[128] = "";

		for (uint64_t at = 0; at < sizeof(text) - 1; at += size) {
			uint64_t length = DAG_MIN(size, sizeof(text) - 1 - at);
			struct source *s = source_new_file(
				(struct graph_format){DAG_FORMAT_LINES, 0}, open(path, O_RDONLY), at, length);
			struct dag_record r;
			int n;

			while ((n = source_next(s, &r)) > 0) {
				strncat(got, r.data, r.len);
				strcat(got, "|");
			}
			assert_int_equal(n, 0);
			source_destroy(&s);
		}
		assert_string_equal(got, "one||two words|three|last without its end|");
	}
	unlink(path);
	rmdir(folder);
}

/* The first record behind `bytes` that are passed over of the text from `begin` on, or "-". */
static void skip_in(const char *path, struct graph_format format, uint64_t begin, uint64_t end,
	uint64_t bytes, uint64_t passed, char ret_record[32])
{
	struct source *s = source_new_file(format, open(path, O_RDONLY), begin, end - begin);
	struct dag_record r;

	assert_int_equal(source_left(s), end - begin);
	assert_int_equal(source_skip(s, bytes), passed);
	assert_int_equal(source_left(s), end - begin - passed);
	if (source_next(s, &r) > 0)
		snprintf(ret_record, 32, "%.*s", (int)r.len, r.data);
	else
		strcpy(ret_record, "-");
	source_destroy(&s);
}

static void test_bytes_of_a_file_are_passed_over(void **state)
{
	static const char text[] = "one\n\ntwo words\nthree\nlast..";
	const uint64_t size = sizeof(text) - 1;
	char folder[64], path[80], got[32], line[32];

	(void)state;
	write_file(folder, path, text);
	for (uint64_t begin = 0; begin < size; begin++)
		for (uint64_t bytes = 1; bytes <= size; bytes++) {
			uint64_t passed = DAG_MIN(bytes, size - begin), from = begin + passed;

			/* The first line that begins there or behind. */
			while (from < size && text[from - 1] != '\n')
				from++;
			snprintf(line, sizeof(line), "%.*s", (int)strcspn(text + from, "\n"), text + from);
			skip_in(path, (struct graph_format){DAG_FORMAT_LINES, 0}, begin, size, bytes, passed,
				got);
			assert_string_equal(got, from < size ? line : "-");
		}
	skip_in(path, (struct graph_format){DAG_FORMAT_FIXED, 4}, 4, size, 9, 8, got);
	assert_string_equal(got, "ds\nt");
	skip_in(path, (struct graph_format){DAG_FORMAT_FIXED, 4}, 4, size, 3, 0, got);
	assert_string_equal(got, "\ntwo");
	skip_in(path, (struct graph_format){DAG_FORMAT_BYTES, 0}, 4, size, 100, size - 4, got);
	assert_string_equal(got, "-");
	unlink(path);
	rmdir(folder);
}

struct lent {
	const char *path;
	int opened, closed;
};

static int lend_file(void *ctx)
{
	struct lent *l = ctx;

	l->opened++;
	return open(l->path, O_RDONLY);
}

static bool is_used(void *ctx, int fd)
{
	(void)ctx;
	assert_true(fd >= 0);
	return true;
}

static void on_closed(void *ctx)
{
	((struct lent *)ctx)->closed++;
}

/* A file that is closed behind each read gives the same lines. */
static void test_a_file_is_opened_when_it_is_read(void **state)
{
	static const struct source_lender lender = {lend_file, is_used, on_closed};
	char folder[64], path[80], text[2 << 20];
	struct lent l = {.path = path};
	struct dag_record r;
	struct source *s;
	size_t at = 0, n = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 1000 == 999 ? '\n' : 'x';
	text[sizeof(text) - 1] = 0;
	write_file(folder, path, text);
	s = source_new_file((struct graph_format){DAG_FORMAT_LINES, 0}, -1, 0, sizeof(text) - 1);
	source_lend(s, &lender, &l);
	assert_true(source_is_file(s));
	for (; source_next(s, &r) > 0; n++)
		at += r.len + 1;
	assert_int_equal(n, (sizeof(text) + 999) / 1000);
	assert_int_equal(at, sizeof(text));
	assert_true(l.opened > 4);
	assert_int_equal(l.closed, l.opened);
	assert_int_equal(source_fd(s), -1);
	source_destroy(&s);
	assert_int_equal(l.closed, l.opened);
	unlink(path);
	rmdir(folder);
}

struct feed {
	const char *at;
	size_t step;
};

static ssize_t feed(void *ctx, void *buf, size_t n)
{
	struct feed *f = ctx;
	size_t have = DAG_MIN(DAG_MIN(strlen(f->at), f->step), n);

	memcpy(buf, f->at, have);
	f->at += have;
	return (ssize_t)have;
}

static void test_key_values(void **state)
{
	struct feed f = {"k\tv\nkey\tmore\tvalue\nnone\n", 3};
	struct source *s = source_new((struct graph_format){DAG_FORMAT_KV, 0}, feed, &f);
	struct dag_record r;

	(void)state;
	assert_int_equal(source_next(s, &r), 1);
	assert_int_equal(source_next(s, &r), 1);
	assert_int_equal(r.key_len, 3);
	assert_memory_equal(r.data, "more\tvalue", r.len);
	assert_int_equal(source_next(s, &r), DAG_EFORMAT);
	source_destroy(&s);
}

static void test_fixed_records(void **state)
{
	struct feed f = {"aabbccd", 5};
	struct source *s = source_new((struct graph_format){DAG_FORMAT_FIXED, 2}, feed, &f);
	struct dag_record r;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(source_next(s, &r), 1);
		assert_int_equal(r.len, 2);
	}
	assert_int_equal(source_next(s, &r), DAG_EFORMAT);
	source_destroy(&s);
}

/* The bytes of a file, as those who put them together again see its splits: what had no line feed gets none.
 */
static void test_a_last_line_without_its_end_is_known(void **state)
{
	static const struct {
		const char *text;
		bool unended;
	} cases[] = {
		{"a\nb", true}, {"a\nb\n", false}, {"", false}, {"\n", false}, {"a", true}, {"\n\nc", true}};

	(void)state;
	for (size_t i = 0; i < DAG_LENGTH(cases); i++)
		for (size_t step = 1; step < 6; step++) {
			struct feed f = {cases[i].text, step};
			struct source *s = source_new((struct graph_format){DAG_FORMAT_LINES, 0}, feed, &f);
			char got[16] = "";
			struct dag_record r;

			while (source_next(s, &r) > 0) {
				strncat(got, r.data, r.len);
				strcat(got, source_is_unended(s) ? "" : "\n");
			}
			assert_string_equal(got, cases[i].text);
			assert_int_equal(source_is_unended(s), cases[i].unended);
			source_destroy(&s);
		}
}

static void test_a_nul_byte_is_seen_where_it_is_looked_for(void **state)
{
	char folder[64], path[80];

	(void)state;
	write_file(folder, path, "a\nb");
	for (int watched = 0; watched < 2; watched++) {
		int fd = open(path, O_RDWR);
		struct source *s;
		struct dag_record r;

		assert_int_equal(pwrite(fd, "", 1, 9), 1);
		s = source_new_file((struct graph_format){DAG_FORMAT_LINES, 0}, fd, 0, 10);
		if (watched)
			source_watch(s);
		while (source_next(s, &r) > 0)
			;
		assert_int_equal(source_has_nul(s), watched);
		assert_false(source_is_short(s));
		source_destroy(&s);
	}
	unlink(path);
	rmdir(folder);
}

/* Of /sys a size may be 4096 where there are five bytes. */
static void test_a_file_that_ends_before_its_size_is_short(void **state)
{
	static const enum dag_format_kind kinds[] = {DAG_FORMAT_LINES, DAG_FORMAT_BYTES, DAG_FORMAT_KV};
	char folder[64], path[80];

	(void)state;
	write_file(folder, path, "k\tv\n");
	for (size_t i = 0; i < DAG_LENGTH(kinds); i++)
		for (uint64_t size = 4; size < 7; size++) {
			struct source *s = source_new_file(
				(struct graph_format){kinds[i], 0}, open(path, O_RDONLY), 0, size);
			struct dag_record r;

			while (source_next(s, &r) > 0)
				;
			assert_int_equal(source_is_short(s), size > 4);
			source_destroy(&s);
		}
	unlink(path);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_splits_cover_each_line_once),
		cmocka_unit_test(test_bytes_of_a_file_are_passed_over),
		cmocka_unit_test(test_a_file_is_opened_when_it_is_read), cmocka_unit_test(test_key_values),
		cmocka_unit_test(test_fixed_records),
		cmocka_unit_test(test_a_last_line_without_its_end_is_known),
		cmocka_unit_test(test_a_nul_byte_is_seen_where_it_is_looked_for),
		cmocka_unit_test(test_a_file_that_ends_before_its_size_is_short)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
