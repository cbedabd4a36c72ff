/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_HOST_PROTO_H
#define VERTEX_HOST_PROTO_H
/*
 * What a daemon and its vertex hosts say to each other, over one SOCK_SEQPACKET pair: packets of messages,
 * each a struct host_msg and a tail of bytes; the last of a packet may have a descriptor beside it
 * (SCM_RIGHTS). Both ends are of one build, which READY proves.
 *
 * A vertex of a microsecond must not cost a system call to report: that it ended well, the host writes into a
 * ring in shared memory. Each entry says how many messages were sent before it, so that the daemon sees all
 * in their order; NUDGE says that there is something in the ring where the daemon may be asleep.
 *
 * The daemon trusts nothing that a host says, since a host runs users' code: every number is checked before
 * use.
 */
#include "channel/block.h"
#include "graph/graph.h"

#include <stdatomic.h>

#define HOST_PROTO_VERSION 14
#define HOST_SOCKET_FD 3 /* in a host, from its start */
#define HOST_STATUS_FD 4 /* in a host: shared memory, struct host_status */
#define HOST_BELL_FD 5   /* in a host: an eventfd that others ring to wake it; the daemon, once, to begin */
#define HOST_SPOOL_FD 6  /* the lock of the daemon's spool, which outlives it until its hosts are gone */
#define HOST_PACKET_MAX 32768u
#define HOST_TAIL_MAX 16384u
#define HOST_BLOCKS_MAX (HOST_TAIL_MAX / sizeof(struct block_ref))
#define HOST_OPEN_AHEAD 256u /* producers of a port that are asked for before they are read */
#define HOST_GIVEN_MAX 16u   /* producers of a vertex */
#define HOST_TASKS_MAX GRAPH_FIFO_GROUP_MAX
#define HOST_RING_SIZE 256u
#define HOST_WINDOW_MIN (4ull << 20)
#define HOST_PIPE_BLOCKS 16u /* that a direct pipe has */
/* So long host and daemon look for each other's next word before they sleep. */
#define HOST_LINGER (DAG_MS / 16)

enum host_msg_kind {
	/* daemon to host */
	HOST_STAGE = 1, /* tail: its name, and an encoded struct stage_spec; a long one is in a memfd, the
			   descriptor; none where it is like another */
	HOST_START, /* tail: host_port × in ports, host_skip × skip_count, the argument, padded, then either
		       u32 producer vertices of fifo ports or block_ref × producers of GIVEN and CHAINED ports
		     */
	HOST_SEGMENT, /* descriptor: a segment to read from */
	HOST_GRANT,   /* descriptor: a segment to write to, wholly this host's until RETIRE */
	HOST_DROP,    /* forget a segment */
	HOST_CHANNEL, /* answer to OPEN; descriptor for SOURCE; tail: text for ERROR */
	HOST_BLOCKS,  /* tail: block_refs, next in a LIVE channel */
	HOST_END,     /* of a LIVE channel */
	HOST_CREDIT,  /* a live part may be written up to `limit` bytes */
	HOST_CLOSED,  /* all readers of a part have gone */
	HOST_PIPE,    /* descriptor: a live channel goes on without the daemon, by this */
	HOST_HEARD,   /* what was written to stderr before the end that said so was read */
	HOST_EXIT,
	/* host to daemon */
	HOST_READY = 100,
	HOST_OPEN,     /* read so many producers of a port, from this one on, from their starts */
	HOST_CONSUMED, /* bytes of a LIVE channel, all in all */
	HOST_CLOSE,    /* (port, producer) is not read any more */
	HOST_SPACE,    /* a segment of at least `bytes` is wanted */
	HOST_RETIRE,   /* nothing more is written to a segment */
	HOST_LIVE,     /* tail: block_refs, appended to a part of a live stream */
	HOST_DONE,     /* the attempt ended; tail: host_counter × counter_count, text */
	HOST_NUDGE,    /* there are ends in the ring */
	HOST_LOG,      /* tail: a line for people */
	HOST_SKIPPED   /* data: port, producer, bytes (its number); tail: the record's first bytes */
};

enum host_channel_kind { HOST_CHANNEL_SEALED, HOST_CHANNEL_LIVE, HOST_CHANNEL_SOURCE, HOST_CHANNEL_ERROR };
/*
 * GIVEN: what the producers sealed comes with the start, so that nobody need ask. CHAINED: the one producer
 * is the task that this host runs just before; instead of a segment its number is named. FILES: splits of
 * input files, each of which takes a descriptor while it is open.
 */
