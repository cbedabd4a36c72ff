/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job's outputs come over as their vertices commit, one vertex after the other, and are written and
 * synced before that is told. A vertex's records are checked against what it said it wrote.
 */
#include "output.h"

#include <errno.h>

#define WINDOW (8ull << 20)
#define WRITE_BYTES (1u << 20)    /* that are written together, by a thread of their own */
#define WRITE_AT_ONCE (64u << 10) /* of so little more is not made */

static void tell_failed(struct manager *m, struct output *o, int error, const char *text)
{
	struct jm_event event = {.kind = JM_FETCH_FAILED,
		.output = o->number,
		.vertex = o->vertex,
		.attempt = o->attempt,
		.error = error,
		.text = text};

	data_stop(m->data, o->channel, false);
	o->channel = 0;
	o->ended = false;
	manager_step(m, &event);
	outputs_go_on(m);
}

static void cannot_write(struct manager *m, struct output *o, const char *path)
{
	char *text = base_format("cannot write %s: %s", path, strerror(errno));

	tell_failed(m, o, DAG_EIO, text);
	free(text);
}

uint64_t output_ask(
	struct manager *m, const struct node *node, uint32_t vertex, uint32_t attempt, uint32_t stream)
{
	struct data_open open = {.vertex = vertex, .attempt = attempt, .stream = stream, .credit = WINDOW};
	uint64_t channel = ++m->outputs_state->last_channel;

	memcpy(open.job, m->job, sizeof(m->job));
	data_fetch(m->data, channel, node->data, &open);
	return channel;
}

/* More files are open than may be: one of them is closed first. */
static void hold(struct manager *m, struct output *o)
{
	struct outputs_state *s = m->outputs_state;

	o->held = true;
	if (!o->queued)
		*DAG_APPEND(s->waiting, s->waiting_count, s->waiting_cap) = o->number;
	o->queued = true;
}

static void start_fetch(struct manager *m, struct output *o)
{
	struct node *node = nodes_find(m, o->held_node);
	int r;

	o->held = false;
	o->vertex = o->held_vertex;
	o->attempt = o->held_attempt;
	o->node = o->held_node;
	r = output_open(m, o);
	if (r == DAG_ELIMIT) {
		hold(m, o);
		return;
	}
	arrival_reset(&o->arrival);
	o->pending.len = 0;
	if (r < 0 || !output_begin(m, o))
		cannot_write(m, o, output_file(m, o)->path);
	else if (!node)
		tell_failed(m, o, DAG_EUNREACHABLE, "its node is gone");
	else
		o->channel = output_ask(m, node, o->vertex, o->attempt, o->spec->stream);
}

void outputs_go_on(struct manager *m)
{
	struct outputs_state *s = m->outputs_state;
	bool room = true;

	if (s->going_on) /* a fetch failed at once */
		return;
	s->going_on = true;
	while (room && !m->ending && s->waiting_first < s->waiting_count) {
		struct output *o = &m->outputs[s->waiting[s->waiting_first++]];

		o->queued = false;
		if (o->held && !o->writing)
			start_fetch(m, o);
		room = !o->queued;
	}
	if (s->waiting_first == s->waiting_count)
		s->waiting_first = s->waiting_count = 0;
	s->going_on = false;
}

void outputs_fetch(struct manager *m, uint32_t output, uint32_t vertex, uint32_t attempt, uint32_t node)
{
	struct output *o = &m->outputs[output];

	o->held_vertex = vertex;
	o->held_attempt = attempt;
	o->held_node = node;
	if (o->writing) /* of a fetch that failed */
		o->held = true;
	else
		start_fetch(m, o);
}

int output_put_records(
	struct buffer *to, struct graph_format format, const unsigned char *at, const unsigned char *end)
{
	bool kv = format.kind == DAG_FORMAT_KV, text = kv || format.kind == DAG_FORMAT_LINES;
	/* Its lengths take more than what parts records in a file. */
	unsigned char *out = buffer_extend(to, (size_t)(end - at));

	if (format.kind == DAG_FORMAT_BYTES) {
		base_copy(out, at, (size_t)(end - at));
		return 0;
	}
	to->len -= (size_t)(end - at);
	while (at < end) {
		uint32_t lens[2] = {0, 0};
		size_t head = kv ? 8 : 4, key_len, len;
		bool unended;

		if ((size_t)(end - at) < head)
			return DAG_ECORRUPT;
		memcpy(lens, at, head);
		unended = !kv && (lens[0] & RECORD_UNENDED);
		if (unended)
			lens[0] &= ~RECORD_UNENDED;
		key_len = kv ? lens[0] : 0;
		len = kv ? lens[1] : lens[0];
		if (key_len + len > (size_t)(end - at) - head)
			return DAG_ECORRUPT;
		at += head;
		if (text && (memchr(at + key_len, '\n', len) ||
				    (key_len && (memchr(at, '\n', key_len) || memchr(at, '\t', key_len)))))
			return DAG_EFORMAT;
		if (kv) {
			base_copy(out, at, key_len);
			out[key_len] = '\t';
			out += key_len + 1;
		}
		base_copy(out, at + key_len, len);
		out += len;
		if (text && !unended)
			*out++ = '\n';
		at += key_len + len;
	}
	to->len = (size_t)(out - to->data);
	return 0;
}

