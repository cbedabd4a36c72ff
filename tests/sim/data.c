/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels between nodes: an output is a few numbered blocks whose sum is its value; they go as far as credit
 * goes, may be lost on their way, and are asked for again. What is counted is counted by the real cores: of a
 * reader (channel/core/fetch.c), and of a pipe at its writer's end (channel/core/live.c).
 */
#include "node.h"

#define BLOCK_LEN 1000u
#define WINDOW (2u * BLOCK_LEN)
#define PARKED_MAX (10 * DAG_SECOND)
#define BLOCKS_MAX 4u
#define SMALL 2000u /* vertices; in larger graphs an output is one block */

uint32_t data_blocks(const struct sim *s, uint32_t vertex)
{
	return s->use->vertex_count > SMALL ? 1 : 1 + vertex % BLOCKS_MAX;
}

uint64_t data_piece(const struct sim *s, uint32_t vertex, uint64_t value, uint64_t i)
{
	uint32_t last = data_blocks(s, vertex) - 1;
	struct prng p = {(uint64_t)vertex << 8 | i};

	if (i < last)
		return prng_next(&p);
	for (uint32_t j = 0; j < last; j++) {
		p.state = (uint64_t)vertex << 8 | j;
		value ^= prng_next(&p);
	}
	return value;
}

/* ---- reading ---- */

void reading_begin(struct sim_reading *r, bool live, dag_instant now)
{
	*r = (struct sim_reading){.live = live};
	fetch_init(&r->fetch, WINDOW, live, now);
}

void reading_ask(
	struct sim *s, uint32_t self, uint32_t to, const struct sim_reading *r, bool open, Dagrun__Data *d)
{
	d->kind = open ? DAGRUN__DATA_KIND__OPEN : DAGRUN__DATA_KIND__CREDIT;
	d->live = r->live;
	d->seq = r->fetch.next;
	d->credit = r->fetch.credit;
	d->bytes = r->fetch.consumed;
	connections_use(s, self, to);
	sim_send_data(s, self, to, true, d);
}

enum reading_verdict reading_take(struct sim *s, struct sim_reading *r, const Dagrun__Data *d)
{
	bool block = d->kind == DAGRUN__DATA_KIND__BLOCK;

	if (d->kind == DAGRUN__DATA_KIND__ERROR)
		return READING_FAILED;
	switch (block ? fetch_on_block(&r->fetch, d->seq, BLOCK_LEN, s->now)
		      : fetch_on_end(&r->fetch, d->blocks, s->now)) {
	case FETCH_ASK_AGAIN:
		sim_probe(s, PROBE_gap);
		return READING_AGAIN;
	case FETCH_IGNORE:
		return READING_GOES_ON;
	case FETCH_TAKE:
		break;
	}
	if (!block)
		return r->sum == d->hash_high ? READING_DONE : READING_DAMAGED;
	r->sum ^= d->hash_low;
	return fetch_consumed(&r->fetch, r->fetch.bytes) == FETCH_CREDIT ? READING_CREDIT : READING_GOES_ON;
}

/* ---- serving ---- */

static void send(struct sim *s, uint32_t self, const struct reader *to, Dagrun__Data *d)
{
	d->channel = to->channel;
	d->vertex = to->key.vertex;
	d->attempt = to->key.number;
	sim_send_data(s, self, to->process, false, d);
}

static void send_error(struct sim *s, uint32_t self, const struct reader *to)
{
	Dagrun__Data d = DAGRUN__DATA__INIT;

	d.kind = DAGRUN__DATA_KIND__ERROR;
	d.error = DAG_EMISSING;
	send(s, self, to, &d);
}

static void send_block(struct sim *s, uint32_t self, const struct attempt *a, struct serving *v, uint64_t seq)
{
	Dagrun__Data d = DAGRUN__DATA__INIT;

	d.kind = DAGRUN__DATA_KIND__BLOCK;
	d.seq = seq;
	d.hash_low = data_piece(s, a->key.vertex, a->value, seq) ^ (a->damaged && !seq ? 4 : 0);
	send(s, self, &v->reader, &d);
	v->sent += BLOCK_LEN;
}

