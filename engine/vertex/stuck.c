/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that waits at a named pipe for somebody who will never come: it opens its output for reading, or
 * an input again. The kernel tells which call a process is in, and with which path; where it does not (no
 * right to look, or no such file in /proc), such a program waits as before, until its timeout.
 */
#include "program.h"
#include "task.h"
#include "os/strays.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PATH_BYTES 256u /* of a path that is looked at: those of ports are short, but for the folder */
#define DEPTH_MAX 64u

struct look {
	struct program *prog;
	const struct pump *at; /* who is waited at; NULL: nobody was found yet */
	pid_t pid;
	int mode;
	unsigned depth;
};

/* An open that the process is in: its path, and how. */
static bool read_open(pid_t pid, char path[PATH_BYTES], int *ret_mode)
{
	char *name = base_format("/proc/%d/syscall", (int)pid);
	FILE *f = fopen(name, "re");
	unsigned long a[3] = {0}, at, flags;
	long number = -1;
	ssize_t n;
	int got = f ? fscanf(f, "%ld %lx %lx %lx", &number, &a[0], &a[1], &a[2]) : 0;

	if (f)
		fclose(f);
	free(name);
	if (got != 4)
		return false;
	at = a[1];
	flags = a[2];
#ifdef SYS_open
	if (number == SYS_open) {
		at = a[0];
		flags = a[1];
		number = SYS_openat;
	}
#endif
	if (number != SYS_openat)
		return false;
	n = process_vm_readv(pid, &(struct iovec){path, PATH_BYTES - 1}, 1,
		&(struct iovec){(void *)at, PATH_BYTES - 1}, 1, 0);
	if (n < 0) /* it lies near the end of what is mapped */
		n = process_vm_readv(pid, &(struct iovec){path, PATH_BYTES - 1}, 1,
			&(struct iovec){(void *)at, 4096 - at % 4096}, 1, 0);
	if (n <= 0)
		return false;
	path[n] = 0;
	*ret_mode = (int)flags & O_ACCMODE;
	return true;
}

static const struct pump *find_pump(const struct program *prog, pid_t pid, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	struct stat theirs, ours;
	char *whole;
	int r;

	if (strncmp(name, "in.", 3) && strncmp(name, "out.", 4))
		return NULL;
	whole = *path == '/' ? base_strdup(path) : base_format("/proc/%d/cwd/%s", (int)pid, path);
	r = stat(whole, &theirs);
	free(whole);
	for (size_t i = 0; r == 0 && i < prog->pump_count; i++)
		if (prog->pumps[i].path && stat(prog->pumps[i].path, &ours) == 0 &&
			ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev)
			return &prog->pumps[i];
	return NULL;
}

/* Nobody will open the other side. */
static bool is_hopeless(const struct pump *p, int mode)
{
	if (p->out)
		return mode == O_RDONLY;
	return mode == O_WRONLY || (mode == O_RDONLY && atomic_load(p->claim));
}

static bool look_at(void *ctx, pid_t pid)
{
	struct look *look = ctx;
	char path[PATH_BYTES];
	int mode;

	if (read_open(pid, path, &mode)) {
		const struct pump *p = find_pump(look->prog, pid, path);

		if (p && is_hopeless(p, mode)) {
			look->at = p;
			look->pid = pid;
			look->mode = mode;
			return false;
		}
	}
	if (look->depth++ < DEPTH_MAX)
		strays_each_child(pid, look_at, look);
	look->depth--;
	return !look->at;
}

static char *explain(const struct look *look)
{
	const struct pump *p = look->at;
	char *name = base_format("/proc/%d/comm", (int)look->pid), comm[32] = "the program";
	FILE *f = fopen(name, "re");
	char *text;

	free(name);
	if (f && !fgets(comm, sizeof(comm), f))
		snprintf(comm, sizeof(comm), "the program");
	if (f)
		fclose(f);
	comm[strcspn(comm, "\n")] = 0;
	if (!p->out && look->mode == O_RDONLY)
		return pump_read_twice(p);
	text = p->out ? base_format("%s waits to open output port %u, {out.%u}, for reading: it is a named "
				    "pipe, to be written to "
				    "alone; let the program write to a file, and copy that to {out.%u} then",
				comm, p->port, p->port, p->port)
		      : base_format("%s waits to open input port %u, {in.%u}, for writing: it is a named "
				    "pipe, to be read alone",
				comm, p->port, p->port);
	return text;
}

void stuck_look(struct program *prog)
{
	struct look look = {.prog = prog};

	look_at(&look, prog->pid);
	/* What left its process group, or its parent. */
	if (!look.at && prog->v->host->run.task_count == 1)
		strays_each_child(getpid(), look_at, &look);
	if (look.at && look.pid == prog->seen && look.at == prog->seen_at) {
		task_fail(prog->v, DAG_EFAILED, explain(&look));
		kill(-prog->pid, SIGKILL);
		kill(prog->pid, SIGKILL);
	}
	prog->seen = look.at ? look.pid : 0;
	prog->seen_at = look.at;
}
