/* SPDX-License-Identifier: Apache-2.0 */
#include "strays.h"
#include "base/base.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define GENERATIONS_MAX 64

void strays_adopt(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

/* The children of all threads of a process, in an allocated array. */
static pid_t *children_of(pid_t pid, size_t *ret_count)
{
	char *path = base_format("/proc/%d/task", (int)pid);
	DIR *dir = opendir(path);
	struct dirent *e;
	pid_t *pids = NULL;
	size_t cap = 0;

	*ret_count = 0;
	free(path);
	while (dir && (e = readdir(dir))) {
		FILE *f;
		int child;

		if (e->d_name[0] == '.')
			continue;
		path = base_format("/proc/%d/task/%s/children", (int)pid, e->d_name);
		f = fopen(path, "re");
		free(path);
		while (f && fscanf(f, "%d", &child) == 1)
			*DAG_APPEND(pids, *ret_count, cap) = child;
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return pids;
}

static bool contains(const pid_t *pids, size_t n, pid_t pid)
{
	for (size_t i = 0; i < n; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

int strays_kill(const pid_t *ours, size_t n)
{
	int killed = 0, before = -1;
	siginfo_t info;

	/* As usual: there is nothing below us at all. */
	if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD)
		return 0;
	/* A stray's own children come to us when it dies. */
	for (int generation = 0; generation < GENERATIONS_MAX && killed > before; generation++) {
		size_t count;
		pid_t *pids = children_of(getpid(), &count);

		before = killed;
		for (size_t i = 0; i < count; i++) {
			if (contains(ours, n, pids[i]))
				continue;
			kill(pids[i], SIGKILL);
			while (waitpid(pids[i], NULL, 0) < 0 && errno == EINTR)
				;
			killed++;
		}
		free(pids);
	}
	return killed;
}

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

unsigned long long strays_memory(pid_t pid)
{
	unsigned long long bytes = own_memory(pid);
	size_t count;
	pid_t *pids = children_of(pid, &count);

	for (size_t i = 0; i < count; i++)
		bytes += strays_memory(pids[i]);
	free(pids);
	return bytes;
}
