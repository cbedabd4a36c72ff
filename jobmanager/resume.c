/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a job is, as words in its journal: where its graph comes from, and a hash of everything that decides
 * its bytes, so that a job is only resumed as the one that it was.
 */
#include "shell.h"
#include "base/hash.h"
#include "graph/alike.h"
#include "os/os.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* Words of the journal. */
#define STAGES "stages"
#define FLOW "edges"
#define OUTPUTS "outputs"

static void add(struct manager *m, const char *name, const char *value)
{
	*DAG_APPEND(m->meta, m->meta_count, m->meta_cap) =
		(struct graph_pair){base_strdup(name), base_strdup(value)};
}

static void add_number(struct manager *m, const char *name, long long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", value);
	add(m, name, text);
}

static void put_file(const struct manager *m, struct buffer *b, const char *path)
{
	for (size_t i = 0; path && i < m->file_count; i++)
		if (!strcmp(m->files[i].path, path))
			buffer_put_text(b, m->files[i].hash);
}

/* What is the same of all stages that run alike. */
static void put_stage(const struct manager *m, struct buffer *b, const struct graph_stage *s)
{
	buffer_put_number(b, s->isolate);
	buffer_put_number(b, s->in_count);
	for (uint32_t i = 0; i < s->in_count; i++)
		graph_put_format(b, s->in[i].format);
	buffer_put_number(b, s->out_count);
	for (uint32_t i = 0; i < s->out_count; i++)
		graph_put_format(b, s->out[i].format);
	buffer_put_text(b, s->entry);
	put_file(m, b, s->plugin);
	buffer_put_number(b, s->argc);
	for (uint32_t i = 0; i < s->argc; i++)
		buffer_put_text(b, s->argv[i]);
	put_file(m, b, s->argc ? s->argv[0] : NULL);
	graph_put_pairs(b, s->params, s->param_count);
	graph_put_pairs(b, s->env, s->env_count);
	for (uint32_t i = 0; i < s->file_count; i++) {
		put_file(m, b, s->files[i]);
		buffer_put_text(b, s->file_names[i]);
	}
}

static void put_input(struct buffer *b, const struct graph_stage *s)
{
	for (uint32_t i = 0; i < s->input_file_count; i++) {
		buffer_put_text(b, s->input_files[i].path);
		buffer_put_number(b, s->input_files[i].size);
		buffer_put_number(b, (uint64_t)s->input_files[i].mtime_ns);
		buffer_put_number(b, s->input_files[i].inode);
	}
	for (uint32_t i = 0; i < s->width; i++) {
		buffer_put_number(b, s->splits[i].file);
		buffer_put_number(b, s->splits[i].offset);
		buffer_put_number(b, s->splits[i].length);
	}
}

static void put_edge(struct buffer *b, const struct graph_edge *e)
{
	uint64_t numbers[] = {e->from, e->from_port, e->to, e->to_port, e->pattern, e->k, e->channel,
		e->partition.kind, e->partition.key, (unsigned char)e->partition.delimiter, e->codec,
		e->groups.by, e->groups.least, e->groups.most, e->groups.bytes, e->list_count};

	buffer_append(b, numbers, sizeof(numbers));
	for (uint32_t i = 0; i < e->list_count; i++) {
		buffer_put_number(b, e->list[i].producer);
		buffer_put_number(b, e->list[i].consumer);
	}
}

/* The hash of what is in the buffer, which is empty then. */
static struct dag_hash take_hash(struct buffer *b)
{
	struct dag_hash hash = hash_128(b->data ? b->data : (unsigned char *)"", b->len);

	b->len = 0;
	return hash;
}

static void put_digits(struct buffer *digits, struct buffer *b)
{
	char hex[HASH_HEX_LEN + 1];

	hash_hex(take_hash(b), hex);
	buffer_append(digits, hex, HASH_HEX_LEN);
}

/* A hash of each stage, in their order: of what it is itself, and of what it shares with those that are
 * alike. */
static void put_stages(struct manager *m, struct buffer *digits)
{
	const struct graph *g = m->graph;
	struct dag_hash *shared = base_alloc((g->stage_count + 1) * sizeof(*shared));
	struct buffer b = {0};

	for (size_t i = 0; i < g->stage_count; i++) {
		const struct graph_stage *s = g->stages[i];

		if (s->like == i && s->kind != GRAPH_INPUT) {
			put_stage(m, &b, s);
			shared[i] = take_hash(&b);
		}
		buffer_put_text(&b, s->name);
		buffer_put_number(&b, s->kind);
		buffer_put_number(&b, s->width);
		buffer_put_number(&b, s->open);
		buffer_put_number(&b, s->width_by_data ? s->width_per : 0);
		buffer_append(&b, &shared[s->like], sizeof(*shared));
		if (s->kind == GRAPH_INPUT)
			put_input(&b, s);
		put_digits(digits, &b);
	}
	buffer_fini(&b);
	free(shared);
}

