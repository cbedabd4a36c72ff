/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHANNEL_DATA_H
#define CHANNEL_DATA_H
/*
 * Blocks between nodes: the bulk mover. A daemon serves on its own loop, since to send a block is to hand a
 * pointer to ZeroMQ; it reads in a thread of its own, so that copying and hashing, and a disk that is full of
 * work, never delay a heartbeat. A job manager, and a daemon that is embedded in one, read on their own loop.
 * With keys, requests go over CURVE and answers over a connection of their own, sealed (frames.h), which is
 * to read what is sent: then the daemon serves in a thread too. It decides nothing: what is sent is said by
 * its owner, what arrives is told to it, both through queues, so that the owner cannot tell the difference.
 *
 * All functions are the owner's thread's. on_event is called in the owner's loop.
 */
#include "block.h"
#include "wire/seal.h"
#include "wire/socket.h"

struct data;

/* Who asked: where its answers go, the key to seal them with, and its own number for the channel. */
struct data_peer {
	unsigned char identity[32];
	unsigned char key[SEAL_KEY_LEN]; /* zeros where nothing is sealed */
	uint32_t identity_len;
	uint64_t channel;
};

struct data_open {
	char job[40];
	uint32_t vertex, attempt, stream, part;
	uint32_t reader, reader_port; /* a vertex */
	bool live;
	uint64_t seq, credit;
};

enum data_event_kind {
	/* as a server */
	DATA_OPENED,   /* a peer wants a channel: peer, open */
	DATA_CREDITED, /* peer, credit and bytes consumed */
	DATA_CLOSED,   /* peer; error: not because it has enough, but because it failed */
	DATA_NOTICE,   /* text: for people, of who connects and is not let in */
	DATA_SENT, /* a block's bytes are not needed any more: pin. Told with others where others are sent */
	/* as a reader */
	DATA_BLOCK,        /* channel, ref: it lies in a segment that was given, or `lent` for the call */
	DATA_END,          /* channel, end, checked */
	DATA_FAILED,       /* channel, error, text (allocated; the handler frees it) */
	DATA_NEED_SEGMENT, /* bytes at least */
	DATA_SEGMENT_FULL  /* ref.segment: nothing more is put into it */
};

struct data_event {
	enum data_event_kind kind;
	struct data_peer peer;
	struct data_open open;
	uint64_t channel, credit, bytes;
	struct block_ref ref;
	uint64_t seq;
	struct channel_end end;
	bool checked;
	int error;
	char *text;
	void *pin;
	const unsigned char *lent;
	zmq_msg_t *message; /* that it lies in */
};

typedef void data_event_fn(void *ctx, const struct data_event *event);

/* 0, or a negative error with errno. endpoint: to serve readers at, or NULL for none; *ret_endpoint then is
 * the real one. threaded: see above.
 */
int data_new(uv_loop_t *loop, const struct wire_keys *keys, const char *endpoint, bool threaded,
	data_event_fn *on_event, void *ctx, struct data **ret_data, char **ret_endpoint);
/* Stops the thread. Events that are still on their way are dropped but for their memory. */
void data_destroy(struct data **data);

/* server: `bytes` stay until DATA_SENT gives `pin` back */
void data_send_block(struct data *data, const struct data_peer *peer, const struct block_header *header,
	const void *bytes, void *pin);
void data_send_end(struct data *data, const struct data_peer *peer, uint64_t blocks,
	const struct channel_end *end, bool checked);
void data_send_error(struct data *data, const struct data_peer *peer, int error, const char *text);

/* reader: blocks are lent to on_event, and no segments are asked for. Before anything is fetched. */
void data_lend(struct data *data);
/* `channel` is the owner's number, never used again */
void data_fetch(struct data *data, uint64_t channel, const char *endpoint, const struct data_open *open);
void data_consumed(struct data *data, uint64_t channel, uint64_t bytes);
/* failed: the reader has not had enough, and another attempt of it may come. */
void data_stop(struct data *data, uint64_t channel, bool failed);
/* Memory to put blocks into, after DATA_NEED_SEGMENT; base NULL: there is none, and channels that need it
 * fail. */
void data_give_segment(struct data *data, uint32_t segment, void *base, uint64_t size);

#endif