void arrival_reset(struct arrival *a)
{
	if (a->hash)
		hash_state_reset(a->hash);
	else
		a->hash = hash_state_new();
	a->records = a->bytes = 0;
}

int arrival_block(
	struct arrival *a, const struct data_event *event, struct graph_format format, struct buffer *to)
{
	hash_state_update(a->hash, event->lent, event->ref.length);
	a->records += event->ref.records;
	a->bytes += event->ref.length;
	return output_put_records(to, format, event->lent, event->lent + event->ref.length);
}

bool arrival_is_whole(const struct arrival *a, const struct data_event *event)
{
	return !event->checked || (a->records == event->end.records && a->bytes == event->end.bytes &&
					  hash_equal(hash_state_digest(a->hash), event->end.hash));
}

static void write_failed(struct manager *m, struct output *o, int r, int error)
{
	char *text;

	if (r == DAG_EFORMAT)
		text = base_format("the output '%s': a record of '%s' has a line feed in it, or a tab in its "
				   "key, so that nobody could tell where it ends; let a stage before write "
				   "such bytes in another way, or take a field as the key (key: 1)",
			o->spec->path, m->graph->stages[o->spec->stage]->name);
	else if (r == DAG_ECORRUPT)
		text = base_strdup("what was fetched is damaged");
	else
		text = base_format("cannot write the output '%s': %s", o->spec->path, strerror(error));
	tell_failed(m, o, r, text);
	free(text);
}

/* All its records are in the file, or the thread that writes has them. */
static void finish(struct manager *m, struct output *o)
{
	const struct graph_stage *stage = m->graph->stages[o->spec->stage];
	uint32_t index = o->vertex - stage->first_vertex;

	o->ended = false;
	o->ends[index] = o->size;
	/* Synced before it is told: the intent to publish comes after the last of these. */
	if (!o->is_stream && (o->spec->per_vertex || index + 1 == jm_width(m->jm, stage->id))) {
		output_sync(m, o, true);
		return;
	}
	if (!o->is_stream && !o->syncing && o->size - o->synced >= (off_t)SYNC_BYTES)
		output_sync(m, o, false);
	output_tell(m, o, false);
	outputs_go_on(m);
}

/* Writes what there is, if it is enough or the last; what is written, or waits for no more than that, may be
 * followed by more. */
static void go_on(struct manager *m, struct output *o)
{
	int r = 0;

	if (o->writing)
		return;
	if (o->pending.len >= WRITE_BYTES || (o->ended && o->pending.len > WRITE_AT_ONCE))
		output_write(m, o);
	else if (o->ended)
		r = output_write_now(o);
	if (r < 0)
		write_failed(m, o, r, errno);
	else if (o->ended && !o->writing)
		finish(m, o);
	else if (o->channel)
		data_consumed(m->data, o->channel, o->arrival.bytes);
}

void outputs_on_written(struct manager *m, struct output *o, int r, int error)
{
	if (o->held)
		start_fetch(m, o);
	else if (r < 0 && (o->channel || o->ended))
		write_failed(m, o, r, error);
	else if (o->channel || o->ended)
		go_on(m, o);
}

static void on_block(struct manager *m, struct output *o, const struct data_event *event)
{
	int r;

	r = arrival_block(&o->arrival, event, o->format, &o->pending);
	if (r < 0)
		write_failed(m, o, r, 0);
	else
		go_on(m, o);
}

static void on_end(struct manager *m, struct output *o, const struct data_event *event)
{
	if (!arrival_is_whole(&o->arrival, event)) {
		write_failed(m, o, DAG_ECORRUPT, 0);
		return;
	}
	data_stop(m->data, o->channel, false);
	o->channel = 0;
	o->ended = true;
	go_on(m, o);
}

void outputs_on_data(void *ctx, const struct data_event *event)
{
	struct manager *m = ctx;
	struct output *o = NULL;

	if (results_on_data(m, event)) {
		free(event->text);
		return;
	}
	for (size_t i = 0; i < m->outputs_state->open_count; i++)
		if (m->outputs_state->open[i]->channel &&
			m->outputs_state->open[i]->channel == event->channel)
			o = m->outputs_state->open[i];
	if (o && event->kind == DATA_BLOCK)
		on_block(m, o, event);
	else if (o && event->kind == DATA_END)
		on_end(m, o, event);
	else if (o && event->kind == DATA_FAILED)
		tell_failed(m, o, event->error, event->text);
	free(event->text);
}

void outputs_node_gone(struct manager *m, uint32_t node)
{
	results_node_gone(m, node);
	for (size_t i = 0; i < m->graph->output_count; i++)
		if (m->outputs[i].channel && m->outputs[i].node == node)
			tell_failed(m, &m->outputs[i], DAG_EUNREACHABLE, "its node is gone");
}

uint64_t outputs_bytes(const struct manager *m)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < m->graph->output_count; i++)
		bytes += m->outputs[i].bytes_total;
	return bytes;
}
