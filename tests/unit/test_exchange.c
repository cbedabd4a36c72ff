/* SPDX-License-Identifier: Apache-2.0 */
/* Files that get their names together: all of them, or none; and what a crash left goes forward and back. */
#include "unit.h"
#include "base/prng.h"
#include "jobmanager/exchange.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define FILES 6

static char *path_in(const char *folder, const char *kind, int i)
{
	return base_format("%s/%s%d", folder, kind, i);
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* What stands there; "-" for nothing. */
static const char *at(const char *path, char text[16])
{
	FILE *f = fopen(path, "re");

	strcpy(text, "-");
	if (f && !fgets(text, 16, f))
		strcpy(text, "");
	if (f)
		fclose(f);
	return text;
}

/* New files, and what some of them will replace. */
static void make(struct exchange *x, const char *folder, unsigned replaced)
{
	for (int i = 0; i < FILES; i++) {
		char *path = path_in(folder, "out", i), *temporary = path_in(folder, ".tmp", i);

		unlink(path);
		put(temporary, "new");
		if (replaced >> i & 1)
			put(path, "old");
		exchange_add(x, path, temporary);
		free(path);
		free(temporary);
	}
}

static void check_all(const char *folder, unsigned replaced, bool is_new)
{
	for (int i = 0; i < FILES; i++) {
		char *path = path_in(folder, "out", i), text[16];

		assert_string_equal(at(path, text), is_new ? "new" : replaced >> i & 1 ? "old" : "-");
		free(path);
	}
}

static void check_nothing_beside(const char *folder)
{
	for (int i = 0; i < FILES; i++) {
		char *temporary = path_in(folder, ".tmp", i), *aside = base_format("%s-old", temporary);

		assert_int_equal(access(temporary, F_OK), -1);
		assert_int_equal(access(aside, F_OK), -1);
		free(temporary);
		free(aside);
	}
}

/* As far as a job manager may have come that died: some files have their names, in one of the three ways. */
static void come_so_far(const struct exchange *x, int count, struct prng *rng)
{
	for (int i = 0; i < count; i++) {
		const struct exchange_file *f = &x->files[i];
		char *aside = base_format("%s-old", f->temporary);

		if (access(f->path, F_OK) == 0 && prng_below(rng, 2))
			assert_int_equal(
				renameat2(AT_FDCWD, f->temporary, AT_FDCWD, f->path, RENAME_EXCHANGE), 0);
		else {
			if (access(f->path, F_OK) == 0)
				assert_int_equal(
					prng_below(rng, 2) ? link(f->path, aside) : rename(f->path, aside),
					0);
			/* The last one may have been cut in between. */
			if (i + 1 < count || prng_below(rng, 2))
				assert_int_equal(rename(f->temporary, f->path), 0);
		}
		free(aside);
	}
}

static void test_what_a_crash_left_goes_forward_and_back(void **state)
{
	char folder[64], *note = base_format("%s/note", unit_folder(folder));
	struct prng rng = {.state = 3};

	(void)state;
	for (int round = 0; round < 120; round++) {
		unsigned replaced = (unsigned)prng_below(&rng, 1u << FILES);
		struct exchange x = {0}, after = {0};

		make(&x, folder, replaced);
		assert_null(exchange_prepare(&x));
		assert_null(exchange_note(&x, note));
		come_so_far(&x, (int)prng_below(&rng, FILES + 1), &rng);
		assert_true(exchange_read(&after, note));
		assert_int_equal(after.count, FILES);
		if (prng_below(&rng, 2)) {
			assert_null(exchange_prepare(&after));
			assert_null(exchange_all(&after));
			check_all(folder, replaced, true);
			exchange_settle(&after);
		} else {
			assert_true(exchange_undo(&after));
			check_all(folder, replaced, false);
			exchange_drop(&after);
		}
		check_nothing_beside(folder);
		exchange_fini(&x);
		exchange_fini(&after);
	}
	free(note);
	os_remove_tree(folder);
}

/* What is in the way when the last step has begun already: a folder with the file's name. */
static void test_a_later_failure_undoes_what_was_done(void **state)
{
	char folder[64];

	(void)state;
	unit_folder(folder);
	for (unsigned replaced = 0; replaced < 1u << FILES; replaced++) {
		struct exchange x = {0};
		char *error;

		make(&x, folder, replaced);
		assert_null(exchange_prepare(&x));
		unlink(x.files[FILES - 1].path);
		assert_int_equal(mkdir(x.files[FILES - 1].path, 0700), 0);
		error = exchange_all(&x);
		assert_non_null(strstr(error, x.files[FILES - 1].path));
		free(error);
		assert_int_equal(rmdir(x.files[FILES - 1].path), 0);
		if (replaced >> (FILES - 1) & 1)
			put(x.files[FILES - 1].path, "old");
		check_all(folder, replaced, false);
		exchange_drop(&x);
		check_nothing_beside(folder);
		exchange_fini(&x);
	}
	os_remove_tree(folder);
}

/* Half a note is none: it was written before anything was changed. */
static void test_notes_that_are_cut_or_changed(void **state)
{
	char folder[64], *note = base_format("%s/note", unit_folder(folder)), bytes[4096];
	struct exchange x = {0};
	ssize_t len;
	int fd;

	(void)state;
	assert_false(exchange_read(&x, note));
	make(&x, folder, 5);
	assert_null(exchange_prepare(&x));
	assert_null(exchange_note(&x, note));
	exchange_drop(&x);
	exchange_fini(&x);
	fd = open(note, O_RDONLY | O_CLOEXEC);
	len = read(fd, bytes, sizeof(bytes));
	close(fd);
	assert_true(len > 0 && len < (ssize_t)sizeof(bytes));
	for (ssize_t cut = 0; cut < len; cut++) {
		fd = open(note, O_WRONLY | O_TRUNC | O_CLOEXEC);
		assert_int_equal(write(fd, bytes, (size_t)cut), cut);
		close(fd);
		assert_false(exchange_read(&x, note));
		assert_int_equal(x.count, 0);
	}
	free(note);
	os_remove_tree(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_a_crash_left_goes_forward_and_back),
		cmocka_unit_test(test_a_later_failure_undoes_what_was_done),
		cmocka_unit_test(test_notes_that_are_cut_or_changed)};

	return cmocka_run_group_tests_name("exchange", tests, NULL, NULL);
}
