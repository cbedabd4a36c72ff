/* SPDX-License-Identifier: Apache-2.0 */
/* Thin wrappers over the system. */
#include "os.h"
#include "print.h"
#include "container.h"
#include "version.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <arpa/inet.h>
#include <limits.h>
#include <linux/magic.h>
#include <netdb.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#define DESCRIPTORS_IN_HAND 64
#define DESCRIPTORS_OF_OTHERS 128 /* those in hand, and connections */
#define DESCRIPTORS_A_SLOT 5
#define PASSWD_SIZE 16384u

static dag_instant read_clock(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * DAG_SECOND + t.tv_nsec;
}

dag_instant os_now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

dag_instant os_boottime(void)
{
	return read_clock(CLOCK_BOOTTIME);
}

void os_draw(void *bytes, size_t len)
{
	DAG_ASSERT(getrandom(bytes, len, 0) == (ssize_t)len);
}

uint64_t os_random(void)
{
	uint64_t n;

	os_draw(&n, sizeof(n));
	return n;
}

void os_be_patient(void)
{
	struct sched_param none = {0};

	if (sched_setscheduler(0, SCHED_BATCH, &none) < 0)
		errno = 0; /* it is only a wish */
}

int os_core(void)
{
	return sched_getcpu();
}

/* Bound meanwhile: what that set here is undone, and so set again. */
static void settle(pid_t bound_before, cpu_set_t where)
{
	for (cpu_set_t now = where;; where = now) {
		sched_setaffinity(0, sizeof(where), &where);
		if (sched_getaffinity(bound_before, sizeof(now), &now) < 0 || CPU_EQUAL(&where, &now))
			return;
	}
}

void os_bind_as(pid_t bound_before)
{
	cpu_set_t where;

	if (sched_getaffinity(bound_before, sizeof(where), &where) == 0)
		settle(bound_before, where);
}

void os_leave_core(int core, pid_t bound_before)
{
	cpu_set_t all, others;

	if (core < 0 || core >= CPU_SETSIZE || core != os_core() ||
		sched_getaffinity(bound_before, sizeof(all), &all) < 0)
		return;
	others = all;
	CPU_CLR((size_t)core, &others);
	if (CPU_COUNT(&others) && sched_setaffinity(0, sizeof(others), &others) == 0)
		settle(bound_before, all);
}