enum host_port_flags {
	HOST_PORT_LIVE = 1,
	HOST_PORT_FIFO = 2,
	HOST_PORT_GIVEN = 4,
	HOST_PORT_CHAINED = 8,
	HOST_PORT_FILES = 16
};

/* What a host says of a vertex, once a stage. */
enum host_note { HOST_NOTE_NONE, HOST_NOTE_NO_TEXT };

struct host_port {
	uint32_t producers;
	uint32_t flags;        /* enum host_port_flags */
	uint32_t stream, part; /* of the producers: FIFO, GIVEN */
};

struct host_counter {
	char name[32];
	int64_t value;
};

#define HOST_COUNTERS_MAX 16
#define HOST_SKIPS_MAX 32u /* bad records of one vertex */

struct host_skip {
	uint32_t port, producer;
	uint64_t number;
};

/*
 * Bytes that each part of a live stream may be ahead of its readers. Between nodes a block passes seven
 * threads, which all need one to work on; many parts need less each.
 */
static inline uint64_t host_pipe_window(uint32_t parts)
{
	return DAG_MIN(DAG_MAX((64ull << 20) / DAG_MAX(parts, 1u), HOST_WINDOW_MIN), 16ull << 20);
}

/* Bytes that are consumed between two words of it: to say it of each block would wake a daemon for each. */
static inline uint64_t host_consumed_step(uint64_t window)
{
	return window / 8;
}

/* Bytes behind an argument, so that what follows is aligned. */
static inline uint32_t host_padding(uint32_t len)
{
	return -len % 8;
}

/* How an attempt ended. */
struct host_done {
	int32_t error; /* 0 or a DAG_E… */
	int32_t signal, exit_code;
	uint32_t blamed; /* the error came from reading this input: */
	uint32_t port, producer;
	uint32_t closed_early; /* all its outputs were closed by their readers */
	uint32_t scratch_used;
	uint32_t errors; /* something was written to stderr; where it ran alone, the host waits for HEARD */
	struct block_ref index;
	uint64_t records_in, bytes_in, records_out, bytes_out;
	dag_instant run_ns;
	uint32_t counter_count; /* at most HOST_COUNTERS_MAX */
};

struct host_msg {
	uint32_t kind; /* enum host_msg_kind */
	uint32_t task; /* chosen by the daemon at START; never used again within a host */
	union {
		struct {
			uint32_t stage;
			uint32_t like; /* itself, or another that the host knows */
			uint32_t name_len;
			uint64_t size; /* of the spec */
		} stage;
		struct {
			uint32_t stage, index, width, attempt, epoch, vertex;
			uint32_t group_size; /* tasks that must run together: START of all of them comes in a
						row */
			uint32_t in_ports;
			uint32_t skip_count; /* at most HOST_SKIPS_MAX */
			uint32_t argument_len;
		} start;
		struct {
			uint32_t id;
			uint64_t size; /* GRANT, SEGMENT: of the file; SPACE: wanted */
			int32_t error; /* GRANT: 0 or DAG_ENOSPC */
		} segment;
		struct {
			uint32_t port, producer;
			uint32_t kind; /* enum host_channel_kind */
			int32_t error;
			struct block_ref index;  /* SEALED */
			uint32_t stream, part;   /* SEALED */
			uint64_t offset, length; /* SOURCE */
			uint64_t size;           /* SOURCE: of the file */
			int64_t mtime_ns;        /* SOURCE */
			uint32_t raw;            /* LIVE: the blocks are BLOCK_RAW */
			uint64_t step;           /* LIVE: bytes, after which CONSUMED is said */
		} channel;
		struct {
			uint32_t port, producer;
			uint32_t count; /* BLOCKS: in the tail; OPEN: producers */
			uint64_t bytes; /* CONSUMED */
			struct channel_end end;
			uint32_t checked; /* END: the counts and hash mean something */
		} data;
		struct {
			uint32_t stream, part, blocks;
			uint64_t limit;
		} live;
		struct {
			uint32_t writes;       /* else it reads */
			uint32_t port, number; /* stream and part, or port and producer */
			uint32_t is_bell; /* the descriptor: of the other host; else of a struct host_pipe */
		} pipe;
		struct host_done done;
		struct {
			uint32_t note; /* enum host_note; 0: what the vertex itself says */
		} log;
		struct {
			uint32_t version;
		} ready;
	} u;
};

struct host_ended {
	uint64_t sent; /* messages that the host had sent before */
	uint32_t task;
	struct host_done done; /* without error and counters */
};

