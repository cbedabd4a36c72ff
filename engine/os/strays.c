/* SPDX-License-Identifier: Apache-2.0 */
#include "strays.h"
#include "base/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GIVE_UP (2 * DAG_SECOND)
#define LOOK_FIRST (DAG_MS / 20) /* between two looks whether all are gone; it doubles, */
#define LOOK_LAST (10 * DAG_MS)  /* up to this */
#define DEPTH_MAX 256u           /* of processes below each other whose memory is counted */

void strays_adopt(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

bool strays_none(void)
{
	siginfo_t info;

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

/* ---- /proc, without the C library's memory ---- */

static char *put_text(char *at, const char *text)
{
	while (*text)
		*at++ = *text++;
	*at = 0;
	return at;
}

static char *put_number(char *at, unsigned long n)
{
	char digits[24], *d = digits + sizeof(digits) - 1;

	*d = 0;
	do
		*--d = (char)('0' + n % 10);
	while (n /= 10);
	return put_text(at, d);
}

/* Numbers with a blank behind each. False: f wants no more. */
static bool each_number(int fd, bool (*f)(void *ctx, pid_t child), void *ctx)
{
	char chunk[1024];
	unsigned long number = 0;
	bool more = true;
	ssize_t n;

	while (more && (n = read(fd, chunk, sizeof(chunk))) > 0)
		for (ssize_t i = 0; i < n && more; i++) {
			if (chunk[i] >= '0' && chunk[i] <= '9') {
				number = number * 10 + (unsigned long)(chunk[i] - '0');
				continue;
			}
			more = !number || f(ctx, (pid_t)number);
			number = 0;
		}
	return more;
}

static bool each_of_thread(
	const char *tasks, const char *thread, bool (*f)(void *ctx, pid_t child), void *ctx)
{
	char path[128];
	bool more;
	int fd;

	put_text(put_text(put_text(put_text(path, tasks), "/"), thread), "/children");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	more = each_number(fd, f, ctx);
	close(fd);
	return more;
}

struct entry {
	uint64_t inode;
	int64_t next;
	unsigned short len;
	unsigned char type;
	char name[];
};

void strays_each_child(pid_t pid, bool (*f)(void *ctx, pid_t child), void *ctx)
{
	_Alignas(8) char entries[2048];
	char tasks[64];
	bool more = true;
	long n;
	int dir;

	put_text(put_number(put_text(tasks, "/proc/"), (unsigned long)pid), "/task");
	dir = open(tasks, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return;
	while (more && (n = syscall(SYS_getdents64, dir, entries, sizeof(entries))) > 0)
		for (long at = 0; at < n && more;) {
			const struct entry *e = (const void *)(entries + at);

			at += e->len;
			if (e->name[0] != '.')
				more = each_of_thread(tasks, e->name, f, ctx);
		}
	close(dir);
}

/* ---- their end ---- */

struct ending {
	const pid_t *ours;
	size_t count;
	pid_t group; /* whose members stay; 0: none */
	bool any;
};

static bool end_child(void *ctx, pid_t pid)
{
	struct ending *e = ctx;

	for (size_t i = 0; i < e->count; i++)
		if (e->ours[i] == pid)
			return true;
	if (e->group && getpgid(pid) == e->group)
		return true;
	e->any = true;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, WNOHANG);
	return true;
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * DAG_SECOND + t.tv_nsec;
}

void strays_end(const pid_t *ours, size_t n, bool foreign)
{
	struct ending e = {ours, n, foreign ? getpgrp() : 0, true};
	int64_t until = 0, pause = LOOK_FIRST;

	/* A stray's own children come to us when it dies. */
	while (!strays_none()) {
		e.any = false;
		strays_each_child(getpid(), end_child, &e);
		if (!e.any || (until && now_ns() > until))
			return;
		if (!until)
			until = now_ns() + GIVE_UP;
		nanosleep(&(struct timespec){.tv_nsec = pause}, NULL);
		pause = DAG_MIN(pause * 2, (int64_t)LOOK_LAST);
	}
}

/* ---- memory ---- */

/* Resident pages that no file or segment stands behind. */
static unsigned long long own_memory(pid_t pid)
{
	char *path = base_format("/proc/%d/statm", (int)pid);
	unsigned long long size, resident = 0, shared = 0;
	FILE *f = fopen(path, "re");

	free(path);
	if (f && fscanf(f, "%llu %llu %llu", &size, &resident, &shared) != 3)
		resident = shared = 0;
	if (f)
		fclose(f);
	return resident > shared ? (resident - shared) * (unsigned long long)sysconf(_SC_PAGESIZE) : 0;
}

struct counting {
	unsigned long long bytes;
	unsigned depth;
};

static bool count_memory(void *ctx, pid_t pid)
{
	struct counting *c = ctx;

	c->bytes += own_memory(pid);
	if (c->depth++ < DEPTH_MAX)
		strays_each_child(pid, count_memory, c);
	c->depth--;
	return true;
}

unsigned long long strays_memory(pid_t pid)
{
	struct counting c = {0};

	count_memory(&c, pid);
	return c.bytes;
}
