/* SPDX-License-Identifier: Apache-2.0 */
/* An attempt's life: it waits for a slot and for its inputs, takes a while, and then seals a value. */
#include "node.h"
#include "base/hash.h"
#include "graph/graph.h"

#define LOOK_AGAIN (500 * DAG_MS)

struct attempt *node_find(struct sim_node *n, struct key key)
{
	struct attempt *a;

	HASH_FIND(hh, n->attempts, &key, sizeof(key), a);
	return a;
}

void node_unqueue(struct sim_node *n, size_t at)
{
	n->queue_count--;
	memmove(n->queue + at, n->queue + at + 1, (n->queue_count - at) * sizeof(*n->queue));
}

void node_forget(struct sim_node *n, struct attempt *a)
{
	for (size_t i = 0; i < n->queue_count; i++)
		if (n->queue[i] == a) {
			node_unqueue(n, i);
			break;
		}
	if (a->state == RUNNING)
		n->used -= a->shares;
	HASH_DEL(n->attempts, a);
	data_free(a);
	free(a->inputs);
	free(a);
}

uint64_t node_inputs(const struct attempt *a)
{
	struct buffer pairs = {0};
	uint64_t digest;

	for (size_t i = 0; i < a->input_count; i++) {
		uint32_t pair[2] = {a->inputs[i].vertex, a->inputs[i].attempt};

		if (!a->inputs[i].source && !a->inputs[i].again)
			buffer_append(&pairs, pair, sizeof(pair));
	}
	digest = hash_pairs((uint32_t *)pairs.data, pairs.len / (2 * sizeof(uint32_t)));
	buffer_fini(&pairs);
	return digest;
}

void node_tell(struct sim *s, uint32_t self, const struct attempt *a)
{
	struct sim_node *n = node_of(s, self);
	Dagrun__DoneBatch batch = DAGRUN__DONE_BATCH__INIT;
	Dagrun__Done done = DAGRUN__DONE__INIT, *items[] = {&done};
	SIM_ENVELOPE(e, DONE);

	done.vertex = a->key.vertex;
	done.attempt = a->key.number;
	done.error = a->error;
	done.signal = a->signal;
	done.text = (char *)(a->text ? a->text : "");
	if (a->blamed) {
		done.blamed = true;
		done.blamed_vertex = a->inputs[a->blamed - 1].vertex;
		done.blamed_attempt = a->inputs[a->blamed - 1].attempt;
	}
	done.hash_low = done.hash_high = a->value;
	done.bytes = 1000;
	done.run_ns = a->run_ns;
	done.inputs = node_inputs(a);
	batch.n_done = 1;
	batch.done = items;
	e.done = &batch;
	sim_send(s, self, &n->manager, &e);
}

void node_end(struct sim *s, uint32_t self, struct attempt *a, int error, const char *text)
{
	struct sim_node *n = node_of(s, self);

	n->used -= a->shares;
	a->state = error ? FAILED : SEALED;
	a->error = error;
	a->text = text;
	a->run_ns = s->now - a->started;
	sim_trace(s, "n%u: %u attempt %x %s %s", self - SIM_FIRST_NODE, a->key.vertex, a->key.number,
		error ? "fails" : "seals", text ? text : "");
	if (!error) {
		uint32_t *vertices = base_alloc((a->input_count + 1) * sizeof(*vertices)),
			 *attempts = base_alloc((a->input_count + 1) * sizeof(*attempts));

		for (size_t i = 0; i < a->input_count; i++) {
			vertices[i] = a->inputs[i].vertex;
			attempts[i] = a->inputs[i].attempt;
		}
		oracle_sealed(s, a->key.vertex, a->key.number, a->value, vertices, attempts, a->input_count);
		free(vertices);
		free(attempts);
	}
	if (error)
		data_abandon(s, self, a->key);
	else
		data_sealed(s, self, a);
	node_tell(s, self, a);
	node_run(s, self);
}

/* Vertices that give other bytes each time, drawn by the seed. */
static bool is_erratic(struct sim *s, uint32_t vertex)
{
	struct prng p = {s->options.seed ^ (uint64_t)vertex << 20};

	return s->faults[FAULT_NOT_DETERMINISTIC] && prng_below(&p, 1000) < s->rate[FAULT_NOT_DETERMINISTIC];
}

void node_finish_if_whole(struct sim *s, uint32_t self, struct attempt *a)
{
	struct sim_node *n = node_of(s, self);
	uint64_t *values;

	if (!a->computed)
		return;
	for (size_t i = 0; i < a->input_count; i++)
		if (!a->inputs[i].have)
			return;
	if (n->full) {
		sim_probe(s, PROBE_disk_full);
		node_end(s, self, a, DAG_ENOSPC, "no space left");
		return;
	}
	values = base_alloc((a->input_count + 1) * sizeof(*values));
	for (size_t i = 0; i < a->input_count; i++)
		values[i] = channel_value(a->inputs[i].value, a->inputs[i].part);
	a->value = vertex_value(a->key.vertex, values, a->input_count);
	if (is_erratic(s, a->key.vertex))
		a->value ^= a->key.number * 0x9e3779b97f4a7c15u;
	free(values);
	node_end(s, self, a, 0, NULL);
}

