/* SPDX-License-Identifier: Apache-2.0 */
/* The job as messages: its description, the files it needs, and each start with where its inputs lie. */
#include "shell.h"
#include "graph/edge.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (256u << 10)
#define SOURCE_NUMBERS 64u /* bytes of a start beside the path of each file, at most */

/* ---- files ---- */

static const struct shipped_file *find_file(const struct manager *m, const char *path)
{
	for (size_t i = 0; i < m->file_count; i++)
		if (!strcmp(m->files[i].path, path))
			return &m->files[i];
	return NULL;
}

static int add_file(struct manager *m, const char *path, struct dag_diag *diag)
{
	const char *slash = strrchr(path, '/');
	struct shipped_file *f;
	struct stat st;
	void *data;
	char byte;
	int fd;

	if (find_file(m, path))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		dag_diag_add(diag, NULL, 0, 0, "cannot read %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return DAG_EIO;
	}
	if (!st.st_size && read(fd, &byte, 1) > 0) {
		dag_diag_add(diag, NULL, 0, 0,
			"cannot ship %s: it is made when it is read, and has no size that is true; copy it "
			"first",
			path);
		close(fd);
		return DAG_EINVAL;
	}
	data = st.st_size ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
	close(fd);
	if (data == MAP_FAILED) {
		dag_diag_add(diag, NULL, 0, 0, "cannot read %s: %s", path, strerror(errno));
		return DAG_EIO;
	}
	f = DAG_APPEND(m->files, m->file_count, m->file_cap);
	f->path = base_strdup(path);
	f->name = base_strdup(slash ? slash + 1 : path);
	f->size = (uint64_t)st.st_size;
	f->executable = st.st_mode & 0100;
	hash_hex(hash_128(data ? data : "", (size_t)st.st_size), f->hash);
	if (data)
		munmap(data, (size_t)st.st_size);
	return 0;
}

static bool ships_program(const struct graph_stage *s)
{
	/* The shell is every node's own. */
	return s->kind == GRAPH_PROGRAM && strchr(s->argv[0], '/') && strcmp(s->argv[0], "/bin/sh");
}

static uint32_t count_same(const char *a, const char *b)
{
	uint32_t n = 0;

	while (a[n] && a[n] == b[n])
		n++;
	return n;
}

/* Bytes of what a start says of the edge's files, or of some more. */
static uint64_t sources_bytes(
	const struct graph_stage *in, const struct graph_edge *edge, uint32_t index, uint32_t count)
{
	const char *before = "";
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t split = edge ? edge_producer(edge, index, i) : i;
		const char *path = in->input_files[in->splits[split].file].path;

		bytes += strlen(path) - count_same(before, path) + SOURCE_NUMBERS;
		before = path;
	}
	return bytes;
}

/* The paths of all files that a vertex reads are in its start. Few have so many that it must be counted. */
static int check_starts(struct manager *m, const struct graph_stage *in, struct dag_diag *diag)
{
	const struct graph *g = m->graph;

	if (session_fits(sources_bytes(in, NULL, 0, in->width)))
		return 0;
	for (const struct graph_edge *e = graph_out(g, in->first_out); e; e = graph_out(g, e->next_out)) {
		const struct graph_stage *to = g->stages[e->to];

		for (uint32_t i = 0; i < to->width; i++)
			if (!session_fits(sources_bytes(in, e, i, edge_producers(e, i)))) {
				dag_diag_add(diag, NULL, 0, 0,
					"%s[%u] reads %u files of '%s', whose names come to more than "
					"the %u MiB that a vertex can be started with: give them shorter "
					"names, or let several vertices read them first ('%s >= STAGE')",
					to->name, i, edge_producers(e, i), in->name, WIRE_MESSAGE_MAX >> 20,
					in->name);
				return DAG_ELIMIT;
			}
	}
	return 0;
}

int ship_prepare(struct manager *m, struct dag_diag *diag)
{
	int r = 0;

	for (size_t i = 0; i < m->graph->stage_count && r == 0; i++) {
		const struct graph_stage *s = m->graph->stages[i];

		if (s->kind == GRAPH_INPUT)
			r = check_starts(m, s, diag);
		else if (s->kind == GRAPH_PLUGIN)
			r = add_file(m, s->plugin, diag);
		else if (ships_program(s))
			r = add_file(m, s->argv[0], diag);
		for (uint32_t f = 0; f < s->file_count && r == 0; f++)
			r = add_file(m, s->files[f], diag);
	}
	return r;
}

