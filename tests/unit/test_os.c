/* SPDX-License-Identifier: Apache-2.0 */
/* What the shells have of the system: writing past the page cache, leaving a core. */
#include "unit.h"
#include "base/prng.h"
#include "os/os.h"
#include "os/print.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

/* Bytes of any length at any place, past the cache and through it in turns, are all there, and nothing else.
 */
static void write_direct_in(const char *folder)
{
	char *path = base_format("%s/direct", folder);
	const size_t size = 8u << 20;
	unsigned char *bytes = base_alloc(size), *read = base_alloc(size);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct prng rng = {.state = 7};
	size_t at = 0;

	assert_true(fd >= 0);
	for (size_t i = 0; i < size; i++)
		bytes[i] = (unsigned char)prng_below(&rng, 256);
	for (uint32_t i = 0; at < size; i++) {
		static const size_t lengths[] = {1, 4095, 4096, 12288, 70000, (1u << 20) + 4097, 2u << 20};
		size_t length = lengths[prng_below(&rng, DAG_LENGTH(lengths))],
		       n = DAG_MIN(size - at, length);

		assert_int_equal((i % 4 ? os_write_direct : os_write_at)(fd, bytes + at, n, at), 0);
		at += n;
	}
	assert_int_equal(fcntl(fd, F_GETFL) & O_DIRECT, 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), size);
	assert_int_equal(pread(fd, read, size, 0), size);
	assert_memory_equal(read, bytes, size);
	/* From the disk, too. */
	assert_int_equal(fsync(fd), 0);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	assert_int_equal(pread(fd, read, size, 0), size);
	assert_memory_equal(read, bytes, size);
	close(fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(os_write_direct(fd, bytes, size, 0), EBADF);
	close(fd);
	free(bytes);
	free(read);
	free(path);
}

/* What would move a cursor, turn text round or is no UTF-8 becomes a question mark; all else stays. */
static void test_what_is_printed_is_cleaned(void **state)
{
	static const struct {
		const char *dirty, *clean;
	} texts[] = {{"a\tb\n", "a\tb\n"}, {"\x1b[2J", "?[2J"}, {"\r\b\x7f", "???"}, {"äö→𝄞", "äö→𝄞"},
		{"\xc2\x9b"
		 "2J",
			"?2J"},
		{"\xe2\x80\xae"
		 "abc",
			"?abc"},
		{"\xe2\x81\xa6", "?"}, {"\xff\xfe", "??"}, {"\x80", "?"}, {"\xe2\x80", "?"}, {"\xe2(", "?("},
		{"\xc0\xaf", "??"}, {"", ""}};

	(void)state;
	for (size_t i = 0; i < DAG_LENGTH(texts); i++) {
		char *text = base_strdup(texts[i].dirty);

		print_clean(text);
		assert_string_equal(text, texts[i].clean);
		free(text);
	}
}

static void test_direct_writes_are_as_others(void **state)
{
	char folder[64], *memory = base_format("/dev/shm/dagrun-direct-%d", (int)getpid());

	(void)state;
	unit_folder(folder);
	write_direct_in(folder);
	os_remove_tree(folder);
	if (os_make_folders(memory) == 0)
		write_direct_in(memory);
	os_remove_tree(memory);
	free(memory);
}

/* Wherever a thread goes, it may run where it might before. */
static void test_a_core_is_left_for_a_moment(void **state)
{
	cpu_set_t before, one, after;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	for (int i = 0; i < 100; i++) {
		os_leave_core(os_core());
		os_leave_core(-1);
		assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
		assert_true(CPU_EQUAL(&before, &after));
	}
	CPU_ZERO(&one);
	CPU_SET((size_t)os_core(), &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	os_leave_core(os_core());
	assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
	assert_true(CPU_EQUAL(&one, &after));
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_is_printed_is_cleaned),
		cmocka_unit_test(test_direct_writes_are_as_others),
		cmocka_unit_test(test_a_core_is_left_for_a_moment)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
