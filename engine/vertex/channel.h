/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_CHANNEL_H
#define VERTEX_CHANNEL_H
/*
 * One channel that a vertex reads: what it is, how far it came, and what was handed to it and not taken yet.
 * Each group of its fields is written by one file alone, which is named there.
 */
#include "host_proto.h"
#include "source.h"
#include "channel/codec.h"

struct dag_vertex;
struct fifo_block;

/* A block that waits to be read. */
struct queued_block {
	const unsigned char *data;
	uint32_t len, records, kind;
	struct fifo_block *fifo;
	bool piped;   /* of a direct pipe */
	bool checked; /* by the daemon */
};

enum channel_state { CHANNEL_NEW, CHANNEL_OPENING, CHANNEL_OPEN, CHANNEL_ENDED };

struct raw_reader {
	struct dag_vertex *v;
	uint32_t port, producer;
};

struct in_channel {
	/* blocks.c */
	const unsigned char *at, *end; /* of the current block: the fast path of every read */
	struct queued_block current;
	uint32_t next_block, prefetched; /* SEALED */
	uint64_t records, bytes;
	uint64_t bytes_shown;   /* of `bytes`, in the status page */
	uint64_t consumed;      /* LIVE: bytes; */
	uint64_t consumed_told; /* to the daemon, each `step` */
	unsigned char *plain;   /* of the current block, where that is packed */
	size_t plain_cap;
	struct hash_state *hash; /* of what nobody else checks */
	bool checked;            /* somebody else has checked it */

	/* reader.c */
	bool unended; /* the record that was read last is a line without a line feed behind it */
	uint64_t number;

	/* channel.c */
	_Atomic(enum channel_state) state; /* OPEN once all else that CHANNEL brings is set */
	enum host_channel_kind kind;
	struct queued_block *queue; /* LIVE: first … count−1 are unread. Guarded by host.lock. */
	size_t queue_first, queue_count, queue_cap;
	uint64_t queued_bytes; /* fifo: its window */
	uint64_t dequeued;     /* LIVE: blocks that came by the daemon and were taken */
	struct index_view index;
	const struct index_part *part; /* SEALED */
	uint64_t step;                 /* LIVE */
	struct source *source;         /* SOURCE, and LIVE ones that are raw */
	bool raw;
	bool ended; /* LIVE: END came. Guarded by host.lock. */
	bool check_end;
	struct channel_end expected;
	int error;
	char *error_text;

	/* arrive.c */
	struct raw_reader raw_reader;

	/* files.c */
	uint64_t file_size; /* SOURCE: as it was when the job started */
	int64_t file_mtime_ns;
	bool file_changed; /* as was seen when it was closed */
	int file_fd;       /* that came when it was asked for again; −1 */

	/* pipe.c */
	struct pipe_end *pipe; /* or NULL. Guarded by host.lock. */

	/* fifo.c; set before any thread runs */
	struct dag_vertex *fifo_producer;
	uint32_t fifo_stream, fifo_part;
};

/* It is asked for now; false where it was before. */
bool channel_ask(struct in_channel *ch);
/* It is closed for now, and will be asked for again. */
void channel_ask_again(struct in_channel *ch);
/* What it is, once it was asked for. The caller holds host.lock, but for a fifo, which nobody else looks at
 * before. */
void channel_open_fifo(struct in_channel *ch);
void channel_open_sealed(
	struct in_channel *ch, const unsigned char *index, uint32_t len, uint32_t stream, uint32_t part);
void channel_open_live(struct in_channel *ch, uint64_t step);
/* Its bytes come from there, cut into records; raw: from its own blocks. */
void channel_open_source(struct in_channel *ch, enum host_channel_kind kind, struct source *source, bool raw);
/* All that was to come with it is here, or an error. */
void channel_opened(struct in_channel *ch);
/* Nothing is read of it any more. */
void channel_end(struct in_channel *ch);

/* Hands it its next block; the caller holds host.lock. */
void channel_push(struct in_channel *ch, struct queued_block block);
/* Takes the first block that was handed to it; false where there is none. The caller holds host.lock. */
bool channel_take(struct in_channel *ch, struct queued_block *ret);
/* So many bytes that were pushed are read. The caller holds host.lock. */
void channel_forget_bytes(struct in_channel *ch, uint32_t len);
/* Nothing more is pushed; end: what its producer wrote, to be compared with; or NULL. The caller holds
 * host.lock. */
void channel_on_end(struct in_channel *ch, const struct channel_end *end);
/* It has failed; the text is taken over. */
void channel_fail(struct in_channel *ch, int error, char *text);
/* And nothing more comes; the caller holds host.lock. */
void channel_break(struct in_channel *ch, int error, char *text);

/* The records of its source are not wanted any more. */
void channel_drop_source(struct in_channel *ch);
void channel_fini(struct in_channel *ch);

#endif