static void send_chunk(struct node *node, const char *hash, uint64_t offset, const void *data, size_t len,
	bool last, const char *error)
{
	Dagrun__FileChunk chunk = DAGRUN__FILE_CHUNK__INIT;
	SESSION_ENVELOPE(e, FILE_CHUNK);

	chunk.hash = (char *)hash;
	chunk.offset = offset;
	chunk.data.data = (void *)data;
	chunk.data.len = len;
	chunk.last = last;
	chunk.error = (char *)error;
	e.file_chunk = &chunk;
	session_send(node->session, &e);
}

static void send_file(struct node *node, const struct shipped_file *f)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	unsigned char *buf = base_alloc(CHUNK);
	uint64_t offset = 0;
	ssize_t n;

	do {
		n = fd >= 0 ? pread(fd, buf, CHUNK, (off_t)offset) : -1;
		if (n < 0 || offset + (uint64_t)n > f->size) {
			char *text = base_format("cannot read %s, which the job ships: %s", f->path,
				n < 0 ? strerror(errno) : "it changed");

			send_chunk(node, f->hash, 0, NULL, 0, true, text);
			free(text);
			break;
		}
		send_chunk(node, f->hash, offset, buf, (size_t)n, offset + (uint64_t)n == f->size || !n, "");
		offset += (uint64_t)n;
	} while (n > 0 && offset < f->size);
	if (fd >= 0)
		close(fd);
	free(buf);
}

void ship_files(struct manager *m, struct node *node, const Dagrun__FileNeed *need)
{
	for (size_t i = 0; i < need->n_hashes; i++)
		for (size_t j = 0; j < m->file_count; j++)
			if (!strcmp(m->files[j].hash, need->hashes[i])) {
				send_file(node, &m->files[j]);
				break;
			}
}

void ship_destroy(struct manager *m)
{
	for (size_t i = 0; i < m->file_count; i++) {
		free(m->files[i].path);
		free(m->files[i].name);
	}
	free(m->files);
}

/* ---- the description: messages of an arena, sent once ---- */

static Dagrun__File *file_message(struct manager *m, struct arena *arena, const char *path)
{
	const struct shipped_file *f = find_file(m, path);
	Dagrun__File *message = arena_alloc(arena, sizeof(*message));

	dagrun__file__init(message);
	message->name = f->name;
	message->hash = (char *)f->hash;
	message->size = f->size;
	message->executable = f->executable;
	return message;
}

static Dagrun__Pair **pair_messages(struct arena *arena, const struct graph_pair *pairs, uint32_t n)
{
	Dagrun__Pair **messages = arena_alloc(arena, (n + 1) * sizeof(*messages));

	for (uint32_t i = 0; i < n; i++) {
		messages[i] = arena_alloc(arena, sizeof(**messages));
		dagrun__pair__init(messages[i]);
		messages[i]->name = (char *)pairs[i].name;
		messages[i]->value = (char *)pairs[i].value;
	}
	return messages;
}

static Dagrun__Format *format_message(struct arena *arena, struct graph_format format)
{
	Dagrun__Format *message = arena_alloc(arena, sizeof(*message));

	dagrun__format__init(message);
	message->kind = format.kind;
	message->size = format.size;
	return message;
}

static Dagrun__Stream *stream_message(
	const struct manager *m, struct arena *arena, const struct graph_stream *s)
{
	Dagrun__Stream *message = arena_alloc(arena, sizeof(*message));

	dagrun__stream__init(message);
	message->port = s->port;
	message->parts = s->parts;
	message->partition = s->partition.kind;
	message->key = s->partition.key == GRAPH_NONE ? 0 : s->partition.key;
	message->delimiter = (unsigned char)s->partition.delimiter;
	message->channel = s->channel;
	message->elastic = s->elastic;
	/* Packing pays where blocks cross a network. */
	message->codec = s->codec != GRAPH_CODEC_AUTO ? s->codec
			 : m->has_network             ? GRAPH_CODEC_LZ4
						      : GRAPH_CODEC_NONE;
	return message;
}

