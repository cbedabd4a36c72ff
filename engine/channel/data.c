/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two queues, each with an async handle that wakes the loop at its other end. Behind them a ROUTER that
 * serves and a DEALER for each endpoint that is read from; a channel that is read has a struct fetch, which
 * decides.
 */
#include "data.h"
#include "channel/core/fetch.h"
#include "os/os.h"
#include "dagrun.pb-c.h"

#include <pthread.h>
#include <uthash.h>

#define DATA_TICK_MS 500

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

struct command_queue {
	pthread_mutex_t lock;
	struct command *items;
	size_t count, cap;
	uv_async_t wake;
};

struct event_queue {
	pthread_mutex_t lock;
	struct data_event *items;
	size_t count, cap;
	uv_async_t wake;
	bool closed;
};

/* A message that has nowhere to go until the owner gives a segment. */
struct waiting {
	zmq_msg_t header, payload;
	uint64_t channel, seq;
};

struct dealer {
	struct data *data;
	char *endpoint;
	struct wire_socket *socket;
	UT_hash_handle hh;
};

struct reading {
	uint64_t channel;
	struct data_open open;
	struct dealer *dealer;
	struct fetch fetch;
	UT_hash_handle hh;
};

struct data {
	uv_loop_t *owner_loop;
	uv_loop_t own_loop;
	uv_loop_t *loop; /* where sockets live: own_loop, or the owner's */
	bool threaded;
	pthread_t thread;
	const struct wire_keys *keys;
	struct command_queue commands;
	struct event_queue events;
	data_event_fn *on_event;
	void *ctx;
	struct wire_loop *wire;
	struct wire_socket *router;
	struct dealer *dealers;
	struct reading *readings;
	uv_timer_t tick;
	/* The segment that blocks are put into. */
	uint32_t segment;
	unsigned char *base;
	uint64_t used, size;
	bool asked;
	struct waiting *waiting;
	size_t waiting_count, waiting_cap;
	int refs; /* handles and pins that still point here; atomic */
};

/* ---- queues ---- */

static void post_event(struct data *d, const struct data_event *event)
{
	bool closed;

	pthread_mutex_lock(&d->events.lock);
	closed = d->events.closed;
	if (!closed)
		*DAG_APPEND(d->events.items, d->events.count, d->events.cap) = *event;
	if (!closed)
		uv_async_send(&d->events.wake);
	pthread_mutex_unlock(&d->events.lock);
	if (closed)
		free(event->text);
}

static void post_command(struct data *d, const struct command *command)
{
	pthread_mutex_lock(&d->commands.lock);
	*DAG_APPEND(d->commands.items, d->commands.count, d->commands.cap) = *command;
	pthread_mutex_unlock(&d->commands.lock);
	uv_async_send(&d->commands.wake);
}

static void on_events(uv_async_t *wake)
{
	struct data *d = wake->data;
	struct data_event *items;
	size_t count;

	pthread_mutex_lock(&d->events.lock);
	items = d->events.items;
	count = d->events.count;
	d->events.items = NULL;
	d->events.count = d->events.cap = 0;
	pthread_mutex_unlock(&d->events.lock);
	for (size_t i = 0; i < count; i++)
		d->on_event(d->ctx, &items[i]);
	free(items);
}

/* ---- frames ---- */

static void make_frame(zmq_msg_t *frame, const Dagrun__Data *m)
{
	zmq_msg_init_size(frame, dagrun__data__get_packed_size(m));
	dagrun__data__pack(m, zmq_msg_data(frame));
}

static void identity_frame(zmq_msg_t *frame, const struct data_peer *peer)
{
	zmq_msg_init_size(frame, peer->identity_len);
	memcpy(zmq_msg_data(frame), peer->identity, peer->identity_len);
}

static void unref(struct data *d);

/* Holds a reference to its mover, which ZeroMQ may outlive. */
struct pinned {
	struct data *data;
	void *pin;
};

/* Called by ZeroMQ, in a thread of its own, when a block's bytes have been sent. */
static void on_unpinned(void *bytes, void *hint)
{
	struct pinned *p = hint;

	(void)bytes;
	post_event(p->data, &(struct data_event){.kind = DATA_SENT, .pin = p->pin});
	unref(p->data);
	free(p);
}

