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

struct dag_vertex {
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
	struct in_port in[GRAPH_PORTS_MAX];
	struct out_stream *streams;
	uint32_t stream_count;
	/* The streams of each port: indices into `streams`. */
	uint32_t *port_streams[GRAPH_PORTS_MAX];
	uint32_t port_stream_count[GRAPH_PORTS_MAX];
	struct buffer reserved[GRAPH_PORTS_MAX];
	bool reserved_in_place[GRAPH_PORTS_MAX];
	size_t reserved_len[GRAPH_PORTS_MAX]; /* bytes that may be committed */
	bool passes_bytes;                    /* the entry writes what it read as it is: */
	bool read_unended;                    /* the record that it read last had no line feed */

	int error; /* the first that was met, for DONE */
	char *error_text;
	bool blamed;
	uint32_t blamed_port, blamed_producer;
	int exit_code, signal;
	char *scratch;
	struct host_counter counters[HOST_COUNTERS_MAX];
	uint32_t counter_count;
	uint64_t records_in, bytes_in; /* summed over the channels when they are closed */
	uint64_t port_records[GRAPH_PORTS_MAX], port_bytes[GRAPH_PORTS_MAX]; /* written; one thread a port */
	pthread_mutex_t lock; /* the error, against the pumps of a program */
};

/* reader.c */
/* As dag_read_from, with the reason kept in the vertex; 1, 0 or an error. */
int reader_next(struct dag_vertex *v, uint32_t port, uint32_t producer, struct dag_record *r);
/* To the daemon, as the one that the vertex is at. */
void reader_show_record(struct dag_vertex *v, const struct dag_record *r);
/* Asks the daemon for live inputs, so that credit flows from the start. */
void reader_open_live(struct dag_vertex *v);
/* Closes what was not read to its end; the producers are told, unless the vertex failed. */
void reader_close_all(struct dag_vertex *v, bool failed);
/* Frees, once no other task of the group can look at these channels. */
void reader_fini(struct dag_vertex *v);

/* files.c */
/* A split of an input file, as CHANNEL tells of it, and the descriptor that came with it. */
struct source *files_source(
	struct in_channel *ch, struct graph_format format, const struct host_msg *msg, int fd);
/* It was asked for again, and this came. */
void files_opened(struct in_channel *ch, const struct host_msg *msg, int fd);
/* True where a file is not any more what it was when the job started. */
bool files_changed(const struct in_channel *ch);
/* How many producers of a port are asked for before they are read. */
uint32_t files_ahead(const struct dag_vertex *v, uint32_t port);

/* arrive.c */
/* A channel that came with the start of its vertex. */
void reader_open_given(struct dag_vertex *v, uint32_t port, uint32_t producer, const struct host_port *from,
	const struct block_ref *index);
/* Dispatch of CHANNEL, BLOCKS, END; the caller holds host.lock. */
void reader_on_channel(
	struct dag_vertex *v, const struct host_msg *msg, const void *tail, size_t tail_len, int fd);
void reader_on_blocks(
	struct dag_vertex *v, const struct host_msg *msg, const struct block_ref *refs, size_t n);
void reader_on_end(struct dag_vertex *v, const struct host_msg *msg);
/* writer.c */
void writer_init(struct dag_vertex *v);
/* A block of the part that has room for `need` bytes; none is begun. */
int writer_begin_block(struct dag_vertex *v, struct out_stream *s, struct out_part *p, size_t need);
/* Ends the current block of a part, if there is one, and hands it on if anything lies in it. */
int writer_flush_part(struct dag_vertex *v, uint32_t stream, uint32_t part);
/* Makes what was written to live channels readable, before this thread waits or ends: it must be the only
 * one that writes. */
int writer_flush_live(struct dag_vertex *v);
/* Of one port alone: the other ports of a program are written by other threads. */
int writer_flush_port(struct dag_vertex *v, uint32_t port);
/* Flushes everything and writes the index; *ret_index says where it lies. */
int writer_seal(struct dag_vertex *v, struct block_ref *ret_index);
/* True where the vertex has outputs that anybody reads, and all those readers have gone. */
bool writer_all_closed(struct dag_vertex *v);
void writer_fini(struct dag_vertex *v);
void writer_on_credit(struct dag_vertex *v, const struct host_msg *msg);
void writer_on_closed(struct dag_vertex *v, const struct host_msg *msg);

/* put.c */
/* As dag_write, of a line that had no line feed behind it, the last of all. */
int writer_put_unended(struct dag_vertex *v, uint32_t port, const void *data, size_t len);
/* True where what is written to the port is stored once, as it comes. */
bool writer_is_plain(struct dag_vertex *v, uint32_t port);
/* Room in the current block of such a port of bytes, until the next flush; dag_commit says how much was used.
 */
int writer_bytes_room(struct dag_vertex *v, uint32_t port, size_t least, void **ret_data, size_t *ret_len);

/* task.c */
/* The first error of the vertex stays; the text is taken over. */
int task_fail(struct dag_vertex *v, int error, char *text);
/* A record is beyond RECORD_LEN_MAX; what: "input" or "output". */
int task_fail_long(struct dag_vertex *v, const char *what, uint32_t port, uint64_t number);
/* Fails, and says by which input. Returns the error. */
int task_blame(struct dag_vertex *v, uint32_t port, uint32_t producer, int error, char *text);

/* stages.c */
/* A line for people, of which one a stage is enough. */
void stages_note(struct dag_vertex *v, enum host_note kind, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* scratch.c */
/* Its path; NULL where it cannot be made, which has failed the vertex then. */
const char *task_scratch(struct dag_vertex *v);
/* True where it was left as it was made, and another attempt will get it: it must not be removed. */
bool task_keep_scratch(struct dag_vertex *v);
void host_drop_scratch(struct host *host);

/* partition.c */
uint32_t partition_pick(struct out_stream *stream, enum dag_format_kind format, const void *key,
	size_t key_len, const void *data, size_t len);

#endif
