/* SPDX-License-Identifier: Apache-2.0 */
/* Limits and signals of our programs. */
#include "startup.h"
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static void on_abort(int signal)
{
	(void)signal;
	_exit(EXIT_BUG);
}

void startup_standard_descriptors(void)
{
	/* The lowest that is free is what open gives. */
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
			open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
			_exit(EXIT_BUG); /* there is no system to run on */
	errno = 0;
}

bool startup_ends_on_hangup(void)
{
	struct sigaction now;

	return sigaction(SIGHUP, NULL, &now) == 0 && now.sa_handler != SIG_IGN;
}

/* Of a pipe or socket that nobody reads. */
static bool has_no_reader(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLHUP));
}

int startup_finish(const char *program, int code)
{
	bool failed = ferror(stdout) != 0;

	errno = 0;
	failed = fflush(stdout) == EOF || failed;
	if (!failed || code)
		return code;
	if (errno == EPIPE || has_no_reader(STDOUT_FILENO))
		return 128 + SIGPIPE;
	fprintf(stderr, "%s: cannot write to stdout%s%s\n", program, errno ? ": " : "",
		errno ? strerror(errno) : "");
	return 1;
}

int startup(const char *program, size_t descriptors_needed)
{
	uint64_t kept = DAG_MIN(os_memory() / 32, 128u << 20);
	struct rlimit limit;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error that is told */
	signal(SIGABRT, on_abort);
	/* Large ZeroMQ messages come and go: both thresholds together keep their memory from being mapped
	 * anew each time. Where there is little memory, little of it is kept. */
	mallopt(M_MMAP_THRESHOLD, (int)DAG_MIN(kept / 2, 64u << 20));
	mallopt(M_TRIM_THRESHOLD, (int)kept);
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur < descriptors_needed) {
		fprintf(stderr,
			"%s: %llu file descriptors are allowed, %zu are needed; raise the limit with: ulimit "
			"-n %zu\n",
			program, (unsigned long long)limit.rlim_cur, descriptors_needed,
			descriptors_needed * 4);
		return DAG_ELIMIT;
	}
	return 0;
}