static void send_block(struct data *d, const struct command *c)
{
	Dagrun__Data m = DAGRUN__DATA__INIT;
	struct pinned *pinned = base_alloc(sizeof(*pinned));
	struct block_header header = c->header;
	zmq_msg_t frames[4];

	m.kind = DAGRUN__DATA_KIND__BLOCK;
	m.channel = c->peer.channel;
	m.seq = header.seq;
	header.checksum = hash_64(c->bytes, header.length);
	identity_frame(&frames[0], &c->peer);
	make_frame(&frames[1], &m);
	zmq_msg_init_size(&frames[2], sizeof(header));
	memcpy(zmq_msg_data(&frames[2]), &header, sizeof(header));
	*pinned = (struct pinned){d, c->pin};
	__atomic_add_fetch(&d->refs, 1, __ATOMIC_RELAXED);
	zmq_msg_init_data(&frames[3], (void *)c->bytes, header.length, on_unpinned, pinned);
	wire_socket_send(d->router, frames, 4);
}

static void send_small(struct data *d, const struct data_peer *peer, const Dagrun__Data *m)
{
	zmq_msg_t frames[2];

	identity_frame(&frames[0], peer);
	make_frame(&frames[1], m);
	wire_socket_send(d->router, frames, 2);
}

static void send_end(struct data *d, const struct command *c)
{
	Dagrun__Data m = DAGRUN__DATA__INIT;

	m.kind = DAGRUN__DATA_KIND__END;
	m.channel = c->peer.channel;
	m.blocks = c->count;
	m.records = c->end.records;
	m.bytes = c->end.bytes;
	m.hash_low = c->end.hash.low;
	m.hash_high = c->end.hash.high;
	m.checked = c->checked;
	send_small(d, &c->peer, &m);
}

static void send_error(struct data *d, const struct command *c)
{
	Dagrun__Data m = DAGRUN__DATA__INIT;

	m.kind = DAGRUN__DATA_KIND__ERROR;
	m.channel = c->peer.channel;
	m.error = c->error;
	m.text = c->text ? c->text : "";
	send_small(d, &c->peer, &m);
}

/* ---- serving ---- */

static void on_router_message(void *ctx, zmq_msg_t *frames, size_t count)
{
	struct data *d = ctx;
	struct data_event event = {0};
	Dagrun__Data *m;

	if (count != 2 || zmq_msg_size(&frames[0]) > sizeof(event.peer.identity) ||
		zmq_msg_size(&frames[1]) > 4096)
		return;
	m = dagrun__data__unpack(NULL, zmq_msg_size(&frames[1]), zmq_msg_data(&frames[1]));
	if (!m)
		return;
	event.peer.identity_len = (uint32_t)zmq_msg_size(&frames[0]);
	memcpy(event.peer.identity, zmq_msg_data(&frames[0]), event.peer.identity_len);
	event.peer.channel = m->channel;
	event.credit = m->credit;
	event.bytes = m->bytes;
	if (m->kind == DAGRUN__DATA_KIND__OPEN && strlen(m->job) < sizeof(event.open.job)) {
		event.kind = DATA_OPENED;
		strcpy(event.open.job, m->job);
		event.open.vertex = m->vertex;
		event.open.attempt = m->attempt;
		event.open.stream = m->stream;
		event.open.part = m->part;
		event.open.live = m->live;
		event.open.seq = m->seq;
		event.open.credit = m->credit;
		post_event(d, &event);
	} else if (m->kind == DAGRUN__DATA_KIND__CREDIT) {
		event.kind = DATA_CREDITED;
		post_event(d, &event);
	} else if (m->kind == DAGRUN__DATA_KIND__CLOSE) {
		event.kind = DATA_CLOSED;
		post_event(d, &event);
	}
	dagrun__data__free_unpacked(m, NULL);
}

/* ---- reading ---- */

static void forget_reading(struct data *d, struct reading *r)
{
	HASH_DEL(d->readings, r);
	free(r);
}

