/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job's outputs come over as their vertices commit, one vertex after the other, and are written and
 * synced before that is told. A vertex's records are checked against what it said it wrote.
 */
#include "output.h"

#include <errno.h>
#include <unistd.h>

#define WINDOW (8ull << 20)
#define SEGMENT_SIZE (4ull << 20)

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
	manager_step(m, &event);
}

static struct output_file *file_of(const struct manager *m, struct output *o)
{
	const struct graph_stage *s = m->graph->stages[o->spec->stage];

	return &o->files[o->spec->per_vertex ? o->vertex - s->first_vertex : 0];
}

/* Where a vertex's records begin; what a fetch that failed has left there goes. */
static bool begin_records(const struct manager *m, struct output *o, const struct output_file *f)
{
	uint32_t index = o->vertex - m->graph->stages[o->spec->stage]->first_vertex;

	o->begin = index && !o->spec->per_vertex ? o->ends[index - 1] : 0;
	o->writes += o->begin == 0;
	o->synced = DAG_MIN(o->synced, o->begin);
	if (o->size > o->begin && ftruncate(f->fd, o->begin) < 0)
		return false;
	o->size = o->begin;
	return true;
}

void outputs_fetch(struct manager *m, const struct jm_effect *e)
{
	struct output *o = &m->outputs[e->output];
	struct node *node = nodes_find(m, e->node);
	struct data_open open = {
		.vertex = e->vertex, .attempt = e->attempt, .stream = o->spec->stream, .credit = WINDOW};
	struct output_file *f;

	o->vertex = e->vertex;
	o->attempt = e->attempt;
	o->node = e->node;
	o->records = o->bytes = o->consumed = 0;
	o->pending.len = 0;
	f = file_of(m, o);
	if (f->fd < 0 && output_open_temporary(m, f) < 0) {
		char *text = base_format("cannot write %s: %s", f->path, strerror(errno));

		tell_failed(m, o, DAG_EIO, text);
		free(text);
		return;
	}
	if (!begin_records(m, o, f)) {
		char *text = base_format("cannot write %s: %s", f->path, strerror(errno));

		tell_failed(m, o, DAG_EIO, text);
		free(text);
		return;
	}
	if (!o->hash)
		o->hash = hash_state_new();
	hash_state_reset(o->hash);
	if (!node) {
		tell_failed(m, o, DAG_EUNREACHABLE, "its node is gone");
		return;
	}
	o->channel = ++m->outputs_state->last_channel;
	memcpy(open.job, m->job, sizeof(m->job));
	data_fetch(m->data, o->channel, node->data, &open);
}