static void send_end(struct sim *s, uint32_t self, const struct attempt *a, struct serving *v)
{
	Dagrun__Data d = DAGRUN__DATA__INIT;

	d.kind = DAGRUN__DATA_KIND__END;
	d.blocks = data_blocks(s, a->key.vertex);
	d.hash_high = a->value;
	send(s, self, &v->reader, &d);
	v->ended = true;
}

static struct pipe *pipe_of(struct attempt *a, const struct reader *r)
{
	struct pipe *p;

	for (size_t i = 0; i < a->pipe_count; i++)
		if (a->pipes[i].vertex == r->key.vertex && a->pipes[i].channel == r->channel)
			return &a->pipes[i];
	p = DAG_APPEND(a->pipes, a->pipe_count, a->pipe_cap);
	p->vertex = r->key.vertex;
	p->channel = r->channel;
	live_init(&p->part, 1, UINT64_MAX);
	for (uint32_t i = 0; i < a->emitted; i++)
		live_append(&p->part, &(struct block_ref){.length = BLOCK_LEN});
	return p;
}

/* What is read may go, of half of all. */
static void release(struct sim *s, struct attempt *a, struct pipe *p)
{
	struct prng prng = {s->options.seed ^ a->instance << 16};
	struct block_ref ref;

	p->part.kept = prng_below(&prng, 2);
	while (live_release(&p->part, &ref))
		;
}

/* The number stands for the reader's attempt. */
static void *owner_of(const struct reader *r)
{
	return (void *)(uintptr_t)r->key.number;
}

static void pump(struct sim *s, uint32_t self, struct attempt *a, struct serving *v)
{
	uint32_t blocks = data_blocks(s, a->key.vertex);
	struct live_reader *reader = NULL;
	struct block_ref ref;
	uint64_t seq;

	if (v->live)
		reader = live_find(&pipe_of(a, &v->reader)->part, owner_of(&v->reader));
	while (v->live && reader && v->sent < v->credit &&
		live_next(&pipe_of(a, &v->reader)->part, reader, &ref, &seq))
		send_block(s, self, a, v, seq);
	while (!v->live && v->next < blocks && v->sent < v->credit)
		send_block(s, self, a, v, v->next++);
	if (a->state == SEALED && !v->ended &&
		(v->live ? reader && reader->next == blocks : v->next == blocks))
		send_end(s, self, a, v);
}

static bool is_same(const struct reader *a, const struct reader *b)
{
	return a->process == b->process && a->channel == b->channel && a->key.vertex == b->key.vertex &&
	       a->key.number == b->key.number;
}

static struct serving *find_serving(struct attempt *a, const struct reader *r)
{
	for (size_t i = 0; i < a->serving_count; i++)
		if (is_same(&a->servings[i].reader, r))
			return &a->servings[i];
	return NULL;
}

/* The reader's place in a pipe; another attempt of it takes that over. */
static int attach(struct attempt *a, const struct reader *r, uint64_t seq)
{
	struct live_part *part = &pipe_of(a, r)->part;
	struct live_reader *old = live_find_vertex(part, r->key.vertex, (uint32_t)r->channel);

	if (old && old->owner != owner_of(r))
		live_leave(part, old);
	return live_attach(part, owner_of(r), r->key.vertex, (uint32_t)r->channel, seq);
}

static void serve(struct sim *s, uint32_t self, struct attempt *a, const struct reader *r, bool live,
	uint64_t seq, uint64_t credit)
{
	struct serving *v = find_serving(a, r);

	if (live && attach(a, r, seq) < 0) {
		sim_probe(s, PROBE_alone_gone);
		send_error(s, self, r);
		return;
	}
	if (!v) {
		v = DAG_APPEND(a->servings, a->serving_count, a->serving_cap);
		v->reader = *r;
		v->live = live;
	}
	v->credit = DAG_MAX(v->credit, credit);
	v->ended = false;
	v->next = seq;
	v->sent = seq * BLOCK_LEN;
	pump(s, self, a, v);
}

static struct reader reader_of(uint32_t from, const Dagrun__Data *d)
{
	return (struct reader){from, {d->reader, d->reader_port}, d->channel};
}

