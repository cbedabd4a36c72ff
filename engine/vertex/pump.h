/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_PUMP_H
#define VERTEX_PUMP_H
/* Carries records between one port of a program vertex and one descriptor of its program. */
#include "task.h"

#define ALL_PRODUCERS UINT32_MAX

struct pump {
	struct dag_vertex *v;
	const int *pidfd;         /* of the program, once it runs */
	const atomic_bool *ended; /* nothing of it runs any more */
	atomic_bool *claim;       /* in: set by the first of those that have these bytes; or NULL */
	bool out;
	uint32_t port, producer; /* producer: ALL_PRODUCERS, or the one that {in.N.*} named */
	int fd;                  /* −1: opened by the thread from `path` */
	char *path;
	atomic_bool opening; /* the thread waits for the other end */
	pthread_t thread;
};

/* Wakes a pump whose program has ended, and that may still wait for it to open a named pipe. */
void pump_release(struct pump *p);

/* A thread's: carries until the end, and ends the program where it failed the vertex. Closes the descriptor.
 */
void *pump_run(void *pump);
/* All that an input port has still to bring goes to the descriptor. */
void pump_in(struct pump *p);
/* What is wrong where the program opens an input's pipe again; allocated. */
char *pump_read_twice(const struct pump *p);
/* Writes all of it. DAG_ECLOSED with errno. */
int pump_write(int fd, const char *data, size_t len);

#endif