static void add_digits(struct manager *m, const char *name, struct buffer *digits)
{
	buffer_append(digits, "", 1);
	add(m, name, (const char *)digits->data);
	digits->len = 0;
}

static void add_identity(struct manager *m)
{
	const struct graph *g = m->graph;
	struct buffer b = {0}, digits = {0};

	put_stages(m, &digits);
	add_digits(m, STAGES, &digits);
	for (size_t i = 0; i < g->edge_count; i++)
		put_edge(&b, g->edges[i]);
	put_digits(&digits, &b);
	add_digits(m, FLOW, &digits);
	for (size_t i = 0; i < g->output_count; i++) {
		buffer_put_number(&b, g->outputs[i].stage);
		buffer_put_number(&b, g->outputs[i].port);
		buffer_put_text(&b, g->outputs[i].path);
	}
	put_digits(&digits, &b);
	add_digits(m, OUTPUTS, &digits);
	buffer_fini(&digits);
	buffer_fini(&b);
}

void resume_describe(struct manager *m)
{
	const struct graph *g = m->graph;

	add_identity(m);
	if (m->config->saved)
		return;
	for (size_t i = 0; i < m->config->meta_count; i++)
		add(m, m->config->meta[i].name, m->config->meta[i].value);
	for (size_t i = 0; i < g->output_count; i++) {
		char *name = base_format("output %zu", i);

		add(m, name, g->outputs[i].path);
		free(name);
	}
	add(m, "job", m->job);
	add(m, "graph", g->name);
	add(m, "file", g->file ? g->file : "");
	add_number(m, "slots", m->config->slots);
	add_number(m, "began", time(NULL));
	add_number(m, "epoch", 1);
}

/* What is not what it was; NULL where all is. */
static char *find_change(const struct manager *m, const struct journal_saved *saved)
{
	const struct graph *g = m->graph;

	for (size_t i = 0; i < m->meta_count; i++) {
		const char *name = m->meta[i].name, *now = m->meta[i].value, *was = journal_meta(saved, name);
		size_t same = 0;

		if ((strcmp(name, STAGES) && strcmp(name, FLOW) && strcmp(name, OUTPUTS)) ||
			(was && !strcmp(was, now)))
			continue;
		while (was && was[same] && was[same] == now[same])
			same++;
		same /= HASH_HEX_LEN;
		if (strcmp(name, STAGES) || same >= g->stage_count)
			return base_format("its list of %s", name);
		return base_format("%s '%s'", g->stages[same]->kind == GRAPH_INPUT ? "input" : "stage",
			g->stages[same]->name);
	}
	return NULL;
}

int resume_check_same(struct manager *m, const struct journal_saved *saved, const char *job, const char *what,
	struct dag_diag *diag)
{
	char *change = find_change(m, saved);

	if (!change)
		return 0;
	dag_diag_add(diag, NULL, 0, 0,
		"job %s cannot be %s: %s is not what it was when the job began; run the graph anew", job,
		what, change);
	free(change);
	return DAG_ECHANGED;
}

int resume_replay(struct manager *m, struct dag_diag *diag)
{
	const struct journal_saved *saved = m->config->saved;
	int r = resume_check_same(m, saved, m->job, "resumed", diag);

	if (r < 0)
		return r;
	for (size_t i = 0; i < saved->fact_count; i++)
		if (jm_replay(m->jm, saved->facts[i]) < 0) {
			dag_diag_add(diag, NULL, 0, 0,
				"the journal of job %s is refused: row %zu of table facts contradicts those "
				"before it: %.200s",
				m->job, i + 1, saved->facts[i]);
			return DAG_ECORRUPT;
		}
	for (size_t i = 0; i < saved->fact_count; i++)
		quarantine_fact(m, saved->facts[i]);
	jm_replayed(m->jm);
	m->resuming = true;
	m->journaled = saved->fact_count;
	return journal_set_epoch(m->job_folder, m->epoch, diag);
}

/* The nodes that had something have said what it is, or had time to. */
void resume_tick(struct manager *m)
{
	bool pending = false;

	if (!m->resuming || m->ending)
		return;
	for (struct node *n = m->nodes; n; n = n->next)
		pending = pending || (!n->up && !n->gone);
	if (jm_expected_nodes(m->jm) || pending || !m->ns_answered)
		if (os_now() - m->started < RESUME_PATIENCE)
			return;
	m->resuming = false;
	manager_step(m, &(struct jm_event){.kind = JM_RESUMED});
	manager_close_open(m); /* who added vertices is gone */
}
