/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vertices of a host write to one pipe, which the daemon reads when it has time. Whose words they are is
 * known by one rule: a vertex that said anything is over when the daemon has read all of it. Most say
 * nothing, and are not held up: then the pipe is empty, and the daemon has not looked since.
 */
#include "errors.h"
#include "host.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRITE_RUN (DAG_MS / 1000)  /* who ran shorter has not written anything, */
#define REPLACE_RUN (DAG_MS / 100) /* or not replaced its descriptors */

void errors_begin(struct host *host)
{
	/* In place of the spool's lock, which is the guard's. */
	dup3(STDERR_FILENO, ERRORS_FD, O_CLOEXEC);
	fstat(ERRORS_FD, &host->errors.pipe);
}

void errors_on_heard(struct host *host)
{
	host->errors.heard = true;
}

static void restore(const struct host *host, int fd)
{
	struct stat now;

	if (fstat(fd, &now) < 0 || now.st_ino != host->errors.pipe.st_ino ||
		now.st_dev != host->errors.pipe.st_dev)
		dup2(ERRORS_FD, fd);
}

bool errors_said(struct host *host, dag_instant ran)
{
	int unread = 0;

	if (ran < WRITE_RUN)
		return false;
	if (ran > REPLACE_RUN) {
		restore(host, STDOUT_FILENO);
		restore(host, STDERR_FILENO);
	}
	/* In this order: the daemon counts before it reads. */
	if (ioctl(ERRORS_FD, FIONREAD, &unread) < 0)
		return false;
	return unread || atomic_load(&host->status->errors_looks) != host->errors.looks;
}

void errors_wait(struct host *host)
{
	pthread_mutex_lock(&host->lock);
	while (!host->errors.heard)
		host_wait(host);
	host->errors.heard = false;
	host->errors.looks = atomic_load(&host->status->errors_looks);
	pthread_mutex_unlock(&host->lock);
}