static void fail_reading(struct data *d, struct reading *r, int error, const char *text)
{
	post_event(d, &(struct data_event){.kind = DATA_FAILED,
			      .channel = r->channel,
			      .error = error,
			      .text = base_strdup(text)});
	forget_reading(d, r);
}

static void send_request(struct reading *r, Dagrun__DataKind kind)
{
	Dagrun__Data m = DAGRUN__DATA__INIT;
	zmq_msg_t frame;

	m.kind = kind;
	m.channel = r->channel;
	m.credit = r->fetch.credit;
	m.bytes = r->fetch.consumed;
	if (kind == DAGRUN__DATA_KIND__OPEN) {
		m.job = r->open.job;
		m.vertex = r->open.vertex;
		m.attempt = r->open.attempt;
		m.stream = r->open.stream;
		m.part = r->open.part;
		m.live = r->open.live;
		m.seq = r->fetch.next;
	}
	make_frame(&frame, &m);
	wire_socket_send(r->dealer->socket, &frame, 1);
}

static struct reading *find_reading(struct data *d, uint64_t channel)
{
	struct reading *r;

	HASH_FIND(hh, d->readings, &channel, sizeof(channel), r);
	return r;
}

/* Puts a block into the current segment. False where a segment must come first. */
static bool place_block(struct data *d, struct reading *r, const struct block_header *h, const void *payload)
{
	uint64_t need = (h->length + BLOCK_ALIGN - 1) & ~(uint64_t)(BLOCK_ALIGN - 1);
	struct data_event event = {.kind = DATA_BLOCK, .channel = r->channel, .seq = h->seq};

	if (d->asked)
		return false;
	if (!d->base || d->size - d->used < need) {
		if (d->base)
			post_event(d, &(struct data_event){
					      .kind = DATA_SEGMENT_FULL, .ref = {.segment = d->segment}});
		d->base = NULL;
		d->asked = true;
		post_event(d, &(struct data_event){.kind = DATA_NEED_SEGMENT, .bytes = need});
		return false;
	}
	memcpy(d->base + d->used, payload, h->length);
	event.ref = (struct block_ref){d->segment, h->records, d->used, h->length, h->kind};
	d->used += need;
	post_event(d, &event);
	return true;
}

static void on_block(
	struct data *d, struct reading *r, uint64_t seq, zmq_msg_t *header_frame, zmq_msg_t *payload)
{
	struct block_header header;

	if (zmq_msg_size(header_frame) != sizeof(header))
		return;
	memcpy(&header, zmq_msg_data(header_frame), sizeof(header));
	if (block_header_check(&header) < 0 || header.length != zmq_msg_size(payload) || header.seq != seq ||
		header.checksum != hash_64(zmq_msg_data(payload), header.length)) {
		send_request(r, DAGRUN__DATA_KIND__OPEN); /* damaged on its way: once more */
		return;
	}
	switch (fetch_on_block(&r->fetch, seq, header.length, os_now())) {
	case FETCH_IGNORE:
		return;
	case FETCH_ASK_AGAIN:
		/* Blocks that follow the gap would each ask; the silence that comes now asks once. */
		if (r->fetch.last_progress + DAG_SECOND / 10 < os_now())
			send_request(r, DAGRUN__DATA_KIND__OPEN);
		return;
	case FETCH_TAKE:
		break;
	}
	if (d->waiting_count || !place_block(d, r, &header, zmq_msg_data(payload))) {
		struct waiting *w = DAG_APPEND(d->waiting, d->waiting_count, d->waiting_cap);

		w->channel = r->channel;
		zmq_msg_init(&w->header);
		zmq_msg_move(&w->header, header_frame);
		zmq_msg_init(&w->payload);
		zmq_msg_move(&w->payload, payload);
	}
}