/* In memory that host and daemon share, so that a crash still tells how far the vertex was. */
struct host_status {
	_Atomic uint32_t vertex;
	_Atomic uint32_t port, producer;
	_Atomic uint64_t record;  /* that was read last, counted from 0 within its channel */
	_Atomic uint32_t reading; /* a record was read at all */
	_Atomic uint64_t bytes_read, bytes_written;
	/* Said by the daemon: what waits for an end here could begin elsewhere; nobody else needs the core,
	 * so that the host may look for what comes next instead of sleeping. */
	_Atomic uint32_t slot_free, core_free;
	/* Its guard has ended all that the host had left. */
	_Atomic uint32_t left_nothing;
	/* The daemon's, before each of which it took something from the host's stderr. */
	_Atomic uint32_t errors_looks;
	/* That the daemon ran on when it looked into the ring last; −1 where the host is bound to its own. */
	_Atomic int32_t daemon_core;
	/* Low half: the task that the host began last; high half: the last one that the daemon took back. */
	_Atomic uint64_t claim;
	/* Of all that was ever written to the ring, and taken from it: the entry i lies at i %
	 * HOST_RING_SIZE. */
	_Atomic uint32_t ring_written, ring_taken;
	struct host_ended ring[HOST_RING_SIZE];
};

/* False where the ring is full. By one thread at a time. */
bool host_ring_put(struct host_status *status, const struct host_ended *ended);
/* Those that the daemon has not taken. */
uint32_t host_ring_waiting(const struct host_status *status);
/*
 * Takes the next one that was written when no more than `received` messages had been sent; `taken` is the
 * daemon's own count of what it took, since the shared one can be damaged. False where there is none.
 */
bool host_ring_take(struct host_status *status, uint32_t *taken, uint64_t received, struct host_ended *ret);
/* The one that lies at `taken`, without taking it: false where it waits for messages. */
bool host_ring_look(
	const struct host_status *status, uint32_t taken, uint64_t received, struct host_ended *ret);
/* All that were ever written, as the host says: no more than HOST_RING_SIZE beyond those taken, if it is
 * right. */
static inline uint32_t host_ring_written(const struct host_status *status)
{
	return atomic_load_explicit(&status->ring_written, memory_order_acquire);
}

/* The host is about to begin a task: false where it was taken back. */
bool host_status_claim(struct host_status *status, uint32_t task);
/*
 * The daemon takes back all tasks up to `last` that were not begun. Returns the one that was begun last,
 * above which they are taken back; `last`, and nothing is, where the host has not begun `first` yet, which it
 * shall run.
 */
uint32_t host_status_revoke(struct host_status *status, uint32_t first, uint32_t last);

/*
 * In memory that two hosts share: a pipe of one writer and one reader on one node, whose blocks they hand to
 * each other without a message. The blocks lie in segments of the writer's, which it fills again and again.
 * A side that finds nothing to do sets its flag, looks once more, and sleeps until its bell is rung.
 */
struct host_pipe {
	_Atomic uint64_t
		first; /* the blocks before it come by the daemon; UINT64_MAX: all that have come yet */
	_Alignas(64) _Atomic uint64_t written; /* blocks in all, from that one on */
	_Atomic uint32_t reader_sleeps;
	_Alignas(64) _Atomic uint64_t read; /* blocks that the reader has done with */
	_Atomic uint32_t writer_sleeps;
	_Alignas(64) struct block_ref refs[HOST_PIPE_BLOCKS]; /* of the block i at i % HOST_PIPE_BLOCKS */
};

/* Messages on their way, packed one after the other. */
struct host_packet {
	_Alignas(16) unsigned char bytes[HOST_PACKET_MAX];
	size_t len, at; /* at: of the next one to be taken */
	int fd;         /* −1: none, or of the last message, and the packet's own */
};

/* False where the packet has no room for it, which an empty one always has. */
bool host_packet_add(struct host_packet *p, const struct host_msg *msg, const void *tail, size_t tail_len);
/* Sends all of it; fd −1 for none. DAG_ELOST where the other side is gone, DAG_EBUSY where it would block. */
int host_packet_send(int sock, const void *bytes, size_t len, int fd);
/*
 * Takes the next message, from the socket where the packet is used up; its tail stays where it is until the
 * call after, and *ret_fd is −1 or the caller's. 1: a message; 0: none now (non-blocking sockets); DAG_ELOST:
 * the other side is gone; DAG_EPROTO: nonsense.
 */
int host_msg_recv(int sock, struct host_packet *p, struct host_msg *ret_msg, const void **ret_tail,
	size_t *ret_tail_len, int *ret_fd);
static inline bool host_packet_has_more(const struct host_packet *p)
{
	return p->at < p->len;
}

#endif
