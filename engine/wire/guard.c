/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ZeroMQ tells the descriptor of a connection when it comes and when it goes, and between them, without one,
 * that some connection got in or did not. What did not is gone in the next moment.
 */
#include "guard.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define SAY_EVERY (60 * DAG_SECOND)
#define SAY_AFTER (1 * DAG_SECOND) /* the first: others may come with it */
#define ADDRESS_LEN 46u            /* of a numeric one, with its NUL */
#define STRANGERS_MAX 4u           /* addresses that are told */
#define CONNECTIONS_MAX 65536      /* descriptors that are looked at */

struct connection {
	struct sockaddr_storage address;
	uint64_t shaken; /* how many had got in when it came */
	bool open;
};

struct stranger {
	char address[ADDRESS_LEN];
	uint64_t count;
};

struct guard {
	struct wire_socket *socket;
	char *endpoint;
	struct connection *connections; /* by descriptor */
	size_t connection_cap;
	uint64_t shaken, total; /* total: of strangers */
	struct stranger strangers[STRANGERS_MAX];
	size_t stranger_count;
	bool refused; /* the one that goes next was */
	bool closed, told_closed;
	dag_instant first, said, closed_said;
};

/* True where so many more could be opened. */
static bool has_descriptors(rlim_t wanted)
{
	struct rlimit limit;
	int fd = open("/", O_PATH | O_CLOEXEC); /* the lowest that is free */

	if (fd < 0)
		return false;
	close(fd);
	return getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY ||
	       (rlim_t)fd + wanted <= limit.rlim_cur;
}

/* One that was gone before we could ask for its address counts without. */
static void count_stranger(struct guard *g, const struct connection *c)
{
	char address[ADDRESS_LEN];
	size_t i = 0;

	if (!g->total++)
		g->first = os_now();
	if (getnameinfo((const struct sockaddr *)&c->address, sizeof(c->address), address, sizeof(address),
		    NULL, 0, NI_NUMERICHOST) != 0)
		return;
	while (i < g->stranger_count && strcmp(g->strangers[i].address, address) != 0)
		i++;
	if (i == STRANGERS_MAX)
		return;
	if (i == g->stranger_count)
		memcpy(g->strangers[g->stranger_count++].address, address, sizeof(address));
	g->strangers[i].count++;
}

static struct connection *find(struct guard *g, int fd)
{
	size_t cap = g->connection_cap;

	if (fd < 0 || fd >= CONNECTIONS_MAX)
		return NULL;
	if ((size_t)fd >= cap) {
		cap = (size_t)fd * 2 + 64;
		g->connections = base_realloc(g->connections, cap * sizeof(*g->connections));
		memset(g->connections + g->connection_cap, 0,
			(cap - g->connection_cap) * sizeof(*g->connections));
		g->connection_cap = cap;
	}
	return &g->connections[fd];
}

static void close_port(struct guard *g)
{
	if (!g->closed && g->endpoint)
		g->closed = wire_socket_unbind(g->socket, g->endpoint) == 0;
}

static void on_accepted(struct guard *g, int fd)
{
	struct connection *c = find(g, fd);
	socklen_t len = sizeof(c->address);

	if (c) {
		*c = (struct connection){.shaken = g->shaken, .open = true};
		getpeername(fd, (struct sockaddr *)&c->address, &len);
	}
	if (!has_descriptors(GUARD_DESCRIPTORS))
		close_port(g);
}

static void on_lost(struct guard *g, int fd)
{
	struct connection *c = find(g, fd);

	if (c && c->open && (g->refused || c->shaken == g->shaken))
		count_stranger(g, c);
	if (c)
		c->open = false;
	g->refused = false;
}

static void on_event(void *ctx, enum wire_event event, int value)
{
	struct guard *g = ctx;

	switch (event) {
	case WIRE_ACCEPTED:
		on_accepted(g, value);
		break;
	case WIRE_NOT_ACCEPTED:
		close_port(g);
		break;
	case WIRE_SHAKEN:
		g->shaken++;
		break;
	case WIRE_KEY_REFUSED:
	case WIRE_CUT:
		g->refused = true;
		break;
	case WIRE_LOST:
		on_lost(g, value);
		break;
	default:
		break;
	}
}

static void open_port(struct guard *g)
{
	char *endpoint = NULL;

	if (!g->closed || !has_descriptors(2 * (rlim_t)GUARD_DESCRIPTORS))
		return;
	g->closed = wire_socket_bind(g->socket, g->endpoint, &endpoint) < 0;
	free(endpoint);
}

static char *say_strangers(struct guard *g, dag_instant now)
{
	char *text = base_format(
		"%llu connection%s to %s ended before saying who is there (other keys, no keys, or "
		"another program?)",
		(unsigned long long)g->total, g->total == 1 ? "" : "s", g->endpoint);

	for (size_t i = 0; i < g->stranger_count; i++) {
		char *more = base_format("%s; %llu from %s", text, (unsigned long long)g->strangers[i].count,
			g->strangers[i].address);

		free(text);
		text = more;
	}
	g->said = now;
	g->stranger_count = 0;
	g->total = 0;
	memset(g->strangers, 0, sizeof(g->strangers));
	return text;
}

char *guard_tick(struct guard *g, dag_instant now)
{
	bool was_closed = g->closed;

	open_port(g);
	if (was_closed && (!g->closed_said || now - g->closed_said > SAY_EVERY)) {
		g->closed_said = now;
		return base_format(
			"few file descriptors are left: %s takes no connections until some are free "
			"(ulimit -n)",
			g->endpoint);
	}
	if (!g->total || now - g->first < SAY_AFTER || (g->said && now - g->said < SAY_EVERY))
		return NULL;
	return say_strangers(g, now);
}

int guard_new(struct guard **ret_guard, struct wire_socket *socket)
{
	struct guard *g = base_alloc(sizeof(*g));
	int r = wire_socket_watch(socket, on_event, g);

	g->socket = socket;
	if (r < 0) {
		free(g);
		return r;
	}
	*ret_guard = g;
	return 0;
}

void guard_bound(struct guard *g, const char *endpoint)
{
	g->endpoint = base_strdup(endpoint);
}

void guard_destroy(struct guard **guard)
{
	struct guard *g = *guard;

	if (!g)
		return;
	wire_socket_unwatch(g->socket);
	free(g->connections);
	free(g->endpoint);
	free(g);
	*guard = NULL;
}
