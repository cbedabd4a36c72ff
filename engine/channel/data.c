/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two queues, each with a bell that wakes the loop at its other end. Behind them a ROUTER that
 * serves and a DEALER for each endpoint that is read from; a channel that is read has a struct fetch, which
 * decides.
 */
#include "data_internal.h"
#include "os/os.h"

#include <unistd.h>

#define DATA_TICK_MS 500
#define ANSWERS_IN_MAX 1024 /* bytes that the answers' socket takes: more than a handshake's */

static void bell_init(struct bell *bell, uv_loop_t *loop, void *data)
{
	bell->fd = os_bell_new();
	DAG_ASSERT(bell->fd >= 0 && uv_poll_init(loop, &bell->poll, bell->fd) == 0);
	bell->poll.data = data;
}

/* ---- queues ---- */

static void free_message(const struct data_event *event)
{
	if (event->message)
		zmq_msg_close(event->message);
	free(event->message);
}

/* One that nobody handles. */
static void drop_event(const struct data_event *event)
{
	free(event->text);
	free_message(event);
}

/* That a block was sent nobody waits for: while others are being sent, the owner is not woken for it. */
static bool rings(struct event_queue *q, const struct data_event *event)
{
	if (q->rung || q->closed)
		return false;
	q->rung = event->kind != DATA_SENT || !q->sending;
	return q->rung;
}

void data_post_event(struct data *d, const struct data_event *event)
{
	struct event_queue *q = &d->events;
	bool closed, ring;

	pthread_mutex_lock(&q->lock);
	closed = q->closed;
	if (!closed)
		*DAG_APPEND(q->items, q->count, q->cap) = *event;
	if (event->kind == DATA_SENT)
		q->sending--;
	ring = rings(q, event);
	pthread_mutex_unlock(&q->lock);
	if (closed)
		drop_event(event);
	if (ring)
		os_bell_ring(q->bell.fd);
}

static void on_turn(uv_idle_t *turn);

static void post_command(struct data *d, const struct command *command)
{
	bool awake;

	pthread_mutex_lock(&d->commands.lock);
	awake = d->commands.count;
	*DAG_APPEND(d->commands.items, d->commands.count, d->commands.cap) = *command;
	pthread_mutex_unlock(&d->commands.lock);
	if (!d->threaded)
		uv_idle_start(&d->commands.turn, on_turn);
	else if (!awake)
		os_bell_ring(d->commands.bell.fd);
}

static void on_events(uv_poll_t *poll, int status, int events)
{
	struct data *d = poll->data;
	struct data_event *items;
	size_t count;

	(void)status;
	(void)events;
	os_bell_hush(d->events.bell.fd);
	pthread_mutex_lock(&d->events.lock);
	items = d->events.items;
	count = d->events.count;
	d->events.items = NULL;
	d->events.count = d->events.cap = 0;
	d->events.rung = false;
	pthread_mutex_unlock(&d->events.lock);
	for (size_t i = 0; i < count; i++) {
		d->on_event(d->ctx, &items[i]);
		free_message(&items[i]);
	}
	free(items);
}

/* ---- sending ---- */

static void add_frame(zmq_msg_t *frames, size_t *n, const void *bytes, size_t len)
{
	zmq_msg_init_size(&frames[*n], len);
	memcpy(zmq_msg_data(&frames[(*n)++]), bytes, len);
}

/* Where the answers to a request shall go. */
static void add_address(zmq_msg_t *frames, size_t *n, const struct data_peer *self)
{
	unsigned char *address;

	zmq_msg_init_size(&frames[*n], FRAMES_NAME_LEN + SEAL_KEY_LEN);
	address = zmq_msg_data(&frames[(*n)++]);
	memcpy(address, self->identity, FRAMES_NAME_LEN);
	memcpy(address + FRAMES_NAME_LEN, self->key, SEAL_KEY_LEN);
}

