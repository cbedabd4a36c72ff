/* SPDX-License-Identifier: Apache-2.0 */
/* What a job's stages are, as its job manager describes them. Those that are alike share one description. */
#include "node.h"

#include <sys/mman.h>
#include <unistd.h>

#define NAME_MAX_LEN 4096u

static struct graph_pair *copy_pairs(struct arena *arena, Dagrun__Pair **pairs, size_t n)
{
	struct graph_pair *copy = arena_alloc(arena, (n + 1) * sizeof(*copy));

	for (size_t i = 0; i < n; i++)
		copy[i] = (struct graph_pair){
			arena_strdup(arena, pairs[i]->name), arena_strdup(arena, pairs[i]->value)};
	return copy;
}

static bool copy_ports(struct stage_spec *s, const Dagrun__Stage *m)
{
	if (m->n_in > GRAPH_PORTS_MAX || m->n_out > GRAPH_PORTS_MAX || m->n_in_joined != m->n_in)
		return false;
	s->in_count = (uint32_t)m->n_in;
	s->out_count = (uint32_t)m->n_out;
	for (uint32_t i = 0; i < s->in_count; i++) {
		s->in[i] = (struct graph_format){(enum dag_format_kind)m->in[i]->kind, m->in[i]->size};
		s->in_joined[i] = m->in_joined[i];
	}
	for (uint32_t i = 0; i < s->out_count; i++)
		s->out[i] = (struct graph_format){(enum dag_format_kind)m->out[i]->kind, m->out[i]->size};
	return true;
}

static bool copy_streams(struct arena *arena, struct stage_spec *s, const Dagrun__Stage *m)
{
	s->streams = arena_alloc(arena, (m->n_streams + 1) * sizeof(*s->streams));
	s->stream_count = (uint32_t)m->n_streams;
	for (size_t i = 0; i < m->n_streams; i++) {
		const Dagrun__Stream *t = m->streams[i];

		if (!t->parts || t->parts > GRAPH_PARTS_MAX || t->port >= s->out_count ||
			t->partition > GRAPH_BY_PART || t->channel > GRAPH_FIFO ||
			t->codec > GRAPH_CODEC_ZSTD)
			return false;
		s->streams[i] = (struct graph_stream){t->port, t->parts,
			{(enum graph_partition_kind)t->partition, t->key, (char)t->delimiter},
			(enum graph_channel)t->channel, t->elastic, (enum graph_codec)t->codec};
	}
	return true;
}

/* A name below the folder of a vertex, and never outside of it. */
static bool is_below(const char *name)
{
	for (size_t len; *name; name += len + (name[len] == '/')) {
		len = strcspn(name, "/");
		if (!len || (len <= 2 && !strncmp(name, "..", len)))
			return false;
		if (name[len] && !name[len + 1])
			return false;
	}
	return true;
}

static bool copy_files(struct job *job, struct stage_spec *s, const Dagrun__Stage *m)
{
	s->files = arena_alloc(&job->arena, (m->n_files + 1) * sizeof(*s->files));
	s->file_count = (uint32_t)m->n_files;
	for (size_t i = 0; i < m->n_files; i++) {
		s->files[i] = (struct graph_pair){
			arena_strdup(&job->arena, m->files[i]->name), files_add(job, m->files[i])};
		if (!s->files[i].value || !*s->files[i].name || !is_below(s->files[i].name))
			return false;
	}
	if (m->plugin)
		s->plugin = files_add(job, m->plugin);
	return !m->plugin || s->plugin;
}

static struct stage_spec *copy_spec(struct job *job, const Dagrun__Stage *m)
{
	struct arena *arena = &job->arena;
	struct stage_spec *s = arena_alloc(arena, sizeof(*s));

	s->job = job->id;
	s->scratch = job->scratch;
	s->kind = m->kind;
	s->entry = *m->entry ? arena_strdup(arena, m->entry) : NULL;
	s->argc = (uint32_t)m->n_argv;
	s->argv = arena_alloc(arena, (s->argc + 1) * sizeof(*s->argv));
	for (size_t i = 0; i < m->n_argv; i++)
		s->argv[i] = arena_strdup(arena, m->argv[i]);
	s->params = copy_pairs(arena, m->params, m->n_params);
	s->param_count = (uint32_t)m->n_params;
	s->env = copy_pairs(arena, m->env, m->n_env);
	s->env_count = (uint32_t)m->n_env;
	s->order_blind = m->order_blind;
	s->exit_ok = arena_alloc(arena, (m->n_exit_ok + 1) * sizeof(*s->exit_ok));
	s->exit_ok_count = (uint32_t)m->n_exit_ok;
	for (size_t i = 0; i < m->n_exit_ok; i++)
		s->exit_ok[i] = m->exit_ok[i];
	if (!copy_ports(s, m) || !copy_streams(arena, s, m) || !copy_files(job, s, m) ||
		(s->kind == GRAPH_PLUGIN && (!s->plugin || !s->entry)) ||
		(s->kind == GRAPH_PROGRAM && !s->argc) || s->kind > GRAPH_PROGRAM)
		return NULL;
	return s;
}

