/* SPDX-License-Identifier: Apache-2.0 */
/* What the shells have of the system: writing past the page cache, leaving a core. */
#include "unit.h"
#include "base/prng.h"
#include "os/container.h"
#include "os/os.h"
#include "os/print.h"
#include "os/strays.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
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
		os_leave_core(os_core(), getpid());
		os_leave_core(-1, getpid());
		assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
		assert_true(CPU_EQUAL(&before, &after));
	}
	CPU_ZERO(&one);
	CPU_SET((size_t)os_core(), &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	os_leave_core(os_core(), getpid());
	assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
	assert_true(CPU_EQUAL(&one, &after));
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}

struct leaving {
	pid_t thread;
	_Atomic unsigned times;
	_Atomic bool stop;
};

static void *leave_again_and_again(void *arg)
{
	struct leaving *l = arg;

	l->thread = gettid();
	while (!atomic_load(&l->stop)) {
		os_leave_core(os_core(), getpid());
		atomic_fetch_add(&l->times, 1);
	}
	return NULL;
}

static void wait_until_it_left(struct leaving *l, unsigned times)
{
	unsigned before = atomic_load(&l->times);

	while (atomic_load(&l->times) - before < times)
		sched_yield();
}

/* Who binds binds us first, and the thread then: what it does meanwhile undoes no binding. */
static void test_a_binding_is_not_undone_by_leaving_a_core(void **state)
{
	struct leaving l = {0};
	cpu_set_t before, one, has;
	pthread_t thread;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	assert_int_equal(pthread_create(&thread, NULL, leave_again_and_again, &l), 0);
	wait_until_it_left(&l, 1);
	CPU_ZERO(&one);
	CPU_SET((size_t)os_core(), &one);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
		assert_int_equal(sched_setaffinity(l.thread, sizeof(one), &one), 0);
		wait_until_it_left(&l, 2);
		assert_int_equal(sched_getaffinity(l.thread, sizeof(has), &has), 0);
		assert_true(CPU_EQUAL(&one, &has));
		assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
		assert_int_equal(sched_setaffinity(l.thread, sizeof(before), &before), 0);
		wait_until_it_left(&l, 2);
	}
	atomic_store(&l.stop, true);
	pthread_join(thread, NULL);
}

struct forked {
	pid_t parent, child; /* child: written by it, when it is bound */
	_Atomic bool go, bound, seen;
};

static bool bind_it(void *ctx, pid_t pid)
{
	sched_setaffinity(pid, sizeof(cpu_set_t), ctx);
	return true;
}

#define FORKED_MEMORY (32u << 20) /* of small pages, so that to fork takes long */