static int flush_pending(struct manager *m, struct output *o)
{
	const struct output_file *f = file_of(m, o);
	size_t at = 0;

	while (at < o->pending.len) {
		ssize_t n = pwrite(f->fd, o->pending.data + at, o->pending.len - at, o->size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ENOSPC || errno == EDQUOT ? DAG_ENOSPC : DAG_EIO;
		at += (size_t)n;
		o->size += n;
	}
	o->bytes_total += o->pending.len;
	o->pending.len = 0;
	return 0;
}

/* A block's records as the file shall have them. */
static int put_records(struct manager *m, struct output *o, const unsigned char *at, const unsigned char *end)
{
	bool kv = o->format.kind == DAG_FORMAT_KV, text = kv || o->format.kind == DAG_FORMAT_LINES;

	while (at < end) {
		uint32_t lens[2] = {0, 0};
		size_t head = kv ? 8 : 4, key_len, len;

		if ((size_t)(end - at) < head)
			return DAG_ECORRUPT;
		memcpy(lens, at, head);
		key_len = kv ? lens[0] : 0;
		len = kv ? lens[1] : lens[0];
		if (key_len + len > (size_t)(end - at) - head)
			return DAG_ECORRUPT;
		at += head;
		if (text && (memchr(at + key_len, '\n', len) ||
				    (key_len && (memchr(at, '\n', key_len) || memchr(at, '\t', key_len)))))
			return DAG_EFORMAT;
		if (kv) {
			buffer_append(&o->pending, at, key_len);
			buffer_append(&o->pending, "\t", 1);
		}
		buffer_append(&o->pending, at + key_len, len);
		if (text)
			buffer_append(&o->pending, "\n", 1);
		at += key_len + len;
		if (o->pending.len >= WRITE_BUFFER) {
			int r = flush_pending(m, o);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

static struct output_segment *find_segment(struct manager *m, uint32_t id)
{
	struct output_segment *s = m->outputs_state->segments;

	while (s && s->id != id)
		s = s->next;
	return s;
}

static void give_segment(struct manager *m, uint64_t bytes)
{
	struct outputs_state *state = m->outputs_state;
	struct output_segment *s = base_alloc(sizeof(*s));

	s->id = ++state->last_segment;
	s->size = DAG_MAX(bytes, SEGMENT_SIZE);
	s->base = base_alloc(s->size);
	s->next = state->segments;
	state->segments = s;
	data_give_segment(m->data, s->id, s->base, s->size);
}

/* Blocks are written when they are told of, so a full segment has been read. */
static void free_segment(struct manager *m, uint32_t id)
{
	for (struct output_segment **at = &m->outputs_state->segments; *at; at = &(*at)->next)
		if ((*at)->id == id) {
			struct output_segment *s = *at;

			*at = s->next;
			free(s->base);
			free(s);
			return;
		}
}

static void write_failed(struct manager *m, struct output *o, int r)
{
	char *text;

	if (r == DAG_EFORMAT)
		text = base_format("the output '%s': a record has a line feed in it, or a tab in its key, "
				   "and could not be told from "
				   "two",
			o->spec->path);
	else if (r == DAG_ECORRUPT)
		text = base_strdup("what was fetched is damaged");
	else
		text = base_format("cannot write the output '%s': %s", o->spec->path,
			strerror(r == DAG_ENOSPC ? ENOSPC : errno));
	tell_failed(m, o, r, text);
	free(text);
}

static void on_block(struct manager *m, struct output *o, const struct block_ref *ref)
{
	const struct output_segment *s = find_segment(m, ref->segment);
	const unsigned char *data = s->base + ref->offset;
	int r;

	hash_state_update(o->hash, data, ref->length);
	o->records += ref->records;
	o->bytes += ref->length;
	r = put_records(m, o, data, data + ref->length);
	if (r < 0) {
		write_failed(m, o, r);
		return;
	}
	data_consumed(m->data, o->channel, o->bytes);
}

/* ---- on disk ---- */

struct sync {
	uv_work_t work;
	struct manager *manager;
	struct output *output;
	uint32_t vertex, attempt, writes;
	off_t size;
	bool whole; /* nobody was told of the vertex yet */
	int fd, error;
};

static void sync_file(uv_work_t *work)
{
	struct sync *s = work->data;

	if (fsync(s->fd) < 0)
		s->error = errno;
}

static void tell_fetched(struct manager *m, const struct output *o, bool synced)
{
	manager_step(m, &(struct jm_event){.kind = JM_FETCHED,
				.output = o->number,
				.vertex = o->vertex,
				.attempt = o->attempt,
				.flag = synced,
				.bytes = (uint64_t)o->size});
}

static void on_synced(uv_work_t *work, int status)
{
	struct sync *s = work->data;
	struct output *o = s->output;
	struct manager *m = s->manager;

	(void)status;
	if (!m->outputs_state) { /* the job is over */
		free(s);
		return;
	}
	o->syncing = false;
	if (s->error && s->error != EINVAL && !m->ending)
		manager_abort(
			m, DAG_EIO, "cannot sync the output '%s': %s", o->spec->path, strerror(s->error));
	if (!m->ending && s->whole)
		tell_fetched(m, o, true);
	else if (!m->ending && s->writes == o->writes) {
		o->synced = s->size;
		manager_step(m, &(struct jm_event){.kind = JM_SYNCED,
					.output = o->number,
					.vertex = s->vertex,
					.bytes = (uint64_t)s->size});
	}
	free(s);
}

static void start_sync(struct manager *m, struct output *o, bool whole)
{
	struct sync *s = base_alloc(sizeof(*s));

	*s = (struct sync){.manager = m,
		.output = o,
		.vertex = o->vertex,
		.writes = o->writes,
		.size = o->size,
		.whole = whole,
		.fd = file_of(m, o)->fd};
	o->syncing = true;
	s->work.data = s;
	uv_queue_work(&m->loop, &s->work, sync_file, on_synced);
}

static void on_end(struct manager *m, struct output *o, const struct data_event *event)
{
	const struct graph_stage *stage = m->graph->stages[o->spec->stage];
	uint32_t index = o->vertex - stage->first_vertex;
	int r = flush_pending(m, o);

	if (r < 0) {
		write_failed(m, o, r);
		return;
	}
	if (event->checked && (o->records != event->end.records || o->bytes != event->end.bytes ||
				      !hash_equal(hash_state_digest(o->hash), event->end.hash))) {
		write_failed(m, o, DAG_ECORRUPT);
		return;
	}
	data_stop(m->data, o->channel, false);
	o->channel = 0;
	o->ends[index] = o->size;
	/* Synced before it is told: the intent to publish comes after the last of these. */
	if (!o->to_stdout && (o->spec->per_vertex || index + 1 == stage->width)) {
		start_sync(m, o, true);
		return;
	}
	if (!o->to_stdout && !o->syncing && o->size - o->synced >= (off_t)SYNC_BYTES)
		start_sync(m, o, false);
	tell_fetched(m, o, false);
}

void outputs_on_data(void *ctx, const struct data_event *event)
{
	struct manager *m = ctx;
	struct output *o = NULL;

	for (size_t i = 0; i < m->graph->output_count; i++)
		if (m->outputs[i].channel && m->outputs[i].channel == event->channel)
			o = &m->outputs[i];
	if (event->kind == DATA_NEED_SEGMENT)
		give_segment(m, event->bytes);
	else if (event->kind == DATA_SEGMENT_FULL)
		free_segment(m, event->ref.segment);
	else if (!o)
		;
	else if (event->kind == DATA_BLOCK)
		on_block(m, o, &event->ref);
	else if (event->kind == DATA_END)
		on_end(m, o, event);
	else if (event->kind == DATA_FAILED)
		tell_failed(m, o, event->error == DAG_ENOSPC ? DAG_EMISSING : event->error, event->text);
	free(event->text);
}

void outputs_node_gone(struct manager *m, uint32_t node)
{
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

void outputs_free_segments(struct manager *m)
{
	while (m->outputs_state->segments)
		free_segment(m, m->outputs_state->segments->id);
}
