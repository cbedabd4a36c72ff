/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels that are read from other nodes: a struct fetch for each, which decides; blocks are copied once,
 * from ZeroMQ's memory to the owner's segments.
 */
#include "data_internal.h"
#include "os/os.h"

#define DAMAGED_MAX 5 /* times in a row */
#define ROOM_AHEAD 3u /* blocks: with room for fewer, the next segment is asked for */

static void forget_reading(struct data *d, struct reading *r)
{
	HASH_DEL(d->readings, r);
	r->dealer->reading_count--;
	hash_state_destroy(&r->hash);
	free(r);
}

static void fail_reading(struct data *d, struct reading *r, int error, const char *text)
{
	data_post_event(d, &(struct data_event){.kind = DATA_FAILED,
				   .channel = r->channel,
				   .error = error,
				   .text = base_strdup(text)});
	forget_reading(d, r);
}

static void send_request(struct data *d, struct reading *r, Dagrun__DataKind kind, int error)
{
	Dagrun__Data m = DAGRUN__DATA__INIT;

	if (!r->dealer->reached)
		return; /* it knows nothing of this channel yet, and is asked when it is */
	m.kind = kind;
	m.channel = r->channel;
	m.credit = r->fetch.credit;
	m.bytes = r->fetch.consumed;
	m.error = error;
	if (kind == DAGRUN__DATA_KIND__OPEN) {
		m.job = r->open.job;
		m.vertex = r->open.vertex;
		m.attempt = r->open.attempt;
		m.stream = r->open.stream;
		m.part = r->open.part;
		m.reader = r->open.reader;
		m.reader_port = r->open.reader_port;
		m.live = r->open.live;
		m.seq = r->fetch.next;
	}
	data_put(d, r->dealer->socket, &r->dealer->self, &m);
}

static struct reading *find_reading(struct data *d, uint64_t channel)
{
	struct reading *r;

	HASH_FIND(hh, d->readings, &channel, sizeof(channel), r);
	return r;
}

static void ask_for_room(struct data *d, uint64_t bytes)
{
	if (!d->asked)
		data_post_event(d, &(struct data_event){.kind = DATA_NEED_SEGMENT, .bytes = bytes});
	d->asked = true;
}

static bool has_room(const struct room *room, uint64_t bytes)
{
	return room->base && room->size - room->used >= bytes;
}

/* NULL where a segment must come first. */
static unsigned char *find_room(struct data *d, uint32_t length)
{
	while (d->room.base && !has_room(&d->room, block_room(length))) {
		data_post_event(d,
			&(struct data_event){.kind = DATA_SEGMENT_FULL, .ref = {.segment = d->room.segment}});
		d->room = d->next;
		d->next.base = NULL;
	}
	if (d->room.base)
		return d->room.base + d->room.used;
	ask_for_room(d, block_room(length));
	return NULL;
}

/* Tells of a block that was copied to where there was room. Those that follow shall not have to wait for a
 * segment: to be copied later costs twice as much. */
static void put_block(struct data *d, const struct reading *r, const struct block_header *h)
{
	data_post_event(d, &(struct data_event){.kind = DATA_BLOCK,
				   .channel = r->channel,
				   .seq = h->seq,
				   .ref = {d->room.segment, h->records, d->room.used, h->length, h->kind,
					   h->running && !r->dealer->local}});
	d->room.used += block_room(h->length);
	if (!has_room(&d->room, ROOM_AHEAD * block_room(h->length)) && !d->next.base)
		ask_for_room(d, block_room(h->length));
}

static void lend_block(struct data *d, const struct reading *r, struct arrived *a)
{
	const struct block_header *h = &a->header;
	zmq_msg_t *message = base_alloc(sizeof(*message));

	frames_keep(a, message);
	data_post_event(d, &(struct data_event){.kind = DATA_BLOCK,
				   .channel = r->channel,
				   .seq = h->seq,
				   .ref = {.records = h->records, .length = h->length, .kind = h->kind},
				   .lent = zmq_msg_data(message),
				   .message = message});
}

/* The hash goes on with the block; false, and as it was, where the block is not the one that was written. */
static bool hash_payload(struct data *d, struct reading *r, const struct arrived *a, unsigned char *room)
{
	const struct block_header *h = &a->header;

	if (!r->hash)
		r->hash = hash_state_new();
	hash_state_set(d->before, r->hash);
	if (room)
		hash_state_copy(r->hash, room, a->payload, h->length);
	else
		hash_state_update(r->hash, a->payload, h->length);
	if (hash_state_digest(r->hash).low == h->checksum)
		return true;
	hash_state_set(r->hash, d->before);
	return false;
}

