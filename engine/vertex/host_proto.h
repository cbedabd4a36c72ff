/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_HOST_PROTO_H
#define VERTEX_HOST_PROTO_H
/*
 * What a daemon and its vertex hosts say to each other, over one SOCK_SEQPACKET pair: a struct host_msg, a
 * tail of bytes, and sometimes one descriptor (SCM_RIGHTS). Both ends are of one build, which READY proves.
 *
 * The daemon trusts nothing that a host says, since a host runs users' code: every number is checked before
 * use.
 */
#include "channel/block.h"

#include <stdatomic.h>

#define HOST_PROTO_VERSION 1
#define HOST_SOCKET_FD 3 /* in a host, from its start */
#define HOST_STATUS_FD 4 /* in a host: shared memory, struct host_status */
#define HOST_TAIL_MAX 16384u
#define HOST_BLOCKS_MAX (HOST_TAIL_MAX / sizeof(struct block_ref))
#define HOST_TASKS_MAX 64u /* vertices of one fifo group */

enum host_msg_kind {
	/* daemon to host */
	HOST_STAGE = 1, /* descriptor: a memfd with an encoded struct stage_spec */
	HOST_START,     /* tail: struct host_port × in ports, then u32 producer vertices of fifo ports */
	HOST_SEGMENT,   /* descriptor: a segment to read from */
	HOST_GRANT,     /* descriptor: a segment to write to, wholly this host's until RETIRE */
	HOST_DROP,      /* forget a segment */
	HOST_CHANNEL,   /* answer to OPEN; descriptor for SOURCE; tail: text for ERROR */
	HOST_BLOCKS,    /* tail: block_refs, next in a LIVE channel */
	HOST_END,       /* of a LIVE channel */
	HOST_CREDIT,    /* a live part may be written up to `limit` bytes */
	HOST_CLOSED,    /* all readers of a part have gone */
	HOST_EXIT,
	/* host to daemon */
	HOST_READY = 100,
	HOST_OPEN,     /* read (port, producer) from its start */
	HOST_CONSUMED, /* bytes of a LIVE channel, all in all */
	HOST_CLOSE,    /* (port, producer) is not read any more */
	HOST_SPACE,    /* a segment of at least `bytes` is wanted */
	HOST_RETIRE,   /* nothing more is written to a segment */
	HOST_LIVE,     /* tail: block_refs, appended to a part of a live stream */
	HOST_DONE,     /* the attempt ended; tail: text */
	HOST_LOG,      /* tail: a line for people */
	HOST_SKIPPED   /* data: port, producer, bytes (its number); tail: the record's first bytes */
};

enum host_channel_kind { HOST_CHANNEL_SEALED, HOST_CHANNEL_LIVE, HOST_CHANNEL_SOURCE, HOST_CHANNEL_ERROR };
enum host_port_flags { HOST_PORT_LIVE = 1, HOST_PORT_FIFO = 2 };

struct host_port {
	uint32_t producers;
	uint32_t flags;        /* enum host_port_flags */
	uint32_t stream, part; /* of the producers: FIFO */
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

struct host_msg {
	uint32_t kind; /* enum host_msg_kind */
	uint32_t task; /* chosen by the daemon at START; never used again within a host */
	union {
		struct {
			uint32_t stage;
			uint64_t size;
		} stage;
		struct {
			uint32_t stage, index, attempt, epoch, vertex;
			uint32_t group_size; /* tasks that must run together: START of all of them comes in a
						row */
			uint32_t in_ports;
			uint64_t window; /* bytes that a live part may be ahead of its readers */
			uint32_t skip_count;
			struct host_skip skips[HOST_SKIPS_MAX];
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
		} channel;
		struct {
			uint32_t port, producer;
			uint32_t blocks;
			uint64_t bytes; /* CONSUMED */
			struct channel_end end;
			uint32_t checked; /* END: the counts and hash mean something */
		} data;
		struct {
			uint32_t stream, part, blocks;
			uint64_t limit;
		} live;
		struct {
			int32_t error; /* 0 or a DAG_E… */
			int32_t signal, exit_code;
			uint32_t blamed; /* the error came from reading this input: */
			uint32_t port, producer;
			uint32_t closed_early; /* all its outputs were closed by their readers */
			struct block_ref index;
			uint64_t records_in, bytes_in, records_out, bytes_out;
			uint32_t scratch_used;
			uint32_t counter_count;
			struct host_counter counters[HOST_COUNTERS_MAX];
		} done;
		struct {
			uint32_t version;
		} ready;
	} u;
};

/* In memory that host and daemon share, so that a crash still tells how far the vertex was. */
struct host_status {
	_Atomic uint32_t vertex;
	_Atomic uint32_t port, producer;
	_Atomic uint64_t record;  /* that was read last, counted from 0 within its channel */
	_Atomic uint32_t reading; /* a record was read at all */
	_Atomic uint64_t bytes_read, bytes_written;
	/* Low half: the task that the host began last; high half: the last one that the daemon took back. */
	_Atomic uint64_t claim;
};

/* The host is about to begin a task: false where it was taken back. */
bool host_status_claim(struct host_status *status, uint32_t task);
/*
 * The daemon takes back all tasks up to `last` that were not begun. Returns the one that was begun last,
 * above which they are taken back; `last`, and nothing is, where the host has not begun `first` yet, which it
 * shall run.
 */
uint32_t host_status_revoke(struct host_status *status, uint32_t first, uint32_t last);

/* Sends one message; fd −1 for none. DAG_ELOST where the other side is gone, DAG_EBUSY where it would block.
 */
int host_msg_send(int sock, const struct host_msg *msg, const void *tail, size_t tail_len, int fd);
/*
 * Receives one. `tail` has room for HOST_TAIL_MAX bytes; *ret_fd is −1 or a descriptor that the caller owns.
 * 1: a message; 0: none now (non-blocking sockets); DAG_ELOST: the other side is gone; DAG_EPROTO: nonsense.
 */
int host_msg_recv(int sock, struct host_msg *msg, void *tail, size_t *ret_tail_len, int *ret_fd);

#endif
