/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_TASK_H
#define VERTEX_TASK_H
/* One attempt while it runs in a host: what `struct dag_vertex` is inside. */
#include "channel.h"
#include "fifo.h"
#include "host.h"
#include "part.h"
#include "pipe.h"
#include "base/arena.h"

struct in_port {
	uint32_t producers, flags;
	struct graph_format format;
	struct in_channel *channels;
	uint32_t current, opened;
	uint32_t any; /* dag_read_any: the channel read last */
	bool closed;
};

/* Each group of its fields is written by one file alone. */
struct dag_vertex {
	/* task.c */
	struct host *host;
	struct arena arena; /* its ports, streams and parts; used again by the next vertex of the host */
	const struct host_stage *stage;
	const char *stage_name;
	uint32_t stage_number; /* among those of the host */
	uint32_t task, vertex, index, width, attempt, epoch;
	struct host_skip skips[HOST_SKIPS_MAX]; /* records that it does not get to see */
	uint32_t skip_count;
	char *argument;
	uint32_t argument_len;
	bool passes_bytes; /* the entry writes what it read as it is */
	int error;         /* the first that was met, for DONE */
	char *error_text;
	bool blamed;
	uint32_t blamed_port, blamed_producer;
	pthread_mutex_t lock; /* the error, against the pumps of a program */

	/* reader.c */
	struct in_port in[GRAPH_PORTS_MAX];
	uint64_t records_in, bytes_in; /* summed over the channels when they are closed */
	bool read_unended;             /* the record that it read last had no line feed */

	/* writer.c */
	struct out_stream *streams;
	uint32_t stream_count;
	/* The streams of each port: indices into `streams`. */
	uint32_t *port_streams[GRAPH_PORTS_MAX];
	uint32_t port_stream_count[GRAPH_PORTS_MAX];

	/* put.c */
	struct buffer reserved[GRAPH_PORTS_MAX];
	bool reserved_in_place[GRAPH_PORTS_MAX];
	size_t reserved_len[GRAPH_PORTS_MAX];                                /* bytes that may be committed */
	uint64_t port_records[GRAPH_PORTS_MAX], port_bytes[GRAPH_PORTS_MAX]; /* written; one thread a port */

	/* program.c */
	int exit_code, signal;

	/* scratch.c */
	char *scratch;

	/* api.c */
	struct host_counter counters[HOST_COUNTERS_MAX];
	uint32_t counter_count;
};

/* One that has nothing but a stage, in the memory of one that ended, if there is one: so that one of a
 * microsecond does not go to the allocator for it. */
struct dag_vertex *task_new(
	struct dag_vertex *spare, struct host *host, const struct host_stage *stage, const char *stage_name);
/* What START says of it; skips and argument are copied. */
void task_on_start(struct dag_vertex *v, const struct host_msg *start, const struct host_skip *skips,
	const char *argument);
/* All of it but its memory. */
void task_fini(struct dag_vertex *v);
void task_destroy(struct dag_vertex **v);

/* The first error of the vertex stays; the text is taken over. */
int task_fail(struct dag_vertex *v, int error, char *text);
/* A record is beyond RECORD_LEN_MAX; what: "input" or "output". */
int task_fail_long(struct dag_vertex *v, const char *what, uint32_t port, uint64_t number);
/* Fails, and says by which input. Returns the error. */
int task_blame(struct dag_vertex *v, uint32_t port, uint32_t producer, int error, char *text);

#endif
