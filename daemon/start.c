/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attempts from the Start messages of their job manager. Each is answered: one that cannot be taken is an
 * attempt that has failed, and says why; where it does not even name a vertex, the job cannot go on here.
 */
#include "node.h"
#include "wire/starts.h"

#include <limits.h>

/* Each value as often as parts are read of its producer. */
static uint32_t *spread(uint32_t *to, const uint32_t *from, size_t n, uint32_t times)
{
	for (size_t i = 0, at = 0; i < n; i++)
		for (uint32_t k = 0; k < times; k++)
			to[at++] = from[i];
	return to;
}

/* Each path begins with bytes of the one before it. */
static bool copy_sources(struct input_port *in, const Dagrun__Input *m)
{
	const char *before = "";

	in->sources = base_alloc((in->count + 1) * sizeof(*in->sources));
	for (uint32_t i = 0; i < in->count; i++) {
		const Dagrun__Source *s = m->sources[i];

		if (s->same > strlen(before) || s->same + strlen(s->path) >= PATH_MAX)
			return false;
		in->sources[i] = (struct attempt_source){base_format("%.*s%s", (int)s->same, before, s->path),
			s->size, s->inode, s->offset, s->length, s->mtime_ns, s->shared};
		before = in->sources[i].path;
	}
	return true;
}

/*
 * Where several parts are read of each producer, each is a channel: the producers are named as often. What is
 * known of each channel lies in one block of memory.
 */
static bool copy_input(struct input_port *in, const Dagrun__Input *m)
{
	uint32_t *numbers;

	in->joined = m->joined;
	in->parts = DAG_MAX(m->parts, 1u);
	if (!m->joined)
		return true;
	if (m->n_vertices > GRAPH_VERTICES_MAX || (uint64_t)m->n_vertices * in->parts > GRAPH_VERTICES_MAX)
		return false;
	if (m->n_sources ? m->n_sources != m->n_vertices || in->parts > 1
			 : m->n_attempts != m->n_vertices || m->n_nodes != m->n_vertices)
		return false;
	in->count = (uint32_t)m->n_vertices * in->parts;
	in->stream = m->stream;
	in->part = m->part;
	in->channel = (enum graph_channel)m->channel;
	in->channels = base_alloc((in->count + 1) * (sizeof(*in->channels) + 3 * sizeof(*numbers)));
	numbers = (uint32_t *)(in->channels + in->count);
	in->vertices = spread(numbers, m->vertices, m->n_vertices, in->parts);
	if (m->n_sources)
		return copy_sources(in, m);
	in->attempts = spread(numbers + in->count, m->attempts, m->n_vertices, in->parts);
	in->nodes = spread(numbers + 2ull * in->count, m->nodes, m->n_vertices, in->parts);
	return true;
}

/* What is wrong with it; NULL for nothing. */
static const char *find_fault(const struct job *job, const Dagrun__Start *m)
{
	const struct stage_spec *spec = job->stages[m->stage].spec;

	if (m->n_inputs != spec->in_count)
		return "it does not name as many inputs as its stage has";
	if (m->n_readers != spec->stream_count)
		return "it does not name the readers of each of its stage's outputs";
	if (m->group && !m->group_size)
		return "its fifo group has no members";
	if (m->group && m->group_size > HOST_TASKS_MAX)
		return "its fifo group is larger than a process can run";
	return NULL;
}

static void copy_skips(struct attempt_run *run, const Dagrun__Start *m)
{
	run->skip_count = (uint32_t)DAG_MIN(m->n_skips, (size_t)HOST_SKIPS_MAX);
	run->skips = run->skip_count ? base_alloc(run->skip_count * sizeof(*run->skips)) : NULL;
	for (uint32_t i = 0; i < run->skip_count; i++)
		run->skips[i] =
			(struct host_skip){m->skips[i]->port, m->skips[i]->producer, m->skips[i]->number};
}

static void find_nodes(struct attempt *a)
{
	for (uint32_t p = 0; p < a->input_count; p++)
		for (uint32_t i = 0; a->inputs[p].nodes && i < a->inputs[p].count; i++)
			a->inputs[p].nodes[i] = job_peer_of(a->job, a->inputs[p].nodes[i]);
}

bool start_names_a_vertex(const struct job *job, const Dagrun__Start *m)
{
	return m->stage < job->stage_count && m->index < job->stages[m->stage].width;
}

struct attempt *attempt_new(struct job *job, const Dagrun__Start *m, const char **ret_fault)
{
	struct job_stage *stage = &job->stages[m->stage];
	const char *fault = find_fault(job, m);
	size_t inputs = fault ? 0 : m->n_inputs;
	struct attempt *a = base_alloc(sizeof(*a));

	a->run = base_alloc(sizeof(*a->run) + inputs * sizeof(*a->run->inputs));
	a->job = job;
	a->key = (struct attempt_key){stage->first_vertex + m->index, m->attempt};
	a->stage = m->stage;
	a->index = m->index;
	a->run->width = m->width ? m->width : stage->width;
	a->run->group = m->group;
	a->run->group_size = m->group ? m->group_size : 1;
	a->run->shares = m->shares;
	a->run->argument_len = (uint32_t)DAG_MIN(m->argument.len, (size_t)DAG_ARGUMENT_MAX);
	if (a->run->argument_len) {
		a->run->argument = base_alloc(a->run->argument_len);
		memcpy(a->run->argument, m->argument.data, a->run->argument_len);
	}
	copy_skips(a->run, m);
	a->input_count = (uint32_t)inputs;
	a->inputs = a->run->inputs;
	a->same = job->attempts[a->key.vertex];
	job->attempts[a->key.vertex] = a;
	job->attempt_count++;
	for (uint32_t p = 0; p < a->input_count && !fault; p++)
		fault = copy_input(&a->inputs[p], m->inputs[p])
				? NULL
				: "the numbers of its inputs' producers do not fit each other";
	*ret_fault = fault;
	if (fault)
		return a;
	serve_init_streams(a, m->readers);
	find_nodes(a);
	return a;
}

static void take_start(struct job *job, const Dagrun__Start *m)
{
	const char *fault;
	struct attempt *a;

	if (!start_names_a_vertex(job, m)) {
		char *text = base_format("a start of vertex %u of stage %u, which the job does not have here",
			m->index, m->stage);

		job_send_ready(job, text);
		free(text);
		return;
	}
	a = attempt_find(job, job->stages[m->stage].first_vertex + m->index, m->attempt);
	if (a && !a->discarded)
		return; /* it was told before */
	a = attempt_new(job, m, &fault);
	if (fault)
		attempt_fail(a, DAG_EPROTO, 0, base_format("this daemon cannot take its start: %s", fault));
	else if (!chain_link(a))
		job_queue(a);
}

void start_batch(struct job *job, const Dagrun__StartBatch *m)
{
	struct arena *arena = &job->daemon->scratch;
	Dagrun__Start **starts;
	size_t n = 0;

	if (m->epoch != job->epoch)
		job_send_ready(job, "a batch of starts is of another run of the job manager");
	else if (starts_unpack(m, arena, &starts, &n) < 0)
		job_send_ready(job, "a batch of starts makes no sense to this daemon");
	for (size_t i = 0; i < n; i++)
		take_start(job, starts[i]);
	arena_reset(arena);
	job_run(job);
}
