/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why nobody is reached at an endpoint, which ZeroMQ does not tell: a connection of our own is tried. A name
 * is looked up in a thread, since that takes as long as its servers like, and heartbeats must not wait for
 * it.
 */
#include "absence.h"
#include "endpoint.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_PATIENCE (1500 * DAG_MS) /* then nothing answers there */

/* Who comes last frees it: an absence that is over does not wait for the thread. */
struct lookup {
	_Atomic int users;
	_Atomic bool over;
	char *endpoint;
	int error, errno_then; /* of getaddrinfo; errno where it says EAI_SYSTEM */
	struct sockaddr_storage address;
	socklen_t len;
};

static void leave(struct lookup *l)
{
	if (--l->users)
		return;
	free(l->endpoint);
	free(l);
}

static void *look_up(void *ctx)
{
	struct lookup *l = ctx;

	l->error = endpoint_address(l->endpoint, &l->address, &l->len);
	l->errno_then = errno;
	l->over = true;
	leave(l);
	return NULL;
}

/* Signals are the loop's. */
static bool start_thread(struct lookup *l)
{
	sigset_t all, before;
	pthread_attr_t detached;
	pthread_t thread;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &detached, look_up, l);
	pthread_attr_destroy(&detached);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r == 0;
}

static void begin(struct absence *a, const char *endpoint)
{
	struct lookup *l = base_alloc(sizeof(*l));

	a->fd = -1;
	a->lookup = l;
	l->endpoint = base_strdup(endpoint);
	l->users = 2;
	if (!endpoint_is_named(endpoint)) {
		look_up(l);
	} else if (!start_thread(l)) {
		l->users = 1;
		leave(l);
		a->lookup = NULL; /* the next step tries again */
	}
}

static void try_connection(struct absence *a, dag_instant now)
{
	struct lookup *l = a->lookup;

	a->since = now;
	a->fd = socket(l->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->fd < 0 || (connect(a->fd, (struct sockaddr *)&l->address, l->len) < 0 && errno != EINPROGRESS))
		a->error = errno;
}

static void look_at_connection(struct absence *a, dag_instant now)
{
	struct pollfd p = {a->fd, POLLOUT, 0};
	socklen_t len = sizeof(a->error);

	if (poll(&p, 1, 0) == 1)
		getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &a->error, &len);
	else if (now - a->since > CONNECT_PATIENCE)
		a->error = ETIMEDOUT;
	else
		return;
	if (!a->error) /* somebody is there: ZeroMQ finds them too */
		absence_fini(a);
}

void absence_step(struct absence *a, const char *endpoint, dag_instant now)
{
	if (a->error || a->unknown)
		return;
	if (!a->lookup)
		begin(a, endpoint);
	if (!a->lookup || !a->lookup->over)
		return;
	if (a->lookup->error && a->lookup->error != EAI_SYSTEM)
		a->unknown = a->lookup->error;
	else if (a->lookup->error)
		a->error = a->lookup->errno_then;
	else if (a->fd < 0)
		try_connection(a, now);
	else
		look_at_connection(a, now);
	if (a->error && a->fd >= 0) {
		close(a->fd);
		a->fd = -1;
	}
}

void absence_text(const struct absence *a, char *ret, size_t size)
{
	if (a->unknown)
		snprintf(ret, size, "its name is not known here: %s", gai_strerror(a->unknown));
	else if (a->error == ECONNREFUSED)
		snprintf(ret, size, "%s: nothing listens at that port", strerror(a->error));
	else if (a->error == ETIMEDOUT)
		snprintf(ret, size, "%s: the machine is off, or something between drops what is sent",
			strerror(a->error));
	else if (a->error)
		snprintf(ret, size, "%s", strerror(a->error));
	else if (a->lookup && !a->lookup->over)
		snprintf(ret, size, "its name is still being looked up: no server for names answers");
	else
		snprintf(ret, size, "no connection comes to be");
}

void absence_fini(struct absence *a)
{
	if (a->lookup) {
		if (a->fd >= 0)
			close(a->fd);
		leave(a->lookup);
	}
	*a = (struct absence){0};
}
