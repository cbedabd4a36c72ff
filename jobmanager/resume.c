/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a job is, as words in its journal: where its graph comes from, and a hash of everything that decides
 * its bytes, so that a job is only resumed as the one that it was.
 */
#include "shell.h"
#include "base/hash.h"
#include "os/os.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

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

static void add_hash(struct manager *m, const char *what, const char *name, const struct buffer *text)
{
	char hex[HASH_HEX_LEN + 1], *key = base_format("is: %s '%s'", what, name);

	hash_hex(hash_128(text->data ? text->data : (unsigned char *)"", text->len), hex);
	add(m, key, hex);
	free(key);
}

static void put_pairs(struct buffer *b, const struct graph_pair *pairs, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		buffer_format(b, "%s=%s;", pairs[i].name, pairs[i].value);
}

static void put_file(const struct manager *m, struct buffer *b, const char *path)
{
	for (size_t i = 0; path && i < m->file_count; i++)
		if (!strcmp(m->files[i].path, path))
			buffer_format(b, "%s;", m->files[i].hash);
}

static void put_stage(const struct manager *m, struct buffer *b, const struct graph_stage *s)
{
	buffer_format(b, "%d %u %u %u %d;", (int)s->kind, s->width, s->in_count, s->out_count, s->isolate);
	if (s->open)
		buffer_format(b, "open;");
	if (s->width_by_data)
		buffer_format(b, "per %llu;", (unsigned long long)s->width_per);
	for (uint32_t i = 0; i < s->in_count; i++)
		buffer_format(b, "in %d %u;", (int)s->in[i].format.kind, s->in[i].format.size);
	for (uint32_t i = 0; i < s->out_count; i++)
		buffer_format(b, "out %d %u;", (int)s->out[i].format.kind, s->out[i].format.size);
	if (s->kind == GRAPH_PLUGIN) {
		buffer_format(b, "%s;", s->entry);
		put_file(m, b, s->plugin);
	}
	for (uint32_t i = 0; i < s->argc; i++)
		buffer_format(b, "%s;", s->argv[i]);
	put_file(m, b, s->argc ? s->argv[0] : NULL);
	put_pairs(b, s->params, s->param_count);
	put_pairs(b, s->env, s->env_count);
	for (uint32_t i = 0; i < s->file_count; i++)
		put_file(m, b, s->files[i]);
	for (uint32_t i = 0; i < s->input_file_count; i++)
		buffer_format(b, "%s %llu %lld %llu;", s->input_files[i].path,
			(unsigned long long)s->input_files[i].size, (long long)s->input_files[i].mtime_ns,
			(unsigned long long)s->input_files[i].inode);
	for (uint32_t i = 0; s->kind == GRAPH_INPUT && i < s->width; i++)
		buffer_format(b, "%u %llu %llu;", s->splits[i].file, (unsigned long long)s->splits[i].offset,
			(unsigned long long)s->splits[i].length);
}

void resume_describe(struct manager *m)
{
	const struct graph *g = m->graph;
	struct buffer b = {0};

	for (size_t i = 0; i < g->stage_count; i++) {
		b.len = 0;
		put_stage(m, &b, g->stages[i]);
		add_hash(m, g->stages[i]->kind == GRAPH_INPUT ? "input" : "stage", g->stages[i]->name, &b);
	}
	b.len = 0;
	for (size_t i = 0; i < g->edge_count; i++) {
		const struct graph_edge *e = g->edges[i];

		buffer_format(&b, "%u.%u %u.%u %d %u %d %d %u %d %d;", e->from, e->from_port, e->to,
			e->to_port, (int)e->pattern, e->k, (int)e->channel, (int)e->partition.kind,
			e->partition.key, e->partition.delimiter, (int)e->codec);
		if (e->pattern == GRAPH_GROUPS)
			buffer_format(&b, "groups %d %u %u %llu;", (int)e->groups.by, e->groups.least,
				e->groups.most, (unsigned long long)e->groups.bytes);
		for (uint32_t j = 0; j < e->list_count; j++)
			buffer_format(&b, "%u-%u ", e->list[j].producer, e->list[j].consumer);
	}
	add_hash(m, "flow of", g->name, &b);
	b.len = 0;
	for (size_t i = 0; i < g->output_count; i++)
		buffer_format(&b, "%u.%u %s;", g->outputs[i].stage, g->outputs[i].port, g->outputs[i].path);
	add_hash(m, "outputs of", g->name, &b);
	buffer_fini(&b);
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

int resume_check_same(struct manager *m, const struct journal_saved *saved, const char *job, const char *what,
	struct dag_diag *diag)
{
	for (size_t i = 0; i < m->meta_count; i++) {
		const char *was = journal_meta(saved, m->meta[i].name);

		if (strncmp(m->meta[i].name, "is: ", 4) || (was && !strcmp(was, m->meta[i].value)))
			continue;
		dag_diag_add(diag, NULL, 0, 0,
			"job %s cannot be %s: %s is not what it was when the job began; run the graph anew",
			job, what, m->meta[i].name + strlen("is: "));
		return DAG_ECHANGED;
	}
	return 0;
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