int os_bell_new(void)
{
	return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* Where the count is full it has been rung. */
void os_bell_ring(int bell)
{
	uint64_t one = 1;

	while (write(bell, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void os_bell_hush(int bell)
{
	uint64_t count;

	while (read(bell, &count, sizeof(count)) < 0 && errno == EINTR)
		;
}

int os_make_folders(const char *path)
{
	char *copy;
	int r = 0;

	if (mkdir(path, 0700) == 0)
		return 0; /* as usual: all above it are there */
	copy = base_strdup(path);
	for (char *c = copy + 1; r == 0; c++) {
		char kept = *c;

		if (kept != '/' && kept)
			continue;
		*c = 0;
		if (mkdir(copy, 0700) < 0 && errno != EEXIST)
			r = DAG_EIO;
		*c = kept;
		if (!kept)
			break;
	}
	if (r == 0) {
		struct stat st;

		if (stat(path, &st) < 0)
			r = DAG_EIO;
		else if (!S_ISDIR(st.st_mode)) {
			errno = ENOTDIR;
			r = DAG_EIO;
		}
	}
	free(copy);
	return r;
}

int os_open_own_folder(const char *path, char **ret_why)
{
	int fd = os_make_folders(path) < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 && (errno == ELOOP || errno == ENOTDIR)) {
		*ret_why = base_strdup(lstat(path, &st) == 0 && S_ISLNK(st.st_mode)
					       ? "is a link; name the folder that it leads to"
					       : "is no folder");
		return -1;
	}
	if (fd < 0 || fstat(fd, &st) < 0) {
		*ret_why = base_format("cannot be used: %s", strerror(errno));
		return -1;
	}
	if (st.st_uid == geteuid() && !(st.st_mode & (S_IWGRP | S_IWOTH)))
		return fd;
	*ret_why = st.st_uid != geteuid()
			   ? base_format("belongs to another user (%u)", (unsigned)st.st_uid)
			   : base_strdup("can be written to by others; make it yours alone with: chmod go-w");
	close(fd);
	return -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	remove(path);
	return 0;
}

void os_remove_tree(const char *path)
{
	if (rmdir(path) < 0 && errno != ENOENT)
		nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

char *os_find_program(const char *name)
{
	const char *path = getenv("PATH"), *end;

	for (path = path ? path : ""; *path; path = end + !!*end) {
		char *found;
		struct stat st;

		end = path + strcspn(path, ":");
		if (*path != '/')
			return NULL;
		found = base_format("%.*s/%s", (int)(end - path), path, name);
		if (access(found, X_OK) == 0 && stat(found, &st) == 0 && S_ISREG(st.st_mode))
			return found;
		free(found);
	}
	return NULL;
}

int os_write_at(int fd, const void *data, size_t len, uint64_t at)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pwrite(fd, (const char *)data + done, len - done, (off_t)(at + done));

		if (n < 0 && errno != EINTR)
			return errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int os_sync_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return DAG_EIO;
	r = fsync(fd) < 0 ? DAG_EIO : 0;
	close(fd);
	return r;
}

#ifdef DAG_COVERAGE
void __gcov_dump(void);
void __gcov_reset(void);

void os_write_coverage(void)
{
	__gcov_dump();
	__gcov_reset();
}
#endif

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? base_strndup(path, (size_t)(slash - path)) : base_strdup(".");
}

static bool has_host(const char *folder)
{
	char *host = base_format("%s/daghost", folder);
	bool found = access(host, X_OK) == 0;

	free(host);
	return found;
}

/* Where the programs lie that belong to our library: beside it in a build, in their folder where both are
 * installed, else where PATH has them. */
static char *library_folder(const char *path)
{
	char *beside = folder_of(path), *installed = NULL, *found = NULL, *folder = NULL;

	if (has_host(beside))
		return beside;
	installed = *DAGRUN_BIN_FROM_LIB == '/' ? base_strdup(DAGRUN_BIN_FROM_LIB)
						: base_format("%s/%s", beside, DAGRUN_BIN_FROM_LIB);
	if (has_host(installed)) {
		free(beside);
		return installed;
	}
	found = os_find_program("daghost");
	folder = found ? folder_of(found) : base_strdup(beside);
	free(beside);
	free(installed);
	free(found);
	return folder;
}

char *os_program_folder(void)
{
	char path[PATH_MAX];
	Dl_info info;
	ssize_t n;

	if (dladdr((void *)os_program_folder, &info) && strstr(info.dli_fname, ".so"))
		return library_folder(info.dli_fname);
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = 0;
	return folder_of(path);
}

/* As the system knows it, where the environment does not say it. Allocated; NULL where nobody does. */
static char *home_folder(void)
{
	const char *home = getenv("HOME");
	struct passwd entry, *found = NULL;
	char *buf, *copy = NULL;

	if (home && *home == '/')
		return base_strdup(home);
	buf = base_alloc(PASSWD_SIZE);
	if (getpwuid_r(geteuid(), &entry, buf, PASSWD_SIZE, &found) == 0 && found && *found->pw_dir == '/')
		copy = base_strdup(found->pw_dir);
	free(buf);
	return copy;
}

char *os_state_folder_or(char **ret_why)
{
	const char *state = getenv("XDG_STATE_HOME");
	char *home = state && *state == '/' ? NULL : home_folder(), *path = NULL, *why = NULL;
	int fd;

	if (state && *state == '/')
		path = base_format("%s/dagrun", state);
	else if (home)
		path = base_format("%s/.local/state/dagrun", home);
	free(home);
	if (!path) {
		*ret_why = base_strdup("no home folder is known to keep jobs in; set XDG_STATE_HOME");
		return NULL;
	}
	fd = os_open_own_folder(path, &why);
	if (fd >= 0) {
		close(fd);
		return path;
	}
	*ret_why = base_format("the state folder %s %s (XDG_STATE_HOME names another)", path, why);
	free(path);
	free(why);
	return NULL;
}

char *os_state_folder(void)
{
	char *why = NULL, *path = os_state_folder_or(&why);

	free(why);
	return path;
}

char *os_absolute_path(const char *path)
{
	char cwd[PATH_MAX];

	if (*path == '/' || !getcwd(cwd, sizeof(cwd)))
		return base_strdup(path);
	return base_format("%s/%s", cwd, path);
}

static void tell(char *text, bool named, const char *program, os_say_fn *say, void *ctx)
{
	print_clean(text);
	if (say)
		say(ctx, text);
	else
		fprintf(stderr, "%s%s%s\n", named ? "" : program, named ? "" : ": ", text);
	free(text);
}

void os_tell(struct dag_diag *diag, const char *program, os_say_fn *say, void *ctx)
{
	for (size_t i = 0; i < diag->count; i++)
		tell(dag_message_format(&diag->items[i]), diag->items[i].file, program, say, ctx);
	if (diag->dropped)
		tell(base_format("and %zu more errors", diag->dropped), false, program, say, ctx);
	dag_diag_fini(diag);
}

/* The lowest that is free is given, so all below it are taken. */
bool os_has_descriptors(void)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	struct rlimit limit;
	bool has = fd >= 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
		   (rlim_t)fd + DESCRIPTORS_IN_HAND < limit.rlim_cur;

	if (fd >= 0)
		close(fd);
	return has;
}

uint32_t os_slots_max(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return UINT32_MAX;
	if (limit.rlim_cur < DESCRIPTORS_OF_OTHERS + DESCRIPTORS_A_SLOT)
		return 1;
	return (uint32_t)DAG_MIN(
		(limit.rlim_cur - DESCRIPTORS_OF_OTHERS) / DESCRIPTORS_A_SLOT, (rlim_t)UINT32_MAX);
}

bool os_is_on_disk(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type != TMPFS_MAGIC;
}

bool os_is_network_fs(const char *path)
{
	struct statfs fs;

	if (statfs(path, &fs) < 0)
		return false;
	switch ((unsigned)fs.f_type) {
	case 0x6969:     /* NFS */
	case 0x517b:     /* SMB */
	case 0xff534d42: /* CIFS */
	case 0xfe534d42: /* SMB2 */
	case 0x65735546: /* FUSE: sshfs and the like */
	case 0x01021997: /* 9P */
	case 0x00c36400: /* Ceph */
		return true;
	}
	return false;
}

uint64_t os_memory(void)
{
	uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	return DAG_MIN(all, container_own()->memory);
}

int os_cores(void)
{
	uint32_t may = container_own()->cpus;
	cpu_set_t set;
	int all = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set)
							       : (int)sysconf(_SC_NPROCESSORS_ONLN);

	return (int)DAG_MAX(DAG_MIN((uint32_t)all, may), 1u);
}

const char *os_file_error(int error, char ret[OS_FILE_ERROR_LEN])
{
	struct rlimit limit;

	if (error == EFBIG && getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		snprintf(ret, OS_FILE_ERROR_LEN, "%s: a file may have %llu bytes here (ulimit -f %llu)",
			strerror(error), (unsigned long long)limit.rlim_cur,
			(unsigned long long)limit.rlim_cur / 1024);
	else
		snprintf(ret, OS_FILE_ERROR_LEN, "%s", strerror(error));
	return ret;
}