static void park(struct sim *s, uint32_t self, const struct reader *r, const Dagrun__Data *d)
{
	struct sim_node *n = node_of(s, self);

	for (size_t i = 0; i < n->parked_count; i++)
		if (is_same(&n->parked[i].reader, r))
			return;
	*DAG_APPEND(n->parked, n->parked_count, n->parked_cap) =
		(struct parked){*r, {d->vertex, d->attempt}, d->seq, d->credit, s->now};
}

void data_on_open(struct sim *s, uint32_t self, uint32_t from, const Dagrun__Data *d)
{
	struct attempt *a = node_find(node_of(s, self), (struct key){d->vertex, d->attempt});
	struct reader r = reader_of(from, d);

	if (a && a->state == SEALED && d->stream < GRAPH_PORTS_MAX && d->part < a->trimmed[d->stream]) {
		sim_probe(s, PROBE_trimmed_read);
		send_error(s, self, &r);
	} else if (a && (a->state == SEALED || (d->live && a->state != FAILED)))
		serve(s, self, a, &r, d->live, d->seq, d->credit);
	else if (!a && d->live)
		park(s, self, &r, d);
	else
		send_error(s, self, &r);
}

void data_on_credit(struct sim *s, uint32_t self, uint32_t from, const Dagrun__Data *d)
{
	struct attempt *a = node_find(node_of(s, self), (struct key){d->vertex, d->attempt});
	struct reader r = reader_of(from, d);
	struct serving *v = a ? find_serving(a, &r) : NULL;
	struct live_reader *reader;

	if (!v)
		return;
	v->credit = DAG_MAX(v->credit, d->credit);
	if (v->live) {
		struct pipe *p = pipe_of(a, &r);

		reader = live_find(&p->part, owner_of(&r));
		if (reader)
			live_consumed(&p->part, reader, d->bytes);
		release(s, a, p);
	}
	pump(s, self, a, v);
}

/* ---- the writer ---- */

void data_started(struct sim *s, uint32_t self, struct attempt *a)
{
	struct sim_node *n = node_of(s, self);

	for (size_t i = 0; i < n->parked_count;) {
		struct parked p = n->parked[i];

		if (memcmp(&p.key, &a->key, sizeof(p.key))) {
			i++;
			continue;
		}
		n->parked[i] = n->parked[--n->parked_count];
		serve(s, self, a, &p.reader, true, p.seq, p.credit);
	}
}

void data_emit(struct sim *s, uint32_t self, struct attempt *a)
{
	a->emitted++;
	for (size_t i = 0; i < a->pipe_count; i++)
		live_append(&a->pipes[i].part, &(struct block_ref){.length = BLOCK_LEN});
	for (size_t i = 0; i < a->serving_count; i++)
		pump(s, self, a, &a->servings[i]);
}

void data_sealed(struct sim *s, uint32_t self, struct attempt *a)
{
	while (a->emitted < data_blocks(s, a->key.vertex))
		data_emit(s, self, a);
	for (size_t i = 0; i < a->serving_count; i++)
		pump(s, self, a, &a->servings[i]);
}

void data_abandon(struct sim *s, uint32_t self, struct key key)
{
	struct sim_node *n = node_of(s, self);
	struct attempt *a = node_find(n, key);

	for (size_t i = 0; a && i < a->serving_count; i++)
		if (a->servings[i].live && !a->servings[i].ended)
			send_error(s, self, &a->servings[i].reader);
	for (size_t i = 0; i < n->parked_count;) {
		if (memcmp(&n->parked[i].key, &key, sizeof(key))) {
			i++;
			continue;
		}
		send_error(s, self, &n->parked[i].reader);
		n->parked[i] = n->parked[--n->parked_count];
	}
}

void data_free(struct attempt *a)
{
	for (size_t i = 0; i < a->pipe_count; i++)
		live_fini(&a->pipes[i].part);
	free(a->pipes);
	free(a->servings);
}

void data_tick(struct sim *s, uint32_t self)
{
	struct sim_node *n = node_of(s, self);

	for (size_t i = 0; i < n->parked_count;) {
		if (s->now - n->parked[i].since < PARKED_MAX) {
			i++;
			continue;
		}
		send_error(s, self, &n->parked[i].reader);
		n->parked[i] = n->parked[--n->parked_count];
	}
}