/* False where the payload was damaged on its way. It is copied to `room` where that is not NULL. */
static bool take_payload(struct data *d, struct reading *r, const struct arrived *a, unsigned char *room)
{
	const struct block_header *h = &a->header;

	if (h->running && !r->dealer->local)
		return hash_payload(d, r, a, room);
	if (room)
		base_copy(room, a->payload, h->length);
	return r->dealer->local || h->checksum == hash_64(a->payload, h->length);
}

/* Once more; but what is always damaged is so where it lies. */
static void on_damaged(struct data *d, struct reading *r)
{
	if (++r->damaged < DAMAGED_MAX)
		send_request(d, r, DAGRUN__DATA_KIND__OPEN, 0);
	else
		fail_reading(d, r, DAG_ECORRUPT, "a block is damaged each time that it comes");
}

static void wait_for_room(struct data *d, const struct reading *r, struct arrived *a)
{
	struct waiting *w = DAG_APPEND(d->waiting, d->waiting_count, d->waiting_cap);

	*w = (struct waiting){.channel = r->channel, .header = a->header};
	frames_keep(a, &w->payload);
}

static void on_block(struct data *d, struct reading *r, const Dagrun__Data *m, zmq_msg_t *more)
{
	struct arrived a;
	unsigned char *room = NULL;
	bool whole = frames_block(m, more, r->dealer->answers ? SEAL_TAG_LEN : 0, &a);

	if (whole && m->seq == r->fetch.next) {
		if (!d->lends && !d->waiting_count)
			room = find_room(d, a.header.length);
		whole = take_payload(d, r, &a, room);
	}
	if (!whole) {
		on_damaged(d, r);
		return;
	}
	switch (fetch_on_block(&r->fetch, m->seq, a.header.length, os_now())) {
	case FETCH_IGNORE:
		return;
	case FETCH_ASK_AGAIN:
		/* Blocks that follow the gap would each ask; the silence that comes now asks once. */
		if (r->fetch.last_progress + DAG_SECOND / 10 < os_now())
			send_request(d, r, DAGRUN__DATA_KIND__OPEN, 0);
		return;
	case FETCH_TAKE:
		break;
	}
	r->damaged = 0;
	if (d->lends)
		lend_block(d, r, &a);
	else if (room)
		put_block(d, r, &a.header);
	else
		wait_for_room(d, r, &a);
}

static void on_end(struct data *d, struct reading *r, const Dagrun__Data *m)
{
	struct data_event event = {.kind = DATA_END,
		.channel = r->channel,
		.checked = m->checked,
		.end = {m->records, m->bytes, {m->hash_low, m->hash_high}}};

	switch (fetch_on_end(&r->fetch, m->blocks, os_now())) {
	case FETCH_ASK_AGAIN:
		send_request(d, r, DAGRUN__DATA_KIND__OPEN, 0);
		return;
	case FETCH_IGNORE:
		return;
	case FETCH_TAKE:
		break;
	}
	if (r->hash && m->checked && !hash_equal(hash_state_digest(r->hash), event.end.hash)) {
		fail_reading(d, r, DAG_ECORRUPT, "what came is not what the producer wrote");
		return;
	}
	/* Blocks that wait for memory must be told first. */
	for (size_t i = 0; i < d->waiting_count; i++)
		if (d->waiting[i].channel == r->channel) {
			*DAG_APPEND(d->waiting, d->waiting_count, d->waiting_cap) =
				(struct waiting){.channel = r->channel, .is_end = true, .end = event};
			return;
		}
	data_post_event(d, &event);
}

static void on_answers(struct dealer *dealer, const void *first, size_t len, zmq_msg_t *more)
{
	struct data *d = dealer->data;
	Dagrun__Data *m;
	size_t at = 0;

	while ((m = frames_next(first, len, &at))) {
		struct reading *r = find_reading(d, m->channel);

		if (r && m->kind == DAGRUN__DATA_KIND__BLOCK)
			on_block(d, r, m, m->header.len ? NULL : more);
		else if (r && m->kind == DAGRUN__DATA_KIND__END)
			on_end(d, r, m);
		else if (r && m->kind == DAGRUN__DATA_KIND__ERROR)
			fail_reading(d, r, m->error < 0 ? m->error : DAG_EPROTO, m->text);
		dagrun__data__free_unpacked(m, NULL);
	}
	data_flush(d, NULL, 0);
}

static void on_reached(struct dealer *dealer)
{
	struct data *d = dealer->data;
	struct reading *r, *next;

	if (dealer->reached)
		return;
	dealer->reached = true;
	HASH_ITER(hh, d->readings, r, next)
		if (r->dealer == dealer)
			send_request(d, r, DAGRUN__DATA_KIND__OPEN, 0);
	data_flush(d, NULL, 0);
}

