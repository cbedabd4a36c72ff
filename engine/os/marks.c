/* SPDX-License-Identifier: Apache-2.0 */
#include "marks.h"
#include "base/base.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOOKS_MAX 20
#define PAUSE_US 1000u /* between two looks; it doubles, */
#define PAUSE_MAX_US 16000u
#define ENVIRONMENT_MAX (4u << 20) /* bytes that are looked at */
#define CHUNK 65536u

/* Clock ticks after boot; 0 where there is no such process. */
static unsigned long long started(long pid)
{
	char path[64], text[1024] = "", *at;
	unsigned long long when = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	at = n > 0 ? strrchr(text, ')') : NULL; /* its name may hold anything */
	if (!at ||
		sscanf(at + 1,
			" %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
			&when) != 1)
		return 0;
	return when;
}

static unsigned long long own_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) < 0 ? 0 : (unsigned long long)st.st_ino;
}

void mark_write(char text[MARK_LEN], unsigned long number)
{
	snprintf(text, MARK_LEN, "%llu-%ld-%llu-%lu", own_namespace(), (long)getpid(), started(getpid()),
		number);
}

/* Of another namespace we know nothing. */
static bool is_dead(const char *mark)
{
	unsigned long long namespace, when;
	long pid;

	return sscanf(mark, "%llu-%ld-%llu-", &namespace, &pid, &when) == 3 && pid > 0 && namespace &&
	       namespace == own_namespace() && started(pid) != when;
}

/* Its environment, allocated, with a NUL more behind it; NULL where it is another user's, or gone. */
static char *environment_of(const char *pid, size_t *ret_len)
{
	char *path = base_format("/proc/%s/environ", pid), *text = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = 1;

	free(path);
	while (fd >= 0 && n > 0 && len < ENVIRONMENT_MAX) {
		text = base_realloc(text, len + CHUNK + 1);
		n = read(fd, text + len, CHUNK);
		len += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		close(fd);
	if (text)
		text[len] = 0;
	*ret_len = len;
	return text;
}

/* NULL where it has none. */
static const char *find_mark(const char *text, size_t len)
{
	static const char name[] = MARK_NAME "=";

	for (const char *at = text; at < text + len; at += strlen(at) + 1)
		if (!strncmp(at, name, sizeof(name) - 1))
			return at + sizeof(name) - 1;
	return NULL;
}

/* mark: NULL for all whose daemon is gone. True where it was one of those. */
static bool end_one(const char *pid, const char *mark)
{
	/* Before its environment is read: it cannot be another process then. */
	int fd = (int)syscall(SYS_pidfd_open, (pid_t)strtol(pid, NULL, 10), 0);
	size_t len;
	char *text = fd < 0 ? NULL : environment_of(pid, &len);
	const char *its = text ? find_mark(text, len) : NULL;
	bool ends = its && (mark ? !strcmp(its, mark) : is_dead(its)) &&
		    syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0;

	free(text);
	if (fd >= 0)
		close(fd);
	return ends;
}

static size_t end_all(const char *mark)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;
	size_t n = 0;

	while (dir && (e = readdir(dir)))
		n += e->d_name[0] >= '1' && e->d_name[0] <= '9' && end_one(e->d_name, mark);
	if (dir)
		closedir(dir);
	return n;
}

/* One may start another while we look. */
static size_t end_until_gone(const char *mark)
{
	size_t first = end_all(mark);
	unsigned pause = PAUSE_US;

	for (size_t left = first, i = 0; left && i < LOOKS_MAX; i++) {
		usleep(pause);
		pause = DAG_MIN(pause * 2, PAUSE_MAX_US);
		left = end_all(mark);
	}
	return first;
}

void mark_end(const char *mark)
{
	end_until_gone(mark);
}

size_t mark_end_dead(void)
{
	return end_until_gone(NULL);
}