void data_flush(struct data *d, zmq_msg_t *more, size_t count)
{
	struct outbox *o = &d->outbox;
	zmq_msg_t frames[4];
	size_t n = 0;

	if (!o->frame.len)
		return;
	if (o->socket == d->answers)
		add_frame(frames, &n, o->peer.identity, o->peer.identity_len);
	if (o->socket == d->answers && d->seal) {
		frames_seal(d->seal, o->peer.key, &o->frame, more, count, &frames[n]);
		n += 1 + count;
	} else {
		add_frame(frames, &n, o->frame.data, o->frame.len);
		for (size_t i = 0; i < count; i++) {
			zmq_msg_init(&frames[n]);
			zmq_msg_move(&frames[n++], &more[i]);
		}
	}
	if (o->socket != d->answers && o->peer.identity_len)
		add_address(frames, &n, &o->peer);
	o->frame.len = 0;
	wire_socket_send(o->socket, frames, n);
}

static bool goes_to(const struct outbox *o, const struct wire_socket *socket, const struct data_peer *peer)
{
	return o->socket == socket && o->peer.identity_len == peer->identity_len &&
	       !memcmp(o->peer.identity, peer->identity, peer->identity_len);
}

void data_put(struct data *d, struct wire_socket *socket, const struct data_peer *peer, const Dagrun__Data *m)
{
	struct outbox *o = &d->outbox;

	if (!goes_to(o, socket, peer) || o->frame.len > FRAMES_LEN_MAX / 2)
		data_flush(d, NULL, 0);
	o->socket = socket;
	o->peer = *peer;
	frames_add(&o->frame, m);
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
	data_post_event(p->data, &(struct data_event){.kind = DATA_SENT, .pin = p->pin});
	unref(p->data);
	free(p);
}

static void count_sending(struct event_queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->sending++;
	pthread_mutex_unlock(&q->lock);
}

static void send_block(struct data *d, const struct command *c)
{
	Dagrun__Data m = DAGRUN__DATA__INIT;
	struct block_header header = c->header;
	struct pinned *pinned;
	zmq_msg_t frames[2];

	count_sending(&d->events);
	m.kind = DAGRUN__DATA_KIND__BLOCK;
	m.channel = c->peer.channel;
	m.seq = header.seq;
	if (!header.running && !header.checksum && !d->local)
		header.checksum = hash_64(c->bytes, header.length);
	if (header.length <= FRAMES_LITTLE) {
		m.header = (ProtobufCBinaryData){sizeof(header), (uint8_t *)&header};
		m.payload = (ProtobufCBinaryData){header.length, (uint8_t *)c->bytes};
	}
	data_put(d, d->answers, &c->peer, &m);
	if (header.length <= FRAMES_LITTLE) {
		data_post_event(d, &(struct data_event){.kind = DATA_SENT, .pin = c->pin});
		return;
	}
	zmq_msg_init_size(&frames[0], sizeof(header));
	memcpy(zmq_msg_data(&frames[0]), &header, sizeof(header));
	pinned = base_alloc(sizeof(*pinned));
	*pinned = (struct pinned){d, c->pin};
	__atomic_add_fetch(&d->refs, 1, __ATOMIC_RELAXED);
	zmq_msg_init_data(&frames[1], (void *)c->bytes, header.length, on_unpinned, pinned);
	data_flush(d, frames, 2);
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
	data_put(d, d->answers, &c->peer, &m);
}

static void send_error(struct data *d, const struct command *c)
{
	Dagrun__Data m = DAGRUN__DATA__INIT;

	m.kind = DAGRUN__DATA_KIND__ERROR;
	m.channel = c->peer.channel;
	m.error = c->error;
	m.text = c->text ? c->text : "";
	data_put(d, d->answers, &c->peer, &m);
}

/* ---- serving ---- */

static void on_request(struct data *d, const struct data_peer *peer, const Dagrun__Data *m)
{
	struct data_event event = {.peer = *peer, .credit = m->credit, .bytes = m->bytes};

	event.peer.channel = m->channel;
	if (m->kind == DAGRUN__DATA_KIND__OPEN && strlen(m->job) < sizeof(event.open.job)) {
		event.kind = DATA_OPENED;
		memcpy(event.open.job, m->job, strlen(m->job) + 1);
		event.open.vertex = m->vertex;
		event.open.attempt = m->attempt;
		event.open.stream = m->stream;
		event.open.part = m->part;
		event.open.reader = m->reader;
		event.open.reader_port = m->reader_port;
		event.open.live = m->live;
		event.open.seq = m->seq;
		event.open.credit = m->credit;
		data_post_event(d, &event);
	} else if (m->kind == DAGRUN__DATA_KIND__CREDIT) {
		event.kind = DATA_CREDITED;
		data_post_event(d, &event);
	} else if (m->kind == DAGRUN__DATA_KIND__CLOSE) {
		event.kind = DATA_CLOSED;
		event.error = m->error;
		data_post_event(d, &event);
	}
}