/* All of a stage but what it has of its own. */
static Dagrun__Stage *stage_message(struct manager *m, struct arena *arena, const struct graph_stage *s)
{
	Dagrun__Stage *t = arena_alloc(arena, sizeof(*t));

	dagrun__stage__init(t);
	t->kind = s->kind;
	if (s->kind == GRAPH_INPUT)
		return t;
	if (s->open && m->config->client) {
		t->n_result_streams = s->out_count;
		t->result_streams = arena_alloc(arena, s->out_count * sizeof(*t->result_streams));
		for (uint32_t p = 0; p < s->out_count; p++)
			t->result_streams[p] = s->out[p].stream;
	}
	if (s->kind == GRAPH_PLUGIN)
		t->plugin = file_message(m, arena, s->plugin);
	else if (ships_program(s))
		t->plugin = file_message(m, arena, s->argv[0]);
	t->entry = (char *)(s->entry ? s->entry : "");
	t->argv = (char **)s->argv;
	t->n_argv = s->argc;
	t->params = pair_messages(arena, s->params, s->param_count);
	t->n_params = s->param_count;
	t->env = pair_messages(arena, s->env, s->env_count);
	t->n_env = s->env_count;
	t->n_files = s->file_count;
	t->files = arena_alloc(arena, (s->file_count + 1) * sizeof(*t->files));
	for (uint32_t i = 0; i < s->file_count; i++) {
		t->files[i] = file_message(m, arena, s->files[i]);
		t->files[i]->name = (char *)s->file_names[i];
	}
	t->n_in = t->n_in_joined = s->in_count;
	t->in = arena_alloc(arena, (s->in_count + 1) * sizeof(*t->in));
	t->in_joined = arena_alloc(arena, (s->in_count + 1) * sizeof(*t->in_joined));
	for (uint32_t i = 0; i < s->in_count; i++) {
		t->in[i] = format_message(arena, s->in[i].format);
		t->in_joined[i] = s->in[i].edge != GRAPH_NONE;
	}
	t->n_out = s->out_count;
	t->out = arena_alloc(arena, (s->out_count + 1) * sizeof(*t->out));
	for (uint32_t i = 0; i < s->out_count; i++)
		t->out[i] = format_message(arena, s->out[i].format);
	t->n_streams = s->stream_count;
	t->streams = arena_alloc(arena, (s->stream_count + 1) * sizeof(*t->streams));
	for (uint32_t i = 0; i < s->stream_count; i++)
		t->streams[i] = stream_message(m, arena, &s->streams[i]);
	t->exit_ok = s->exit_ok;
	t->n_exit_ok = s->exit_ok_count;
	t->order_blind = s->order_blind;
	t->isolate = s->isolate;
	t->timeout_ns = s->timeout;
	t->memory = s->memory;
	t->cpu_shares = s->cpu_shares;
	return t;
}

static Dagrun__Stage *describe(struct manager *m, struct arena *arena, const struct graph_stage *s)
{
	Dagrun__Stage *t;

	if (s->like == s->id)
		t = stage_message(m, arena, s);
	else {
		t = arena_alloc(arena, sizeof(*t));
		dagrun__stage__init(t);
		t->like = s->like + 1;
	}
	t->id = s->id;
	t->name = (char *)s->name;
	t->width = s->width;
	t->first_vertex = s->first_vertex;
	return t;
}

void ship_open(struct manager *m, struct node *node)
{
	Dagrun__JobOpen open = DAGRUN__JOB_OPEN__INIT;
	struct arena arena = {0};
	SESSION_ENVELOPE(e, JOB_OPEN);

	open.job = m->job;
	open.epoch = m->epoch;
	open.n_stages = m->graph->stage_count;
	open.stages = arena_alloc(&arena, (m->graph->stage_count + 1) * sizeof(*open.stages));
	for (size_t i = 0; i < m->graph->stage_count; i++) {
		const struct graph_stage *s = m->graph->stages[i];

		open.stages[i] = describe(m, &arena, s);
		if (s->kind != GRAPH_INPUT)
			open.hosts_hint = DAG_MAX(open.hosts_hint, s->width);
	}
	e.job_open = &open;
	if (!session_fits(dagrun__envelope__get_packed_size(&e)))
		manager_abort(m, DAG_ELIMIT,
			"the graph is too large to be sent: its stages' arguments, env and params come to "
			"more than %u MiB",
			WIRE_MESSAGE_MAX >> 20);
	else
		session_send(node->session, &e);
	arena_fini(&arena);
}

/* ---- starts ---- */

/* before: the path of the one before it in the list, or "". */
static Dagrun__Source *source_message(
	struct arena *arena, const struct graph_stage *in, uint32_t index, const char **before)
{
	const struct graph_split *split = &in->splits[index];
	const struct graph_file *file = &in->input_files[split->file];
	Dagrun__Source *s = arena_alloc(arena, sizeof(*s));