static void on_end(struct data *d, struct reading *r, const Dagrun__Data *m)
{
	struct data_event event = {.kind = DATA_END,
		.channel = r->channel,
		.checked = m->checked,
		.end = {m->records, m->bytes, {m->hash_low, m->hash_high}}};

	switch (fetch_on_end(&r->fetch, m->blocks, os_now())) {
	case FETCH_ASK_AGAIN:
		send_request(r, DAGRUN__DATA_KIND__OPEN);
		return;
	case FETCH_IGNORE:
		return;
	case FETCH_TAKE:
		break;
	}
	/* Blocks that wait for memory must be told first. */
	for (size_t i = 0; i < d->waiting_count; i++)
		if (d->waiting[i].channel == r->channel) {
			struct waiting *w = DAG_APPEND(d->waiting, d->waiting_count, d->waiting_cap);

			w->channel = r->channel;
			w->seq = UINT64_MAX;
			zmq_msg_init_size(&w->header, sizeof(event));
			memcpy(zmq_msg_data(&w->header), &event, sizeof(event));
			zmq_msg_init(&w->payload);
			return;
		}
	post_event(d, &event);
}

static void on_dealer_message(void *ctx, zmq_msg_t *frames, size_t count)
{
	struct dealer *dealer = ctx;
	struct data *d = dealer->data;
	Dagrun__Data *m;
	struct reading *r;

	if (zmq_msg_size(&frames[0]) > 65536)
		return;
	m = dagrun__data__unpack(NULL, zmq_msg_size(&frames[0]), zmq_msg_data(&frames[0]));
	if (!m)
		return;
	r = find_reading(d, m->channel);
	if (r && m->kind == DAGRUN__DATA_KIND__BLOCK && count == 3)
		on_block(d, r, m->seq, &frames[1], &frames[2]);
	else if (r && m->kind == DAGRUN__DATA_KIND__END)
		on_end(d, r, m);
	else if (r && m->kind == DAGRUN__DATA_KIND__ERROR)
		fail_reading(d, r, m->error < 0 ? m->error : DAG_EPROTO, m->text);
	dagrun__data__free_unpacked(m, NULL);
}

static void place_waiting(struct data *d)
{
	size_t done = 0;

	for (; done < d->waiting_count; done++) {
		struct waiting *w = &d->waiting[done];
		struct reading *r = find_reading(d, w->channel);
		struct block_header header;

		if (r && w->seq == UINT64_MAX) {
			struct data_event event;

			memcpy(&event, zmq_msg_data(&w->header), sizeof(event));
			post_event(d, &event);
		} else if (r) {
			memcpy(&header, zmq_msg_data(&w->header), sizeof(header));
			if (!place_block(d, r, &header, zmq_msg_data(&w->payload)))
				break;
		}
		zmq_msg_close(&w->header);
		zmq_msg_close(&w->payload);
	}
	d->waiting_count -= done;
	memmove(d->waiting, d->waiting + done, d->waiting_count * sizeof(*d->waiting));
}

static void give_segment(struct data *d, const struct command *c)
{
	d->asked = false;
	if (c->base) {
		d->segment = c->segment;
		d->base = c->base;
		d->size = c->count;
		d->used = 0;
		place_waiting(d);
		return;
	}
	while (d->waiting_count) {
		struct waiting *w = &d->waiting[--d->waiting_count];
		struct reading *r = find_reading(d, w->channel);

		zmq_msg_close(&w->header);
		zmq_msg_close(&w->payload);
		if (r)
			fail_reading(d, r, DAG_ENOSPC, "the node's spool is full");
	}
}

static struct dealer *find_dealer(struct data *d, const char *endpoint)
{
	struct dealer *dealer;

	HASH_FIND_STR(d->dealers, endpoint, dealer);
	if (dealer)
		return dealer;
	dealer = base_alloc(sizeof(*dealer));
	dealer->data = d;
	dealer->endpoint = base_strdup(endpoint);
	dealer->socket =
		wire_socket_new(d->wire, ZMQ_DEALER, strncmp(endpoint, "inproc:", 7) ? d->keys : NULL, false,
			true, NULL, 0, on_dealer_message, dealer);
	wire_socket_connect(dealer->socket, endpoint);
	HASH_ADD_KEYPTR(hh, d->dealers, dealer->endpoint, strlen(dealer->endpoint), dealer);
	return dealer;
}

