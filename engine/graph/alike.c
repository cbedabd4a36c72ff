/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stages whose vertices run alike: the same program or entry with the same words, on ports of the same forms.
 * What is true of each of them is found out, kept and sent once. A stage has a key, all of that in a row.
 */
#include "alike.h"
#include "finish.h"

struct alike {
	uint32_t stage;
	UT_hash_handle hh;
	unsigned char key[];
};

void graph_put_pairs(struct buffer *b, const struct graph_pair *pairs, uint32_t n)
{
	buffer_put_number(b, n);
	for (uint32_t i = 0; i < n; i++) {
		buffer_put_text(b, pairs[i].name);
		buffer_put_text(b, pairs[i].value);
	}
}

static void put_texts(struct buffer *b, const char *const *texts, uint32_t n)
{
	buffer_put_number(b, n);
	for (uint32_t i = 0; i < n; i++)
		buffer_put_text(b, texts[i]);
}

void graph_put_format(struct buffer *b, struct graph_format format)
{
	buffer_put_number(b, format.kind);
	buffer_put_number(b, format.size);
}

static void put_ports(struct buffer *b, const struct graph_stage *s)
{
	buffer_put_number(b, s->in_count);
	for (uint32_t i = 0; i < s->in_count; i++) {
		graph_put_format(b, s->in[i].format);
		buffer_put_number(b, s->in[i].edge != GRAPH_NONE);
	}
	buffer_put_number(b, s->out_count);
	for (uint32_t i = 0; i < s->out_count; i++) {
		graph_put_format(b, s->out[i].format);
		buffer_put_number(b, s->open ? s->out[i].stream : 0);
	}
	buffer_put_number(b, s->stream_count);
	for (uint32_t i = 0; i < s->stream_count; i++) {
		const struct graph_stream *t = &s->streams[i];

		buffer_put_number(b, t->port);
		buffer_put_number(b, t->parts);
		buffer_put_number(b, t->partition.kind);
		buffer_put_number(b, t->partition.key);
		buffer_put_number(b, (unsigned char)t->partition.delimiter);
		buffer_put_number(b, t->channel);
		buffer_put_number(b, t->elastic);
		buffer_put_number(b, t->codec);
	}
}

static void put_stage(struct buffer *b, const struct graph_stage *s)
{
	buffer_put_number(b, s->kind);
	buffer_put_number(b, s->open);
	put_ports(b, s);
	buffer_put_text(b, s->plugin);
	buffer_put_text(b, s->entry);
	buffer_put_number(b, s->order_blind);
	graph_put_pairs(b, s->params, s->param_count);
	put_texts(b, s->argv, s->argc);
	graph_put_pairs(b, s->env, s->env_count);
	put_texts(b, s->files, s->file_count);
	put_texts(b, s->file_names, s->file_count);
	buffer_put_number(b, s->isolate);
	buffer_put_number(b, (uint64_t)s->timeout);
	buffer_put_number(b, s->memory);
	buffer_put_number(b, s->cpu_shares);
	buffer_put_number(b, s->exit_ok_count);
	buffer_append(b, s->exit_ok, s->exit_ok_count * sizeof(*s->exit_ok));
}

void graph_finish_alike(struct graph *graph)
{
	struct arena arena = {0};
	struct alike *all = NULL;
	struct buffer key = {0};

	for (size_t i = 0; i < graph->stage_count; i++) {
		struct graph_stage *s = graph->stages[i];
		struct alike *found;

		s->like = s->id;
		if (s->kind == GRAPH_INPUT)
			continue;
		key.len = 0;
		put_stage(&key, s);
		HASH_FIND(hh, all, key.data, key.len, found);
		if (found) {
			s->like = found->stage;
			continue;
		}
		found = arena_alloc(&arena, sizeof(*found) + key.len);
		found->stage = s->id;
		memcpy(found->key, key.data, key.len);
		HASH_ADD(hh, all, key, key.len, found);
	}
	HASH_CLEAR(hh, all);
	buffer_fini(&key);
	arena_fini(&arena);
}
