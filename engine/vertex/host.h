/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_HOST_H
#define VERTEX_HOST_H
/*
 * Inside of a vertex host: the process that runs vertices, one after the other, or those of a fifo group in
 * threads beside each other.
 *
 * Threads that wait for something from the daemon or from each other call host_wait: one of them, the leader,
 * reads the socket; the others sleep on a condition. With one thread there is no switch between threads at
 * all. host.lock guards everything that dispatch touches: channels' queues, credit, segments.
 */
#include "errors.h"
#include "files.h"
#include "host_proto.h"
#include "run.h"
#include "segments.h"
#include "stages.h"

#include <pthread.h>

/* Where messages go. The caller holds host.lock; the descriptor, or −1, is passed on. */
typedef void host_dispatch_fn(
	struct host *host, const struct host_msg *msg, const void *tail, size_t tail_len, int fd);

/* Children of this host; program.c. */
struct programs {
	pid_t pids[HOST_TASKS_MAX]; /* that run now */
	size_t count;
};

/* Each group of its fields is written by one file alone. */
struct host {
	/* host.c */
	int sock;
	host_dispatch_fn *dispatch;
	pid_t guard;
	struct host_status *status;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int threads; /* that may be in host_wait */
	bool leader; /* one of them is reading the socket */
	int bell;    /* makes the leader look up */
	bool piped;  /* other hosts may ring it */
	struct host_packet inbox;
	_Atomic uint64_t sent; /* messages */
	uint32_t untold;       /* ends in the ring that the daemon was not nudged for */
	dag_instant nudged;

	struct segments segments;
	struct stages stages;
	struct errors errors;
	struct files files;
	struct run run;
	struct programs programs;

	/* scratch.c */
	char *kept_scratch; /* an empty folder that the next one to want it gets; or NULL */

	/* main.c */
	bool exiting;
};

/* Takes what the daemon started this process with. False where that is not there. */
bool host_init(struct host *host, host_dispatch_fn *dispatch);
/* So many more threads may wait, or fewer; the caller holds host.lock, or is the only one. */
void host_add_threads(struct host *host, int more);
/* Other hosts may ring the bell from now on; the caller holds host.lock. */
void host_expect_bell(struct host *host);
/*
 * Waits until something may have changed; the caller holds host.lock and looks at its own condition in a
 * loop. Ends the process where the daemon is gone.
 */
void host_wait(struct host *host);
/* Takes what has come, without waiting; the caller holds host.lock. */
void host_look(struct host *host);
/* Tells other threads of this host that something changed; the caller holds host.lock. */
void host_changed(struct host *host);
void host_send(struct host *host, const struct host_msg *msg, const void *tail, size_t tail_len);
/* An end that was good goes into the ring; true where it did. */
bool host_put_end(struct host *host, uint32_t task, const struct host_done *done);
/* As host_wait, of a host that has nothing to do: the daemon is to know of all ends. */
void host_rest(struct host *host);

#endif