/* Whom to answer: under the name that the connection has, or as the message says. */
static bool find_peer(const struct data *d, zmq_msg_t *frames, size_t count, struct data_peer *ret)
{
	zmq_msg_t *from = d->seal ? &frames[count - 1] : &frames[0];
	size_t key_len = d->seal ? SEAL_KEY_LEN : 0, len = zmq_msg_size(from) - key_len;
	const unsigned char *bytes = zmq_msg_data(from);

	if (count != (d->seal ? 3 : 2) || len > sizeof(ret->identity) || (d->seal && len != FRAMES_NAME_LEN))
		return false;
	*ret = (struct data_peer){.identity_len = (uint32_t)len};
	memcpy(ret->identity, bytes, len);
	memcpy(ret->key, bytes + len, key_len);
	return true;
}

static void on_router_message(void *ctx, zmq_msg_t *frames, size_t count)
{
	struct data_peer peer;
	Dagrun__Data *m;
	size_t at = 0;

	if (!find_peer(ctx, frames, count, &peer))
		return;
	while ((m = frames_next(zmq_msg_data(&frames[1]), zmq_msg_size(&frames[1]), &at))) {
		on_request(ctx, &peer, m);
		dagrun__data__free_unpacked(m, NULL);
	}
}

/* Whoever it is: what is answered, only who drew the key can read. */
static void on_hello(void *ctx, zmq_msg_t *frames, size_t count)
{
	struct data *d = ctx;
	zmq_msg_t back[2];

	if (count != 2 || zmq_msg_size(&frames[1]))
		return;
	for (size_t i = 0; i < count; i++) {
		zmq_msg_init(&back[i]);
		zmq_msg_move(&back[i], &frames[i]);
	}
	wire_socket_send(d->answers, back, count);
}

/* ---- the loop ---- */

static void close_sockets(struct data *d)
{
	data_flush(d, NULL, 0);
	data_read_close(d);
	if (d->answers != d->router)
		wire_socket_destroy(&d->answers);
	wire_socket_destroy(&d->router);
	wire_loop_destroy(&d->wire);
}

/* Of blocks that were sent while others cannot be, since their reader takes none, the owner hears now. */
static void ring_late(struct event_queue *q)
{
	bool late;

	pthread_mutex_lock(&q->lock);
	late = q->count && !q->rung && !q->closed;
	q->rung = q->rung || late;
	pthread_mutex_unlock(&q->lock);
	if (late)
		os_bell_ring(q->bell.fd);
}

static void on_tick(uv_timer_t *tick)
{
	struct data *d = tick->data;

	data_read_tick(d);
	data_flush(d, NULL, 0);
	ring_late(&d->events);
}

static void unref(struct data *d)
{
	if (__atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL))
		return;
	free(d->commands.items);
	for (size_t i = 0; i < d->events.count; i++)
		drop_event(&d->events.items[i]);
	free(d->events.items);
	buffer_fini(&d->outbox.frame);
	hash_state_destroy(&d->before);
	seal_destroy(&d->seal);
	if (d->commands.bell.fd >= 0)
		close(d->commands.bell.fd);
	close(d->events.bell.fd);
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
		data_read_start(d, c);
		break;
	case COMMAND_CONSUMED:
		data_read_consumed(d, c->channel, c->count);
		break;
	case COMMAND_STOP:
		data_read_stop(d, c->channel, c->error);
		break;
	case COMMAND_GIVE:
		data_read_give(d, c);
		break;
	case COMMAND_QUIT:
		close_sockets(d);
		uv_close((uv_handle_t *)&d->tick, d->threaded ? NULL : drop_ref);
		if (d->threaded)
			uv_close((uv_handle_t *)&d->commands.bell.poll, NULL);
		else
			uv_close((uv_handle_t *)&d->commands.turn, drop_ref);
		break;
	}
	free(c->text);
}

