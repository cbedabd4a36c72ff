/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHANNEL_DATA_INTERNAL_H
#define CHANNEL_DATA_INTERNAL_H
/* Inside of the mover: data.c has its life and the loop; data_events.c what the owner is told; data_outbox.c
 * what goes out; data_dial.c the ways to other nodes; data_serve.c what is sent; data_read.c the channels
 * that are read. */
#include "channel/core/fetch.h"
#include "data.h"
#include "frames.h"
#include "base/table.h"
#include "wire/silence.h"

#include <pthread.h>

enum command_kind {
	COMMAND_SEND_BLOCK = 100,
	COMMAND_SEND_END,
	COMMAND_SEND_ERROR,
	COMMAND_FETCH,
	COMMAND_CONSUMED,
	COMMAND_STOP,
	COMMAND_GIVE,
	COMMAND_QUIT
};

struct command {
	enum command_kind kind;
	struct data_peer peer;
	struct data_open open;
	struct block_header header;
	const void *bytes;
	void *pin;
	uint64_t channel, count;
	struct channel_end end;
	bool checked;
	int error;
	char *text; /* an error's text, or an endpoint */
	uint32_t segment;
	void *base;
};

/*
 * Wakes a loop from any thread, as uv_async_t does, whose loop, however, spins while the one that woke it has
 * not returned from its write: on few cores that one is then kept from returning.
 */
struct bell {
	int fd; /* an eventfd */
	uv_poll_t poll;
};

struct command_queue {
	pthread_mutex_t lock;
	struct command *items;
	size_t count, cap;
	struct bell bell; /* where they are for another thread; else */
	uv_idle_t turn;   /* runs them in the loop's next round */
};

struct event_queue {
	pthread_mutex_t lock;
	struct data_event *items;
	size_t count, cap;
	struct bell bell;
	bool rung;      /* the bell was, since they were taken */
	size_t sending; /* blocks that ZeroMQ has */
	bool closed;
};

/* What has nowhere to go until the owner gives a segment: a block, or the end behind it. */
struct waiting {
	uint64_t channel;
	struct block_header header;
	zmq_msg_t payload;
	bool is_end;
	struct data_event end;
};

/* What goes to one peer in its next message. */
struct outbox {
	struct wire_socket *socket;
	struct data_peer peer; /* where that is the ROUTER; else who asks, where the answers are sealed */
	struct buffer frame;
};

struct dealer;
/* What a node that is read from says. */
struct dealer_events {
	/* Answers would come now. */
	void (*on_reached)(struct dealer *dealer);
	/* `more`: the two frames that followed, or NULL. */
	void (*on_answers)(struct dealer *dealer, const void *first, size_t len, zmq_msg_t *more);
	/* It is dialled anew; what it sends to `old` goes nowhere. */
	void (*on_left)(struct dealer *dealer, const struct data_peer *old);
};

/* A node that is read from. */
struct dealer {
	struct data *data;
	const struct dealer_events *events;
	char *endpoint;
	bool local;
	bool six;                    /* by IPv6 */
	struct wire_socket *socket;  /* NULL: not dialled, or there was no descriptor for it */
	struct wire_socket *answers; /* where they are sealed; else they come over `socket` */
	struct data_peer self;       /* then: what the node names us, and the key */
	unsigned char word[FRAMES_WORD_LEN];
	bool reached;         /* answers would come; before that nothing is asked for */
	size_t reading_count; /* channels */
	dag_instant at;       /* dialled */
	struct silence silence;
	dag_instant heard, heard_answers, asked;
	UT_hash_handle hh;
};

struct reading {
	uint64_t channel;
	struct data_open open;
	struct dealer *dealer;
	struct fetch fetch;
	struct hash_state *hash; /* of the blocks taken, where their writer noted it; NULL: none did */
	uint32_t damaged;        /* times that the next block was */
	UT_hash_handle hh;
};

/* A segment of the owner's. */
struct room {
	uint32_t segment;
	unsigned char *base;
	uint64_t used, size;
};

struct data {
	uv_loop_t *owner_loop;
	uv_loop_t own_loop;
	uv_loop_t *loop;               /* where sockets live: own_loop, or the owner's */
	bool threaded, started, lends; /* started: the thread was */
	bool local;                    /* serves this process only: nothing is damaged on its way */
	pthread_t thread;
	const struct wire_keys *keys;
	struct command_queue commands;
	struct event_queue events;
	data_event_fn *on_event;
	void *ctx;
	struct wire_loop *wire;
	struct wire_socket *router;
	struct wire_socket
		*answers; /* to whom `router` heard: itself, or where they are sealed one of its own */
	struct guard *guard, *answers_guard; /* of those two, where there are ports */
	struct seal *seal;                   /* NULL: without keys */
	struct dealer *dealers;
	struct reading *readings;
	struct outbox outbox;
	uv_timer_t tick;
	struct room room, next;    /* blocks are put into the first; base NULL: none */
	bool asked;                /* for another one */
	struct hash_state *before; /* the hash of a channel whose next block is looked at */
	struct waiting *waiting;
	size_t waiting_count, waiting_cap;
	int refs; /* handles and pins that still point here; atomic */
};

/* data_events.c */

/* Tells the owner. Takes over event->text. */
void data_post_event(struct data *d, const struct data_event *event);
/* One more block that ZeroMQ has. */
void data_count_sending(struct data *d);
/* Once in a while: tells what rings no bell by itself. */
void data_ring_late(struct data *d);
/* The owner's loop hears the bell. */
void data_on_events(uv_poll_t *poll, int status, int events);
void data_unref(struct data *d);

/* data_dial.c */

/* The one of an endpoint, which is not dialled before it is used. */
struct dealer *dealer_find(struct data *d, const char *endpoint, const struct dealer_events *events);
/* One more channel is read there. */
void dealer_use(struct dealer *dealer);
/* About twice a second. */
void dealer_tick(struct dealer *dealer, dag_instant now);
void dealer_destroy(struct dealer *dealer);

/* data_outbox.c */

/* Puts it into the outbox; `peer`: to whom it goes, where the socket is the ROUTER, or who asks. */
void data_put(
	struct data *d, struct wire_socket *socket, const struct data_peer *peer, const Dagrun__Data *m);
/* Sends what is in the outbox, with `count` more frames. */
void data_flush(struct data *d, zmq_msg_t *more, size_t count);

/* data_serve.c */
int data_serve_at(struct data *d, const char *endpoint, char **ret_endpoint);
void data_serve_block(struct data *d, const struct command *c);
void data_serve_end(struct data *d, const struct command *c);
void data_serve_error(struct data *d, const struct command *c);
void data_serve_tick(struct data *d);
void data_serve_close(struct data *d);

/* data_read.c */
void data_read_start(struct data *d, const struct command *c);
void data_read_consumed(struct data *d, uint64_t channel, uint64_t bytes);
void data_read_stop(struct data *d, uint64_t channel, int error);
void data_read_give(struct data *d, const struct command *c);
void data_read_tick(struct data *d);
void data_read_close(struct data *d);

#endif