static void start_reading(struct data *d, const struct command *c)
{
	struct reading *r = base_alloc(sizeof(*r));

	r->channel = c->channel;
	r->open = c->open;
	r->dealer = find_dealer(d, c->text);
	fetch_init(&r->fetch, c->open.credit, c->open.live, os_now());
	HASH_ADD(hh, d->readings, channel, sizeof(r->channel), r);
	send_request(r, DAGRUN__DATA_KIND__OPEN);
}

static void on_tick(uv_timer_t *tick)
{
	struct data *d = tick->data;
	struct reading *r, *next;

	HASH_ITER(hh, d->readings, r, next)
	switch (fetch_tick(&r->fetch, os_now())) {
	case FETCH_OPEN:
		send_request(r, DAGRUN__DATA_KIND__OPEN);
		break;
	case FETCH_UNREACHABLE:
		fail_reading(d, r, DAG_EUNREACHABLE, "the node that holds the data does not answer");
		break;
	default:
		break;
	}
}

/* ---- the loop ---- */

static void close_sockets(struct data *d)
{
	struct dealer *dealer, *next_dealer;
	struct reading *r, *next;

	HASH_ITER(hh, d->readings, r, next)
	forget_reading(d, r);
	HASH_ITER(hh, d->dealers, dealer, next_dealer)
	{
		HASH_DEL(d->dealers, dealer);
		wire_socket_destroy(&dealer->socket);
		free(dealer->endpoint);
		free(dealer);
	}
	for (size_t i = 0; i < d->waiting_count; i++) {
		zmq_msg_close(&d->waiting[i].header);
		zmq_msg_close(&d->waiting[i].payload);
	}
	free(d->waiting);
	wire_socket_destroy(&d->router);
	wire_loop_destroy(&d->wire);
}

static void unref(struct data *d)
{
	if (__atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL))
		return;
	free(d->commands.items);
	for (size_t i = 0; i < d->events.count; i++)
		free(d->events.items[i].text);
	free(d->events.items);
	pthread_mutex_destroy(&d->commands.lock);
	pthread_mutex_destroy(&d->events.lock);
	free(d);
}

static void drop_ref(uv_handle_t *handle)
{
	unref(handle->data);
}

static void run_command(struct data *d, struct command *c)
{
	struct reading *r;

	switch (c->kind) {
	case COMMAND_SEND_BLOCK:
		send_block(d, c);
		break;
	case COMMAND_SEND_END:
		send_end(d, c);
		break;
	case COMMAND_SEND_ERROR:
		send_error(d, c);
		break;
	case COMMAND_FETCH:
		start_reading(d, c);
		break;
	case COMMAND_CONSUMED:
		r = find_reading(d, c->channel);
		if (r && fetch_consumed(&r->fetch, c->count) == FETCH_CREDIT)
			send_request(r, DAGRUN__DATA_KIND__CREDIT);
		break;
	case COMMAND_STOP:
		r = find_reading(d, c->channel);
		if (r) {
			send_request(r, DAGRUN__DATA_KIND__CLOSE);
			forget_reading(d, r);
		}
		break;
	case COMMAND_GIVE:
		give_segment(d, c);
		break;
	case COMMAND_QUIT:
		close_sockets(d);
		uv_close((uv_handle_t *)&d->tick, d->threaded ? NULL : drop_ref);
		uv_close((uv_handle_t *)&d->commands.wake, d->threaded ? NULL : drop_ref);
		break;
	}
	free(c->text);
}

static void on_commands(uv_async_t *wake)
{
	struct data *d = wake->data;
	struct command *items;
	size_t count;

	pthread_mutex_lock(&d->commands.lock);
	items = d->commands.items;
	count = d->commands.count;
	d->commands.items = NULL;
	d->commands.count = d->commands.cap = 0;
	pthread_mutex_unlock(&d->commands.lock);
	for (size_t i = 0; i < count; i++)
		run_command(d, &items[i]);
	free(items);
}

static void *run_thread(void *arg)
{
	struct data *d = arg;

	uv_run(&d->own_loop, UV_RUN_DEFAULT);
	uv_loop_close(&d->own_loop);
	return NULL;
}