/* All but what each stage has of its own. */
static bool describe(struct job *job, struct job_stage *stage, const Dagrun__Stage *m)
{
	stage->like = m->id;
	stage->spec = copy_spec(job, m);
	stage->isolate = m->isolate;
	stage->timeout = m->timeout_ns;
	stage->memory = m->memory;
	stage->cpu_shares = m->cpu_shares;
	stage->lone = true;
	for (size_t i = 0; i < m->n_streams; i++)
		stage->lone = stage->lone && m->streams[i]->channel == GRAPH_FILE;
	if (m->n_result_streams && m->n_result_streams == m->n_out) {
		stage->result_streams = arena_alloc(&job->arena, m->n_out * sizeof(*stage->result_streams));
		memcpy(stage->result_streams, m->result_streams, m->n_out * sizeof(*stage->result_streams));
	}
	return stage->spec != NULL;
}

static bool take_stage(struct job *job, struct job_stage *stage, const Dagrun__Stage *m)
{
	if (m->id != stage - job->stages || m->like > m->id || strlen(m->name) > NAME_MAX_LEN ||
		m->width > GRAPH_VERTICES_MAX || m->first_vertex > GRAPH_VERTICES_MAX)
		return false;
	if (m->like)
		*stage = job->stages[m->like - 1];
	else if (!describe(job, stage, m))
		return false;
	stage->name = arena_strdup(&job->arena, m->name);
	stage->width = m->width;
	stage->first_vertex = m->first_vertex;
	stage->spec_fd = -1;
	job->vertex_count = DAG_MAX(job->vertex_count, m->first_vertex + m->width);
	return true;
}

static bool is_same_kind(const struct stage_spec *a, const struct stage_spec *b)
{
	return a->kind == GRAPH_PLUGIN && b->kind == GRAPH_PLUGIN && !strcmp(a->entry, b->entry) &&
	       !strcmp(a->plugin, b->plugin);
}

/* Stages that run the same entry, of which the first stands for all. */
static void find_kinds(struct job *job)
{
	uint32_t *firsts = base_alloc((job->stage_count + 1) * sizeof(*firsts));
	size_t n = 0, k;

	for (uint32_t i = 0; i < job->stage_count; i++) {
		struct job_stage *s = &job->stages[i];

		if (s->like != i) {
			s->kind = job->stages[s->like].kind;
			continue;
		}
		k = s->spec->kind == GRAPH_PLUGIN ? 0 : n;
		while (k < n && !is_same_kind(job->stages[firsts[k]].spec, s->spec))
			k++;
		if (k == n)
			firsts[n++] = i;
		s->kind = firsts[k];
	}
	free(firsts);
}

bool stages_take(struct job *job, const Dagrun__JobOpen *m)
{
	job->stages = base_alloc((m->n_stages + 1) * sizeof(*job->stages));
	for (size_t i = 0; i < m->n_stages; i++, job->stage_count++)
		if (!take_stage(job, &job->stages[i], m->stages[i]))
			return false;
	find_kinds(job);
	return true;
}

int stage_spec_fd(struct job_stage *stage)
{
	struct buffer spec = {0};

	if (stage->spec_fd >= 0)
		return stage->spec_fd;
	stage_spec_encode(stage->spec, &spec);
	stage->spec_fd = memfd_create("dagrun-stage", MFD_CLOEXEC);
	if (stage->spec_fd >= 0 && write(stage->spec_fd, spec.data, spec.len) != (ssize_t)spec.len) {
		close(stage->spec_fd);
		stage->spec_fd = -1;
	}
	buffer_fini(&spec);
	return stage->spec_fd;
}

void stages_close_specs(struct job *job)
{
	for (uint32_t i = 0; i < job->stage_count; i++) {
		if (job->stages[i].spec_fd >= 0)
			close(job->stages[i].spec_fd);
		job->stages[i].spec_fd = -1;
	}
}