static struct attempt *of_timer(struct sim *s, uint32_t self, uint64_t key, uint64_t instance)
{
	struct attempt *a = node_find(node_of(s, self), (struct key){(uint32_t)(key >> 32), (uint32_t)key});

	return a && a->state == RUNNING && a->instance == instance ? a : NULL;
}

static uint64_t key_of(const struct attempt *a)
{
	return (uint64_t)a->key.vertex << 32 | a->key.number;
}

static void on_computed(struct sim *s, uint32_t self, uint64_t key, uint64_t instance)
{
	struct attempt *a = of_timer(s, self, key, instance);

	if (!a)
		return;
	a->computed = true;
	node_finish_if_whole(s, self, a);
}

static void on_timeout(struct sim *s, uint32_t self, uint64_t key, uint64_t instance)
{
	struct attempt *a = of_timer(s, self, key, instance);

	if (!a)
		return;
	sim_probe(s, PROBE_timed_out);
	node_end(s, self, a, DAG_ETIMEDOUT, "its time is over");
}

static void on_vertex_crash(struct sim *s, uint32_t self, uint64_t key, uint64_t instance)
{
	struct attempt *a = of_timer(s, self, key, instance);

	if (!a)
		return;
	a->signal = 9;
	node_end(s, self, a, DAG_ESIGNAL, "killed by signal 9");
}

/* 0: it is read from nobody, or of a node that is not known here. */
static uint32_t peer_of(const struct sim_node *n, const struct input *in)
{
	return !in->source && in->node < n->peer_count ? n->peers[in->node] : 0;
}

static void ask(struct sim *s, uint32_t self, const struct attempt *a, size_t i, bool open)
{
	const struct sim_node *n = node_of(s, self);
	const struct input *in = &a->inputs[i];
	Dagrun__Data d = DAGRUN__DATA__INIT;

	d.vertex = in->vertex;
	d.attempt = in->attempt;
	d.channel = i;
	d.reader = a->key.vertex;
	d.reader_port = a->key.number;
	d.stream = in->stream;
	d.part = in->part;
	if (peer_of(n, in))
		reading_ask(s, self, peer_of(n, in), &in->reading, open, &d);
}

void node_look_at_links(struct sim *s, uint32_t self)
{
	struct sim_node *n = node_of(s, self);
	bool *wanted = base_alloc(s->process_count * sizeof(*wanted));

	for (struct attempt *a = n->attempts; a; a = a->hh.next)
		for (size_t i = 0; i < a->input_count && a->state == RUNNING; i++)
			if (!a->inputs[i].have && peer_of(n, &a->inputs[i]))
				wanted[peer_of(n, &a->inputs[i])] = true;
	for (uint32_t peer = SIM_FIRST_NODE; peer < s->process_count; peer++) {
		if (!connections_data_is_over(s, self, peer, wanted[peer]))
			continue;
		for (struct attempt *a = n->attempts; a; a = a->hh.next)
			for (size_t i = 0; i < a->input_count && a->state == RUNNING; i++)
				if (!a->inputs[i].have && peer_of(n, &a->inputs[i]) == peer)
					ask(s, self, a, i, true);
	}
	free(wanted);
}

static void on_input(struct sim *s, uint32_t self, struct attempt *a, size_t i, const Dagrun__Data *d)
{
	struct input *in = &a->inputs[i];
	enum reading_verdict verdict;

	if (in->have)
		return;
	verdict = reading_take(s, &in->reading, d);
	if (verdict == READING_AGAIN || verdict == READING_CREDIT)
		ask(s, self, a, i, verdict == READING_AGAIN);
	if (verdict < READING_DONE)
		return;
	if (verdict == READING_DONE) {
		in->have = true;
		in->value = in->reading.sum;
		node_finish_if_whole(s, self, a);
		return;
	}
	a->blamed = i + 1;
	node_end(s, self, a, verdict == READING_DAMAGED ? DAG_ECORRUPT : d->error, "its input");
}

static void look_at_inputs(struct sim *s, uint32_t self, uint64_t key, uint64_t instance)
{
	struct attempt *a = of_timer(s, self, key, instance);
	bool waiting = false;

	for (size_t i = 0; a && i < a->input_count; i++) {
		enum fetch_action action =
			a->inputs[i].have ? FETCH_NOTHING : fetch_tick(&a->inputs[i].reading.fetch, s->now);

		waiting = waiting || !a->inputs[i].have;
		if (action == FETCH_OPEN)
			ask(s, self, a, i, true);
		if (action == FETCH_UNREACHABLE) {
			if (s->only_mute)
				sim_violate(s, "mute links made an input unreachable");
			a->blamed = i + 1;
			node_end(s, self, a, DAG_EUNREACHABLE, "its input's node does not answer");
			return;
		}
	}
	if (waiting)
		sim_call(s, LOOK_AGAIN, self, true, look_at_inputs, key, instance);
}

