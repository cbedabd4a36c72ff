/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nobody is left behind: a host is two processes. The one that the daemon starts is the guard; it runs
 * nobody's code, and is parent of the other, which runs the vertices. When that ends, in whatever way, all
 * that its vertices had started comes to the guard, which ends it and only then ends itself, as the host did;
 * so the daemon hears of a host's end when nothing of it runs any more. It ends the host, too, where the
 * daemon's process is gone or says so by SIGTERM. Where the guard is killed, the host does the same to what
 * is below it, and ends.
 */
#include "guard.h"
#include "host_proto.h"
#include "os/os.h"
#include "os/strays.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUARD_GONE SIGRTMAX /* a vertex's code has no use for it */
#define HOST_NAME "daghost"
#define GUARD_NAME "dagward" /* who ends hosts by their name leaves it alone */

/* ---- the host's side ---- */

static void on_guard_gone(int signal_number)
{
	(void)signal_number;
	strays_end(NULL, 0, false);
	_exit(1);
}

static void live_below(pid_t guard)
{
	struct sigaction action = {.sa_handler = on_guard_gone};

	setpgid(0, 0);
	sigaction(GUARD_GONE, &action, NULL);
	prctl(PR_SET_PDEATHSIG, GUARD_GONE);
	if (getppid() != guard)
		_exit(1);
	/* One that is just being forked is bound as the guard was, and not among its children yet. */
	os_bind_as(guard);
	unsetenv("XDG_STATE_HOME");
}

/* ---- the guard's ---- */

/* Of as many letters as the one that argv has. */
static void take_name(char *argv0, const char *old, const char *new)
{
	char *name = strstr(argv0, old), *last = NULL;

	for (; name; name = strstr(name + 1, old))
		last = name;
	if (last)
		memcpy(last, new, strlen(new));
	prctl(PR_SET_NAME, new);
}

/* True where the host has ended; what else ended is forgotten. */
static bool reap(pid_t host, int *ret_status)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) != 0) {
		if (pid == host) {
			*ret_status = status;
			return true;
		}
		if (pid < 0 && errno != EINTR)
			return true; /* nothing is below us */
	}
	return false;
}

_Noreturn static void end_as(int status, struct host_status *page)
{
	sigset_t none;

	strays_end(NULL, 0, false);
	if (page != MAP_FAILED)
		atomic_store(&page->left_nothing, 1);
	if (WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		kill(getpid(), WTERMSIG(status));
	}
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 70);
}

_Noreturn static void watch(pid_t host, int daemon, int signals, struct host_status *page)
{
	struct pollfd fds[2] = {{signals, POLLIN, 0}, {daemon, POLLIN, 0}};
	struct signalfd_siginfo info;
	int status = 0;

	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[0].revents && read(signals, &info, sizeof(info)) == sizeof(info) &&
			info.ssi_signo == SIGTERM)
			kill(host, SIGKILL);
		if (fds[1].revents) {
			kill(host, SIGKILL);
			fds[1].fd = -1;
		}
		if (reap(host, &status))
			end_as(status, page);
	}
}

/* The daemon has put us where this host is to be; false where it is gone. */
static bool wait_for_go(int daemon)
{
	struct pollfd fds[2] = {{HOST_BELL_FD, POLLIN, 0}, {daemon, POLLIN, 0}};

	while (!fds[0].revents && !fds[1].revents)
		poll(fds, 2, -1);
	os_bell_hush(HOST_BELL_FD);
	return !fds[1].revents;
}

void guard_begin(char **argv)
{
	pid_t parent = getppid(), guard = getpid(), host;
	struct host_status *page;
	int daemon, signals;
	sigset_t heard, old;

	/* Whoever started us may be a thread that ends long before its process. */
	prctl(PR_SET_PDEATHSIG, 0);
	take_name(argv[0], HOST_NAME, GUARD_NAME);
	strays_adopt();
	daemon = (int)syscall(SYS_pidfd_open, parent, 0);
	if (daemon < 0 || getppid() != parent || !wait_for_go(daemon))
		_exit(1);
	sigemptyset(&heard);
	sigaddset(&heard, SIGCHLD);
	sigaddset(&heard, SIGTERM);
	sigprocmask(SIG_BLOCK, &heard, &old);
	signals = signalfd(-1, &heard, SFD_CLOEXEC);
	host = signals < 0 ? -1 : fork();
	if (host < 0)
		_exit(71);
	if (host == 0) {
		close(signals);
		close(daemon);
		sigprocmask(SIG_SETMASK, &old, NULL);
		take_name(argv[0], GUARD_NAME, HOST_NAME);
		live_below(guard);
		return;
	}
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, HOST_STATUS_FD, 0);
	/* The spool's lock stays ours: no other daemon of its name begins while something of this one runs.
	 */
	for (int fd = 0; fd < HOST_SPOOL_FD; fd++)
		close(fd);
	watch(host, daemon, signals, page);
}