_Noreturn static void fork_slowly(struct forked *f)
{
	void *memory = mmap(NULL, FORKED_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	madvise(memory, FORKED_MEMORY, MADV_NOHUGEPAGE);
	memset(memory, 1, FORKED_MEMORY);
	f->parent = getpid();
	atomic_store(&f->go, true);
	if (fork()) {
		wait(NULL);
		_exit(0);
	}
	os_bind_as(f->parent);
	f->child = getpid();
	atomic_store(&f->bound, true);
	while (!atomic_load(&f->seen))
		sched_yield();
	_exit(0);
}

/* One that is just being forked is bound as its parent was before, and is not listed among its children. */
static void test_who_is_forked_is_bound_as_its_parent(void **state)
{
	struct forked *f = mmap(NULL, sizeof(*f), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cpu_set_t all, one, has;

	(void)state;
	assert_true(f != MAP_FAILED);
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&one);
	CPU_SET((size_t)os_core(), &one);
	for (int i = 0; i < 10; i++) {
		pid_t pid;

		memset(f, 0, sizeof(*f));
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			fork_slowly(f);
		while (!atomic_load(&f->go))
			sched_yield();
		assert_int_equal(sched_setaffinity(pid, sizeof(one), &one), 0);
		strays_each_child(pid, bind_it, &one);
		while (!atomic_load(&f->bound))
			sched_yield();
		assert_int_equal(sched_getaffinity(f->child, sizeof(has), &has), 0);
		atomic_store(&f->seen, true);
		waitpid(pid, NULL, 0);
		assert_true(CPU_EQUAL(&one, &has));
	}
	munmap(f, sizeof(*f));
}

/* ---- containers ---- */

static void put(const char *root, const char *name, const char *text)
{
	char *path = base_format("%s/%s", root, name), *folder = base_strdup(path);
	FILE *f;

	*strrchr(folder, '/') = 0;
	assert_int_equal(os_make_folders(folder), 0);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	free(path);
	free(folder);
}

static void expect_limits(const char *root, uint64_t memory, uint32_t cpus)
{
	struct container c = container_look(root);

	assert_int_equal(c.memory, memory);
	assert_int_equal(c.cpus, cpus);
}

/* The least of the own group and all above it, in both versions, and where one sees only a part of the tree.
 */
static void test_a_container_has_what_its_groups_leave_it(void **state)
{
	char folder[64];

	(void)state;
	expect_limits(unit_folder(folder), UINT64_MAX, UINT32_MAX); /* nothing is there at all */
	put(folder, "proc/self/cgroup", "0::/a/b/c\n");
	put(folder, "proc/self/mountinfo",
		"20 1 0:2 / / rw - ext4 /dev/x rw\n30 23 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup "
		"rw\n");
	put(folder, "sys/fs/cgroup/a/memory.max", "300000000\n");
	put(folder, "sys/fs/cgroup/a/b/memory.max", "max\n");
	put(folder, "sys/fs/cgroup/a/b/cpu.max", "150000 100000\n");
	put(folder, "sys/fs/cgroup/a/b/c/memory.max", "400000000\n");
	put(folder, "sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
	expect_limits(folder, 300000000, 2);
	put(folder, "sys/fs/cgroup/a/b/c/memory.events", "low 0\noom 4\noom_kill 3\n");
	put(folder, "sys/fs/cgroup/a/b/memory.events", "oom_kill 70\n");
	assert_int_equal(container_kills(folder), 3);
	/* A namespace of its own: the group looks like the root. */
	put(folder, "proc/self/cgroup", "0::/\n");
	put(folder, "sys/fs/cgroup/memory.max", "70000000\n");
	expect_limits(folder, 70000000, UINT32_MAX);
	/* It sees a part of the tree, and the whole path of its group. */
	put(folder, "proc/self/mountinfo",
		"30 23 0:26 /docker/abc /sys/fs/cgroup rw shared:9 - cgroup2 cgroup rw\n");
	put(folder, "proc/self/cgroup", "0::/docker/abc/a\n");
	put(folder, "sys/fs/cgroup/a/memory.max", "60000000\n");
	expect_limits(folder, 60000000, UINT32_MAX);
	os_remove_tree(folder);

	unit_folder(folder);
	put(folder, "proc/self/mountinfo",
		"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
		"35 31 0:32 / /with\\040blank/memory rw - cgroup cgroup rw,memory\n"
		"36 31 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
	put(folder, "proc/self/cgroup", "4:memory:/x/y\n1:cpu,cpuacct:/z\n0::/\n");
	put(folder, "with blank/memory/memory.limit_in_bytes", "9223372036854771712\n");
	put(folder, "with blank/memory/x/memory.limit_in_bytes", "268435456\n");
	put(folder, "with blank/memory/x/y/memory.limit_in_bytes", "9223372036854771712\n");
	put(folder, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
	put(folder, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
	put(folder, "sys/fs/cgroup/cpu,cpuacct/z/cpu.cfs_quota_us", "50000\n");
	put(folder, "sys/fs/cgroup/cpu,cpuacct/z/cpu.cfs_period_us", "100000\n");
	put(folder, "with blank/memory/x/y/memory.oom_control",
		"oom_kill_disable 0\nunder_oom 0\noom_kill 5\n");
	assert_int_equal(container_kills(folder), 5);
	expect_limits(folder, 268435456, 1);
	os_remove_tree(folder);
}

/* ---- folders ---- */

static void expect_refused(const char *path, const char *word)
{
	char *why = NULL;

	assert_int_equal(os_open_own_folder(path, &why), -1);
	assert_non_null(strstr(why, word));
	free(why);
}

static void test_a_folder_of_ours_alone(void **state)
{
	char folder[64], *path, *other, *why = NULL;
	int fd;

	(void)state;
	unit_folder(folder);
	path = base_format("%s/a/b", folder);
	other = base_format("%s/link", folder);
	fd = os_open_own_folder(path, &why);
	assert_true(fd >= 0);
	close(fd);
	chmod(path, 0770);
	expect_refused(path, "others");
	chmod(path, 0707);
	expect_refused(path, "others");
	chmod(path, 0755);
	fd = os_open_own_folder(path, &why);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(symlink(path, other), 0);
	expect_refused(other, "link");
	unlink(other);
	put(folder, "link", "a file");
	expect_refused(other, "folder");
	if (geteuid() == 0) {
		assert_int_equal(chown(path, 12345, 12345), 0);
		expect_refused(path, "another user");
	}
	free(path);
	free(other);
	os_remove_tree(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_is_printed_is_cleaned),
		cmocka_unit_test(test_direct_writes_are_as_others),
		cmocka_unit_test(test_a_core_is_left_for_a_moment),
		cmocka_unit_test(test_who_is_forked_is_bound_as_its_parent),
		cmocka_unit_test(test_a_binding_is_not_undone_by_leaving_a_core),
		cmocka_unit_test(test_a_container_has_what_its_groups_leave_it),
		cmocka_unit_test(test_a_folder_of_ours_alone)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