/* A block of what a pipe carries, while the vertex runs. */
static void on_emit(struct sim *s, uint32_t self, uint64_t key, uint64_t instance)
{
	struct attempt *a = of_timer(s, self, key, instance);

	if (a)
		data_emit(s, self, a);
}

static bool feeds_pipe(const struct sim *s, uint32_t vertex)
{
	for (size_t i = 0; i < s->use->edge_count; i++)
		if (s->use->edges[i]->from == s->use->vertex_stage[vertex] &&
			(s->use->edges[i]->channel == GRAPH_PIPE || s->use->edges[i]->channel == GRAPH_FIFO))
			return true;
	return false;
}

static dag_instant draw_time(struct sim *s, uint32_t vertex)
{
	struct prng p = {s->options.seed + s->use->vertex_stage[vertex]};
	dag_instant base = s->options.vertex_time ? s->options.vertex_time
						  : (20 + (dag_instant)prng_below(&p, 1500)) * DAG_MS;
	struct prng short_ones = {s->options.seed ^ 0xc4a1};

	/* In a quarter of the runs they are so short that they are started one behind the other. */
	if (!s->options.vertex_time && prng_below(&short_ones, 4) == 0)
		base /= 1000;
	return base / 2 + (dag_instant)sim_draw(s, (uint64_t)base);
}

static void start_attempt(struct sim *s, uint32_t self, struct attempt *a)
{
	struct sim_node *n = node_of(s, self);
	dag_instant time = draw_time(s, a->key.vertex);
	uint64_t key = key_of(a), instance = a->instance;

	sim_trace(s, "n%u: %u attempt %x runs", self - SIM_FIRST_NODE, a->key.vertex, a->key.number);
	a->state = RUNNING;
	a->started = s->now;
	n->used += a->shares;
	s->attempts++;
	if (sim_chance(s, FAULT_VERTEX_CRASH))
		sim_call(s, time / 2, self, true, on_vertex_crash, key, instance);
	if (sim_chance(s, FAULT_VERTEX_SLOW))
		time *= 20;
	/* Twice the same would end the job, as it should. */
	if (JM_ATTEMPT_NUMBER(a->key.number) == 1 && JM_ATTEMPT_EPOCH(a->key.number) == 1 &&
		sim_chance(s, FAULT_VERTEX_WEDGED))
		sim_call(s, 60 * DAG_SECOND, self, true, on_timeout, key, instance);
	else
		sim_call(s, time, self, true, on_computed, key, instance);
	for (uint32_t i = 1; i < data_blocks(s, a->key.vertex) && feeds_pipe(s, a->key.vertex); i++)
		sim_call(s, time * i / data_blocks(s, a->key.vertex), self, true, on_emit, key, instance);
	for (size_t i = 0; i < a->input_count; i++) {
		reading_begin(&a->inputs[i].reading, a->inputs[i].live, s->now);
		if (a->inputs[i].source)
			source_begin(s, self, a, i);
		else
			ask(s, self, a, i, true);
	}
	sim_call(s, LOOK_AGAIN, self, true, look_at_inputs, key, instance);
}

/* What it reads has not ended here. */
bool node_is_behind(struct sim_node *n, const struct attempt *a)
{
	for (size_t i = 0; i < a->input_count; i++) {
		const struct input *in = &a->inputs[i];
		const struct attempt *from =
			in->source || in->live ? NULL : node_find(n, (struct key){in->vertex, in->attempt});

		if (from && (from->state == QUEUED || from->state == RUNNING))
			return true;
	}
	return false;
}

void node_run(struct sim *s, uint32_t self)
{
	struct sim_node *n = node_of(s, self);

	for (size_t i = 0; i < n->queue_count && n->used + n->queue[i]->shares <= n->grant;) {
		struct attempt *a = n->queue[i];

		if (node_is_behind(n, a)) {
			i++;
			continue;
		}
		node_unqueue(n, i);
		start_attempt(s, self, a);
	}
}

void node_data(struct sim *s, uint32_t self, uint32_t from, const Dagrun__Data *d)
{
	struct attempt *a;

	if (d->kind == DAGRUN__DATA_KIND__OPEN) {
		data_on_open(s, self, from, d);
		return;
	}
	if (d->kind == DAGRUN__DATA_KIND__CREDIT) {
		data_on_credit(s, self, from, d);
		return;
	}
	a = node_find(node_of(s, self), (struct key){d->vertex, d->attempt});
	if (a && a->state == RUNNING && d->channel < a->input_count)
		on_input(s, self, a, d->channel, d);
}