int data_new(uv_loop_t *loop, const struct wire_keys *keys, const char *endpoint, bool threaded,
	data_event_fn *on_event, void *ctx, struct data **ret_data, char **ret_endpoint)
{
	struct data *d = base_alloc(sizeof(*d));
	int r = 0;

	d->owner_loop = loop;
	d->threaded = threaded;
	d->loop = loop;
	d->keys = keys;
	d->on_event = on_event;
	d->ctx = ctx;
	if (threaded) {
		uv_loop_init(&d->own_loop);
		d->loop = &d->own_loop;
	}
	pthread_mutex_init(&d->commands.lock, NULL);
	pthread_mutex_init(&d->events.lock, NULL);
	uv_async_init(d->loop, &d->commands.wake, on_commands);
	uv_async_init(loop, &d->events.wake, on_events);
	uv_timer_init(d->loop, &d->tick);
	d->commands.wake.data = d->events.wake.data = d->tick.data = d;
	d->refs = threaded ? 1 : 3;
	uv_timer_start(&d->tick, on_tick, DATA_TICK_MS, DATA_TICK_MS);
	wire_loop_new(&d->wire, d->loop);
	if (endpoint) {
		d->router =
			wire_socket_new(d->wire, ZMQ_ROUTER, strncmp(endpoint, "inproc:", 7) ? keys : NULL,
				true, true, NULL, 0, on_router_message, d);
		r = wire_socket_bind(d->router, endpoint, ret_endpoint);
	}
	if (threaded)
		DAG_ASSERT(pthread_create(&d->thread, NULL, run_thread, d) == 0);
	if (r < 0) {
		data_destroy(&d);
		return r;
	}
	*ret_data = d;
	return 0;
}

void data_destroy(struct data **data)
{
	struct data *d = *data;

	if (!d)
		return;
	pthread_mutex_lock(&d->events.lock);
	d->events.closed = true;
	pthread_mutex_unlock(&d->events.lock);
	if (d->threaded) {
		post_command(d, &(struct command){.kind = COMMAND_QUIT});
		pthread_join(d->thread, NULL);
	} else {
		on_commands(&d->commands.wake);
		run_command(d, &(struct command){.kind = COMMAND_QUIT});
	}
	uv_close((uv_handle_t *)&d->events.wake, drop_ref);
	*data = NULL;
}

void data_send_block(struct data *d, const struct data_peer *peer, const struct block_header *header,
	const void *bytes, void *pin)
{
	post_command(d, &(struct command){.kind = COMMAND_SEND_BLOCK,
				.peer = *peer,
				.header = *header,
				.bytes = bytes,
				.pin = pin});
}

void data_send_end(struct data *d, const struct data_peer *peer, uint64_t blocks,
	const struct channel_end *end, bool checked)
{
	post_command(d, &(struct command){.kind = COMMAND_SEND_END,
				.peer = *peer,
				.count = blocks,
				.end = *end,
				.checked = checked});
}

void data_send_error(struct data *d, const struct data_peer *peer, int error, const char *text)
{
	post_command(d, &(struct command){.kind = COMMAND_SEND_ERROR,
				.peer = *peer,
				.error = error,
				.text = base_strdup(text)});
}

void data_fetch(struct data *d, uint64_t channel, const char *endpoint, const struct data_open *open)
{
	post_command(d, &(struct command){.kind = COMMAND_FETCH,
				.channel = channel,
				.open = *open,
				.text = base_strdup(endpoint)});
}

void data_consumed(struct data *d, uint64_t channel, uint64_t bytes)
{
	post_command(d, &(struct command){.kind = COMMAND_CONSUMED, .channel = channel, .count = bytes});
}

void data_stop(struct data *d, uint64_t channel)
{
	post_command(d, &(struct command){.kind = COMMAND_STOP, .channel = channel});
}

void data_give_segment(struct data *d, uint32_t segment, void *base, uint64_t size)
{
	post_command(
		d, &(struct command){.kind = COMMAND_GIVE, .segment = segment, .base = base, .count = size});
}
