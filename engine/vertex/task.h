/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_TASK_H
#define VERTEX_TASK_H
/* One attempt while it runs in a host: what `struct dag_vertex` is inside. */
#include "host.h"
#include "source.h"
#include "base/arena.h"
#include "channel/codec.h"

struct fifo_block {
	struct out_part *part;   /* that it is of */
	struct fifo_block *next; /* a spare one */
	uint64_t size;
	uint32_t refs; /* guarded by host.lock */
	uint32_t len, records;
	_Alignas(64) unsigned char data[];
};

/* A block that waits to be read. */
struct queued_block {
	const unsigned char *data;
	uint32_t len, records, kind;
	struct fifo_block *fifo;
	bool piped;   /* of a direct pipe */
	bool checked; /* by the daemon */
};

/* One end of a direct pipe: see struct host_pipe. */
struct pipe_end {
	struct host_pipe *shared;
	int bell;       /* of the other end; −1: not there yet */
	uint64_t count; /* blocks written, or taken */
	struct pipe_room {
		struct host_segment *segment; /* NULL: none yet */
		uint64_t offset, size;
	} rooms[HOST_PIPE_BLOCKS]; /* the writer's */
};

#define FIFO_WINDOW (4ull << 20) /* bytes that a reader may be behind: they stay in the caches */

enum channel_state { CHANNEL_NEW, CHANNEL_OPENING, CHANNEL_OPEN, CHANNEL_ENDED };

struct raw_reader {
	struct dag_vertex *v;
	uint32_t port, producer;
};

struct in_channel {
	_Atomic(enum channel_state) state; /* OPEN once all else that CHANNEL brings is set */
	enum host_channel_kind kind;
	const unsigned char *at, *end; /* of the current block: the fast path of every read */
	struct queued_block current;
	struct queued_block *queue; /* LIVE: first … count−1 are unread. Guarded by host.lock. */
	size_t queue_first, queue_count, queue_cap;
	uint64_t queued_bytes; /* fifo: its window */
	uint64_t dequeued;     /* LIVE: blocks that came by the daemon and were taken */
	struct pipe_end *pipe; /* or NULL. Guarded by host.lock. */
	struct index_view index;
	const struct index_part *part; /* SEALED */
	uint32_t next_block, prefetched;
	struct source *source; /* SOURCE, and LIVE ones that are raw */
	bool raw;
	struct raw_reader raw_reader;
	uint64_t file_size; /* SOURCE: as it was when the job started */
	int64_t file_mtime_ns;
	bool file_changed; /* as was seen when it was closed */
	int file_fd;       /* that came when it was asked for again; −1 */
	bool unended;      /* the record that was read last is a line without a line feed behind it */
	bool ended;        /* LIVE: END came. Guarded by host.lock. */
	bool check_end;
	struct channel_end expected;
	uint64_t records, bytes, number;
	uint64_t consumed;      /* LIVE: bytes; */
	uint64_t consumed_told; /* to the daemon, each `step` */
	uint64_t step;
	uint64_t bytes_shown; /* of `bytes`, in the status page */
	unsigned char *plain; /* of the current block, where that is packed */
	size_t plain_cap;
	struct hash_state *hash; /* of what nobody else checks */
	bool checked;            /* somebody else has checked it */
	int error;
	char *error_text;
	struct dag_vertex *fifo_producer; /* FIFO */
	uint32_t fifo_stream, fifo_part;
};

struct in_port {
	uint32_t producers, flags;
	struct graph_format format;
	struct in_channel *channels;
	uint32_t current, opened;
	uint32_t any; /* dag_read_any: the channel read last */
	bool closed;
};

struct out_part {
	unsigned char *at, *end; /* room in the current block; NULL: none begun */
	unsigned char *base;     /* the block's header, in the segment or in `own` */
	unsigned char *own;      /* where a large block is written before it goes to the segment's file */
	uint64_t own_size;
	struct host_segment *segment;
	uint64_t offset;                        /* of the block's header in the segment */
	struct fifo_block *fifo;                /* the current block */
	struct fifo_block *spares, *last_spare; /* that were read, the oldest first. Guarded by host.lock. */
	uint32_t fifo_blocks;                   /* in all */
	struct pipe_end *pipe;                  /* or NULL. Set under host.lock. */
	bool piped;                             /* blocks lie in it, from the current one on */
	uint32_t block_records;
	uint32_t next_size;
	uint64_t seq;
	uint64_t records, bytes;
	uint64_t written, limit;     /* LIVE: bytes flushed and allowed. limit is guarded by host.lock. */
	bool closed;                 /* its readers have gone. Guarded by host.lock. */
	struct in_channel **readers; /* FIFO: that read this part; set before any thread runs */
	size_t reader_count, reader_cap;
	struct hash_state *hash;
	struct block_ref *blocks;
	size_t block_count, block_cap;
};

