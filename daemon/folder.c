/* SPDX-License-Identifier: Apache-2.0 */
/* Locks say who lives; what the dead have left goes. */
#include "folder.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KEPT_SECONDS (24 * 3600)
#define LOCK_TRIES 150 /* three seconds for the processes of a daemon that died */
#define LOCK_PAUSE_US 20000

DIR *folder_list(int folder)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir && fd >= 0)
		close(fd);
	return dir;
}

int folder_lock(int folder, int *ret_fd)
{
	int fd = openat(folder, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

	if (fd < 0)
		return DAG_EIO;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int r = errno == EWOULDBLOCK ? DAG_EBUSY : DAG_EIO;

		close(fd);
		return r;
	}
	futimens(fd, NULL);
	*ret_fd = fd;
	return 0;
}

/* The daemon that took the lock last is gone: what is left of it lets go of it soon. */
static bool owner_is_gone(int folder)
{
	int fd = openat(folder, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char text[16] = "";
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	long pid = n > 0 ? strtol(text, NULL, 10) : 0;

	if (fd >= 0)
		close(fd);
	return pid > 0 && pid <= INT_MAX && kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

int folder_own(int folder, int *ret_fd)
{
	int r = folder_lock(folder, ret_fd);
	char pid[16];
	int len;

	for (int i = 0; i < LOCK_TRIES && r == DAG_EBUSY && owner_is_gone(folder); i++) {
		usleep(LOCK_PAUSE_US);
		r = folder_lock(folder, ret_fd);
	}
	if (r < 0)
		return r;
	len = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	/* Where the disk is full, nobody will wait for us. */
	if (pwrite(*ret_fd, pid, (size_t)len, 0) != len || ftruncate(*ret_fd, len) < 0)
		errno = 0;
	return 0;
}

/*
 * Where its daemon is dead: what it holds may be of use for a day, to a daemon of that name that is started
 * again, if the folder on disk that the lock names is there.
 */
static bool is_of_use(int lock)
{
	char spool[PATH_MAX];
	struct stat st;
	ssize_t n = pread(lock, spool, sizeof(spool) - 1, 0);

	if (fstat(lock, &st) < 0 || time(NULL) - st.st_mtime > KEPT_SECONDS)
		return false;
	spool[n > 0 ? n : 0] = 0;
	return n <= 0 || stat(spool, &st) == 0 || errno != ENOENT;
}

/* As folder_lock of what nobody has use for, but makes nothing: what has no lock is just being made. Starts
 * are short: of what stays, no more is opened than the lock. */
static bool lock_useless(int parent, const char *name, int *ret_fd)
{
	char path[NAME_MAX + sizeof("/lock")];
	int fd;

	snprintf(path, sizeof(path), "%s/lock", name);
	fd = openat(parent, path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return false;
	if (is_of_use(fd) || flock(fd, LOCK_EX | LOCK_NB) < 0 || is_of_use(fd)) {
		close(fd);
		return false;
	}
	*ret_fd = fd;
	return true;
}

size_t folder_remove_dead(const char *ours)
{
	char *parent = base_format("/dev/shm/dagrun-%u", (unsigned)geteuid()), *why = NULL;
	int fd = access(parent, F_OK) == 0 ? os_open_own_folder(parent, &why) : -1;
	DIR *dir = fd < 0 ? NULL : folder_list(fd);
	struct dirent *e;
	size_t n = 0;

	while (dir && (e = readdir(dir))) {
		int lock;

		if (e->d_name[0] == '.' || (ours && !strcmp(e->d_name, ours)))
			continue;
		if (lock_useless(fd, e->d_name, &lock)) {
			char *path = base_format("%s/%s", parent, e->d_name);

			os_remove_tree(path);
			free(path);
			close(lock);
			n++;
		}
	}
	if (dir)
		closedir(dir);
	if (fd >= 0)
		close(fd);
	free(parent);
	free(why);
	return n;
}
