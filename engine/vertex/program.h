/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_PROGRAM_H
#define VERTEX_PROGRAM_H
/* A program vertex while it runs: program.c, ports.c, stuck.c. */
#include "pump.h"
#include "graph/words.h"

struct program {
	struct dag_vertex *v;
	struct pump *pumps;
	size_t pump_count, pump_cap;
	size_t threads; /* that carry them */
	struct words_uses uses;
	uint32_t turns[GRAPH_PORTS_MAX]; /* pipes, or lists of them, that the port was named by */
	bool in_named[GRAPH_PORTS_MAX], out_named[GRAPH_PORTS_MAX], filed[GRAPH_PORTS_MAX];
	atomic_bool *claims[GRAPH_PORTS_MAX]; /* of each producer, and behind them of all: it is carried */
	char **argv;
	size_t argc, argv_cap;
	char **env;
	size_t env_count, env_cap;
	int child_fds[3];
	pid_t pid;
	int pidfd;
	atomic_bool ended; /* nothing of it runs any more */
	/* stuck.c: who was seen waiting when one looked last, and for which pump. */
	pid_t seen;
	const struct pump *seen_at;
};

/* Runs a program vertex; the code for DONE. */
int program_run(struct dag_vertex *v);

/* ---- ports.c ---- */

/* How all texts together name the ports. DAG_EINVAL. */
int ports_survey(struct program *prog);
/* The text with what its words stand for is added to b; what they name is there then. */
int ports_expand(struct program *prog, const char *text, struct buffer *b);
/* One argument, or where it is {in.N.*} one for each producer: add is called for each. */
int ports_expand_arg(struct program *prog, const char *arg,
	void (*add)(struct program *prog, const char *data, size_t len));
void ports_add_pump(
	struct program *prog, bool out, uint32_t port, uint32_t producer, int fd, const char *name);
void ports_fini(struct program *prog);

/* ---- stuck.c ---- */

/* Looks whether the program waits for something at a named pipe that will never come; fails the vertex where
 * it did so the last time, too. */
void stuck_look(struct program *prog);

#endif