static void run_commands(struct data *d)
{
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
	data_flush(d, NULL, 0);
	free(items);
}

static void on_commands(uv_poll_t *poll, int status, int events)
{
	struct data *d = poll->data;

	(void)status;
	(void)events;
	os_bell_hush(d->commands.bell.fd);
	run_commands(d);
}

static void on_turn(uv_idle_t *turn)
{
	uv_idle_stop(turn);
	run_commands(turn->data);
}

static void *run_thread(void *arg)
{
	struct data *d = arg;

	uv_run(&d->own_loop, UV_RUN_DEFAULT);
	uv_loop_close(&d->own_loop);
	return NULL;
}

/* A second socket, for answers that are sealed, on any port of the address; the endpoint names both. */
static int listen_for_answers(struct data *d, char **endpoint)
{
	char *any = base_format("%.*s:*", (int)(strrchr(*endpoint, ':') - *endpoint), *endpoint), *own, *both;
	int r;

	d->answers = wire_socket_new(d->wire, ZMQ_ROUTER, NULL, true, false, NULL, 0, on_hello, d);
	wire_socket_limit(d->answers, ANSWERS_IN_MAX);
	r = wire_socket_bind(d->answers, any, &own);
	free(any);
	if (r < 0)
		return r;
	both = base_format("%s+%s", *endpoint, strrchr(own, ':') + 1);
	free(own);
	free(*endpoint);
	*endpoint = both;
	return 0;
}

static int listen_at(struct data *d, const char *endpoint, char **ret_endpoint)
{
	int r;

	d->router = wire_socket_new(
		d->wire, ZMQ_ROUTER, d->local ? NULL : d->keys, true, true, NULL, 0, on_router_message, d);
	d->answers = d->router;
	r = wire_socket_bind(d->router, endpoint, ret_endpoint);
	return r == 0 && d->seal ? listen_for_answers(d, ret_endpoint) : r;
}

int data_new(uv_loop_t *loop, const struct wire_keys *keys, const char *endpoint, bool threaded,
	data_event_fn *on_event, void *ctx, struct data **ret_data, char **ret_endpoint)
{
	struct data *d = base_alloc(sizeof(*d));
	int r = 0;

	d->owner_loop = loop;
	d->before = hash_state_new();
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
	d->commands.bell.fd = -1;
	if (threaded) {
		bell_init(&d->commands.bell, d->loop, d);
		uv_poll_start(&d->commands.bell.poll, UV_READABLE, on_commands);
	} else {
		uv_idle_init(loop, &d->commands.turn);
		d->commands.turn.data = d;
	}
	bell_init(&d->events.bell, loop, d);
	uv_poll_start(&d->events.bell.poll, UV_READABLE, on_events);
	uv_timer_init(d->loop, &d->tick);
	d->tick.data = d;
	d->refs = threaded ? 1 : 3;
	uv_timer_start(&d->tick, on_tick, DATA_TICK_MS, DATA_TICK_MS);
	wire_loop_new(&d->wire, d->loop);
	d->local = endpoint && wire_is_inproc(endpoint);
	if (keys && !d->local)
		seal_new(&d->seal);
	if (endpoint)
		r = listen_at(d, endpoint, ret_endpoint);
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
		run_commands(d);
		run_command(d, &(struct command){.kind = COMMAND_QUIT});
	}
	uv_close((uv_handle_t *)&d->events.bell.poll, drop_ref);
	*data = NULL;
}

void data_lend(struct data *d)
{
	d->lends = true;
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

void data_stop(struct data *d, uint64_t channel, bool failed)
{
	post_command(d, &(struct command){
				.kind = COMMAND_STOP, .channel = channel, .error = failed ? DAG_EFAILED : 0});
}

void data_give_segment(struct data *d, uint32_t segment, void *base, uint64_t size)
{
	post_command(
		d, &(struct command){.kind = COMMAND_GIVE, .segment = segment, .base = base, .count = size});
}