struct out_stream {
	const struct graph_stream *spec;
	uint32_t block_size;
	uint32_t next_part; /* round-robin */
	uint32_t parts_closed;
	struct out_part *parts;
	struct codec *codec; /* NULL: none */
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
/* Asks for those of first … end−1 that were not opened yet, in as few messages as can be. */
void reader_open_range(struct dag_vertex *v, uint32_t port, uint32_t first, uint32_t end);

/* blocks.c */
/* Until the daemon has said what the channel is; 0 or its error. */
int reader_wait_open(struct dag_vertex *v, uint32_t port, uint32_t producer, struct in_channel *ch);
/* The channel's next block becomes the current one. 1, 0 at the checked end, or an error. */
int reader_next_block(struct dag_vertex *v, uint32_t port, uint32_t producer, struct in_channel *ch);
/* The current block was read. */
void reader_release(struct dag_vertex *v, uint32_t port, uint32_t producer, struct in_channel *ch);
/* Reads ahead from the disk the first blocks of the producers that come next. */
void reader_prefetch(struct dag_vertex *v, struct in_port *p);
/* Removes the fifo blocks that one consumer will never read; the caller holds host.lock. */
void reader_drop_queue(struct in_channel *ch);
void reader_show_progress(struct dag_vertex *v, struct in_channel *ch);
/* The bytes of a raw channel's blocks, for its source; ctx: struct raw_reader. */
ssize_t reader_fill(void *ctx, void *buf, size_t n);

/* files.c */
/* A split of an input file, and the descriptor that came with it. */
struct source *files_source(
	struct in_channel *ch, struct graph_format format, int fd, uint64_t offset, uint64_t length);
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
/* Hands a live channel its next block; the caller holds host.lock. */
void reader_push_block(struct in_channel *ch, struct queued_block block);

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
/* Nobody reads the part any more; the caller holds host.lock. */
void writer_close_part(struct dag_vertex *v, uint32_t stream, uint32_t part);
/* Room for a block, aligned, and not zeroed: that is as much work as writing it. */
void *writer_block_room(uint64_t size);

/* put.c */
/* As dag_write, of a line that had no line feed behind it, the last of all. */
int writer_put_unended(struct dag_vertex *v, uint32_t port, const void *data, size_t len);
/* True where what is written to the port is stored once, as it comes. */
bool writer_is_plain(struct dag_vertex *v, uint32_t port);
/* Room in the current block of such a port of bytes, until the next flush; dag_commit says how much was used.
 */
int writer_bytes_room(struct dag_vertex *v, uint32_t port, size_t least, void **ret_data, size_t *ret_len);

/* fifo.c: from one thread of this host to others, without a copy */
/* The part's current block. */
void fifo_begin(struct dag_vertex *v, const struct out_stream *s, struct out_part *p, uint64_t size);
/* It is complete: its readers get it, when their queues have room. */
void fifo_put(struct dag_vertex *v, struct out_part *p, uint32_t len);
/* A reader has done with it; the caller holds host.lock. */
void fifo_release(struct fifo_block *block);
/* Nothing more comes. */
void fifo_end(struct dag_vertex *v);
/* One reader of the part is done with it; the part is closed when all are. The caller holds host.lock. */
void fifo_leave(struct dag_vertex *v, uint32_t stream, uint32_t part);
void fifo_fini(struct out_part *p);

/* pipe.c: pipes between two hosts of a node, without the daemon */
/* Dispatch of PIPE; the caller holds host.lock. */
void pipe_on_message(struct dag_vertex *v, const struct host_msg *msg, int fd);
/* The next block of the part lies in its direct pipe from now on; false where it has none. */
bool pipe_takes(struct dag_vertex *v, struct out_part *p);
/* Room for a block, when the reader has left some. DAG_ENOSPC. */
int pipe_room(struct dag_vertex *v, struct out_part *p, uint64_t size);
/* The block is complete. */
void pipe_put(struct out_part *p, const struct block_ref *ref);
/* The reader's next block, which may be taken; false where there is none now, and its bell will be rung. The
 * caller holds host.lock. */
bool pipe_look(struct dag_vertex *v, struct in_channel *ch, struct queued_block *ret);
void pipe_take(struct in_channel *ch);
/* The reader has done with its block. */
void pipe_done(struct in_channel *ch);
void pipe_fini(struct pipe_end *end);

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