/* What it sends under our old name goes nowhere; it shall not hold it until the job ends. */
static void on_left(struct dealer *dealer, const struct data_peer *old)
{
	struct data *d = dealer->data;
	struct reading *r, *next;

	HASH_ITER(hh, d->readings, r, next) {
		Dagrun__Data m = DAGRUN__DATA__INIT;

		if (r->dealer != dealer)
			continue;
		m.kind = DAGRUN__DATA_KIND__CLOSE;
		m.channel = r->channel;
		m.error = DAG_EUNREACHABLE;
		data_put(d, dealer->socket, old, &m);
	}
	data_flush(d, NULL, 0);
}

static const struct dealer_events dealer_events = {on_reached, on_answers, on_left};

/* False where it must wait longer. */
static bool place(struct data *d, const struct waiting *w)
{
	const struct reading *r = find_reading(d, w->channel);
	unsigned char *room;

	if (r && w->is_end) {
		data_post_event(d, &w->end);
	} else if (r) {
		room = find_room(d, w->header.length);
		if (!room)
			return false;
		base_copy(room, zmq_msg_data((zmq_msg_t *)&w->payload), w->header.length);
		put_block(d, r, &w->header);
	}
	return true;
}

static void forget_waiting(struct waiting *w)
{
	if (!w->is_end)
		zmq_msg_close(&w->payload);
}

static void place_waiting(struct data *d)
{
	size_t done = 0;

	for (; done < d->waiting_count && place(d, &d->waiting[done]); done++)
		forget_waiting(&d->waiting[done]);
	d->waiting_count -= done;
	if (d->waiting_count)
		memmove(d->waiting, d->waiting + done, d->waiting_count * sizeof(*d->waiting));
}

void data_read_give(struct data *d, const struct command *c)
{
	d->asked = false;
	if (c->base) {
		*(d->room.base ? &d->next : &d->room) = (struct room){c->segment, c->base, 0, c->count};
		place_waiting(d);
		return;
	}
	while (d->waiting_count) {
		struct waiting *w = &d->waiting[--d->waiting_count];
		struct reading *r = find_reading(d, w->channel);

		forget_waiting(w);
		if (r)
			fail_reading(d, r, DAG_ENOSPC, "the node's spool is full");
	}
}

void data_read_start(struct data *d, const struct command *c)
{
	struct reading *r = base_alloc(sizeof(*r));

	r->channel = c->channel;
	r->open = c->open;
	r->dealer = dealer_find(d, c->text, &dealer_events);
	fetch_init(&r->fetch, c->open.credit, c->open.live, os_now());
	dealer_use(r->dealer);
	HASH_ADD(hh, d->readings, channel, sizeof(r->channel), r);
	send_request(d, r, DAGRUN__DATA_KIND__OPEN, 0);
}

void data_read_tick(struct data *d)
{
	struct dealer *dealer, *next_dealer;
	struct reading *r, *next;
	dag_instant now = os_now();

	HASH_ITER(hh, d->dealers, dealer, next_dealer)
		dealer_tick(dealer, now);
	HASH_ITER(hh, d->readings, r, next)
		switch (fetch_tick(&r->fetch, os_now())) {
		case FETCH_OPEN:
			send_request(d, r, DAGRUN__DATA_KIND__OPEN, 0);
			break;
		case FETCH_UNREACHABLE:
			fail_reading(d, r, DAG_EUNREACHABLE, "the node that holds the data does not answer");
			break;
		default:
			break;
		}
}

void data_read_consumed(struct data *d, uint64_t channel, uint64_t bytes)
{
	struct reading *r = find_reading(d, channel);

	if (r && fetch_consumed(&r->fetch, bytes) == FETCH_CREDIT)
		send_request(d, r, DAGRUN__DATA_KIND__CREDIT, 0);
}

void data_read_stop(struct data *d, uint64_t channel, int error)
{
	struct reading *r = find_reading(d, channel);

	if (!r)
		return;
	send_request(d, r, DAGRUN__DATA_KIND__CLOSE, error);
	forget_reading(d, r);
}

void data_read_close(struct data *d)
{
	struct dealer *dealer, *next_dealer;
	struct reading *r, *next;

	HASH_ITER(hh, d->readings, r, next)
		forget_reading(d, r);
	HASH_ITER(hh, d->dealers, dealer, next_dealer)
		dealer_destroy(dealer);
	for (size_t i = 0; i < d->waiting_count; i++)
		forget_waiting(&d->waiting[i]);
	free(d->waiting);
}
