/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_PUMP_H
#define VERTEX_PUMP_H
/* Carries records between one port of a program vertex and one descriptor of its program. */
#include "task.h"

#define ALL_PRODUCERS UINT32_MAX

struct pump {
	struct dag_vertex *v;
	const int *pidfd; /* of the program, once it runs */
	bool out;
	uint32_t port, producer; /* producer: ALL_PRODUCERS, or the one that {in.N.*} named */
	int fd;                  /* −1: opened by the thread from `path` */
	char *path;
	pthread_t thread;
};

/* A thread's: carries until the end, and ends the program where it failed the vertex. Closes the descriptor.
 */
void *pump_run(void *pump);
/* All that an input port has still to bring goes to the descriptor. */
void pump_in(struct pump *p);

#endif
