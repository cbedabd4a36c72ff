/* SPDX-License-Identifier: Apache-2.0 */
/* Vertices that test_host.c has run in a host. */
#include <dagrun/vertex.h>

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define DAEMON_SOCKET 3 /* of every host */

/* Copies its input. At the record "wait" it goes on when the daemon has said something that nobody has looked
 * at yet. */
static int relay(struct dag_vertex *v)
{
	struct dag_record r;
	int n;

	while ((n = dag_read_any(v, 0, &r)) > 0) {
		struct pollfd said = {DAEMON_SOCKET, POLLIN, 0};

		n = dag_write(v, 0, r.data, r.len);
		if (n < 0)
			return n;
		if (r.len == 4 && !memcmp(r.data, "wait", 4))
			poll(&said, 1, -1);
	}
	return n;
}

/* Commits more than it reserved: beside the block, since records of a fixed size are written when they are
 * whole; */
static int overreach(struct dag_vertex *v)
{
	void *room;
	int r = dag_reserve(v, 0, 8, &room);

	if (r < 0)
		return r;
	memset(room, 0, 8);
	dag_commit(v, 0, 16);
	return 0;
}

/* and in the block. */
static int overreach_in_place(struct dag_vertex *v)
{
	return overreach(v);
}

/* Says something on stderr, or nothing at its second run. */
static int say(struct dag_vertex *v)
{
	static int runs;

	(void)v;
	if (runs++ != 1)
		fprintf(stderr, "a word");
	return 0;
}

DAG_PLUGIN(unit_vertices, DAG_ENTRY(say, DAG_OUT(LINES), "writes to stderr"),
	DAG_ENTRY_FLAGS(relay, DAG_ORDER_BLIND, DAG_IN(LINES), DAG_OUT(LINES), "copies what comes first"),
	DAG_ENTRY(overreach, DAG_OUT_FIXED(8), "commits what it did not reserve"),
	DAG_ENTRY(overreach_in_place, DAG_OUT(LINES), "the same, of lines"));