	dagrun__source__init(s);
	s->same = count_same(*before, file->path);
	s->path = (char *)file->path + s->same;
	*before = file->path;
	s->size = file->size;
	s->mtime_ns = file->mtime_ns;
	s->inode = file->inode;
	s->offset = split->offset;
	s->length = split->length;
	s->shared = in->shared;
	return s;
}

static Dagrun__Input *input_message(
	struct manager *m, struct arena *arena, const struct graph_stage *s, uint32_t index, uint32_t port)
{
	const struct graph_edge *edge =
		s->in[port].edge == GRAPH_NONE ? NULL : m->graph->edges[s->in[port].edge];
	const struct graph_stage *from = edge ? m->graph->stages[edge->from] : NULL;
	Dagrun__Input *in = arena_alloc(arena, sizeof(*in));
	const char *before = "";
	uint32_t n;

	dagrun__input__init(in);
	if (!edge)
		return in;
	n = jm_producers(m->jm, edge, index);
	in->joined = 1;
	in->stream = edge->stream;
	in->part = jm_first_part(m->jm, edge, index, &in->parts);
	in->channel = edge->channel;
	in->vertices = arena_alloc(arena, (n + 1) * sizeof(*in->vertices));
	in->n_vertices = n;
	if (from->kind == GRAPH_INPUT) {
		in->sources = arena_alloc(arena, (n + 1) * sizeof(*in->sources));
		in->n_sources = n;
	} else {
		in->attempts = arena_alloc(arena, (n + 1) * sizeof(*in->attempts));
		in->nodes = arena_alloc(arena, (n + 1) * sizeof(*in->nodes));
		in->n_attempts = in->n_nodes = n;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t producer = jm_producer(m->jm, edge, index, i);
		enum jm_state state;

		in->vertices[i] = from->first_vertex + producer;
		if (from->kind == GRAPH_INPUT)
			in->sources[i] = source_message(arena, from, producer, &before);
		else
			jm_current(m->jm, in->vertices[i], &in->attempts[i], &in->nodes[i], &state);
	}
	return in;
}

/* How many channels read each part of the stream from this producer. */
static uint32_t count_readers(
	const struct manager *m, const struct graph_stage *s, uint32_t stream, uint32_t index)
{
	const struct graph *g = m->graph;
	uint32_t n = 0;

	for (const struct graph_edge *e = graph_out(g, s->first_out); e; e = graph_out(g, e->next_out))
		if (e->stream == stream)
			n += e->parts > 1 ? 1 : jm_consumers(m->jm, e, index);
	return n;
}

static void put_skips(struct manager *m, struct arena *arena, Dagrun__Start *start, uint32_t vertex)
{
	struct jm_record record;
	size_t n = 0;

	while (jm_skip(m->jm, vertex, (uint32_t)n, &record))
		n++;
	start->skips = arena_alloc(arena, n * sizeof(*start->skips));
	for (; start->n_skips < n; start->n_skips++) {
		Dagrun__Record *r = arena_alloc(arena, sizeof(*r));

		jm_skip(m->jm, vertex, (uint32_t)start->n_skips, &record);
		dagrun__record__init(r);
		r->port = record.port;
		r->producer = record.producer;
		r->number = record.number;
		start->skips[start->n_skips] = r;
	}
}

Dagrun__Start *ship_start(struct manager *m, struct arena *arena, const struct jm_effect *effect)
{
	const struct graph_stage *s = m->graph->stages[m->graph->vertex_stage[effect->vertex]];
	uint32_t index = effect->vertex - s->first_vertex;
	Dagrun__Start *start = arena_alloc(arena, sizeof(*start));

	dagrun__start__init(start);
	start->stage = s->id;
	start->index = index;
	start->attempt = effect->attempt;
	start->group = effect->group;
	start->group_size = effect->group_size;
	start->shares = effect->shares;
	start->width = s->width_of == GRAPH_NONE ? 0 : jm_width(m->jm, s->id);
	start->n_inputs = s->in_count;
	start->inputs = arena_alloc(arena, s->in_count * sizeof(*start->inputs));
	for (uint32_t p = 0; p < s->in_count; p++)
		start->inputs[p] = input_message(m, arena, s, index, p);
	start->argument.data = (void *)jm_argument(m->jm, effect->vertex, &start->argument.len);
	put_skips(m, arena, start, effect->vertex);
	start->n_readers = s->stream_count;
	start->readers = arena_alloc(arena, s->stream_count * sizeof(*start->readers));
	for (uint32_t i = 0; i < s->stream_count; i++)
		start->readers[i] = count_readers(m, s, i, index);
	return start;
}
