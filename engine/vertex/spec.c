/* SPDX-License-Identifier: Apache-2.0 */
/* Fields in a fixed order; one function walks them for both directions, so that the two cannot differ. */
#include "spec.h"

#define SPEC_ITEMS_MAX 1000000u

struct coder {
	struct buffer *out; /* encoding, or NULL */
	const unsigned char *at, *end;
	struct arena *arena;
	bool bad;
};

static void code_bytes(struct coder *c, void *data, size_t n)
{
	if (c->out)
		buffer_append(c->out, data, n);
	else if (c->bad || (size_t)(c->end - c->at) < n) {
		c->bad = true;
		memset(data, 0, n);
	} else {
		memcpy(data, c->at, n);
		c->at += n;
	}
}

static void code_u32(struct coder *c, uint32_t *n)
{
	code_bytes(c, n, sizeof(*n));
}

static void code_bool(struct coder *c, bool *b)
{
	uint8_t byte = *b;

	code_bytes(c, &byte, 1);
	*b = byte != 0;
}

static void code_string(struct coder *c, const char **s)
{
	uint32_t len = c->out && *s ? (uint32_t)strlen(*s) + 1 : 0; /* 0: NULL */

	code_u32(c, &len);
	if (c->out) {
		buffer_append(c->out, *s, len ? len - 1 : 0);
	} else if (len && (c->bad || (size_t)(c->end - c->at) < len - 1)) {
		c->bad = true;
		*s = "";
	} else {
		*s = len ? arena_strndup(c->arena, (const char *)c->at, len - 1) : NULL;
		c->at += len ? len - 1 : 0;
	}
}

/* The count of an array, and its memory when decoding. */
static void *code_array(struct coder *c, void *items, uint32_t *count, size_t size)
{
	code_u32(c, count);
	if (c->out)
		return items;
	if (*count > SPEC_ITEMS_MAX || c->bad) {
		c->bad = true;
		*count = 0;
	}
	return arena_alloc(c->arena, (*count + 1) * size);
}

static void code_pairs(struct coder *c, struct graph_pair **pairs, uint32_t *count)
{
	*pairs = code_array(c, *pairs, count, sizeof(**pairs));
	for (uint32_t i = 0; i < *count && !c->bad; i++) {
		code_string(c, &(*pairs)[i].name);
		code_string(c, &(*pairs)[i].value);
	}
}

static void code_format(struct coder *c, struct graph_format *format)
{
	uint32_t kind = format->kind;

	code_u32(c, &kind);
	code_u32(c, &format->size);
	format->kind = (enum dag_format_kind)kind;
	if (kind > DAG_FORMAT_ANY)
		c->bad = true;
}

static void code_stream(struct coder *c, struct graph_stream *s)
{
	uint32_t kind = s->partition.kind, channel = s->channel,
		 delimiter = (unsigned char)s->partition.delimiter, codec = s->codec;

	code_u32(c, &s->port);
	code_u32(c, &s->parts);
	code_u32(c, &kind);
	code_u32(c, &s->partition.key);
	code_u32(c, &delimiter);
	code_u32(c, &channel);
	code_bool(c, &s->elastic);
	code_u32(c, &codec);
	s->partition.kind = (enum graph_partition_kind)kind;
	s->partition.delimiter = (char)delimiter;
	s->channel = (enum graph_channel)channel;
	s->codec = (enum graph_codec)codec;
	if (kind > GRAPH_BY_PART || channel > GRAPH_FIFO || codec > GRAPH_CODEC_ZSTD || !s->parts ||
		s->parts > GRAPH_PARTS_MAX || s->port >= GRAPH_PORTS_MAX)
		c->bad = true;
}

static void code_spec(struct coder *c, struct stage_spec *s)
{
	code_string(c, &s->job);
	code_u32(c, &s->kind);
	code_string(c, &s->plugin);
	code_string(c, &s->entry);
	s->argv = code_array(c, s->argv, &s->argc, sizeof(*s->argv));
	for (uint32_t i = 0; i < s->argc && !c->bad; i++)
		code_string(c, &s->argv[i]);
	code_pairs(c, &s->params, &s->param_count);
	code_pairs(c, &s->env, &s->env_count);
	code_pairs(c, &s->files, &s->file_count);
	code_string(c, &s->scratch);
	code_u32(c, &s->in_count);
	code_u32(c, &s->out_count);
	if (s->in_count > GRAPH_PORTS_MAX || s->out_count > GRAPH_PORTS_MAX) {
		c->bad = true;
		return;
	}
	for (uint32_t i = 0; i < s->in_count; i++) {
		code_format(c, &s->in[i]);
		code_bool(c, &s->in_joined[i]);
	}
	for (uint32_t i = 0; i < s->out_count; i++)
		code_format(c, &s->out[i]);
	code_bool(c, &s->order_blind);
	s->streams = code_array(c, s->streams, &s->stream_count, sizeof(*s->streams));
	for (uint32_t i = 0; i < s->stream_count && !c->bad; i++)
		code_stream(c, &s->streams[i]);
	s->exit_ok = code_array(c, s->exit_ok, &s->exit_ok_count, sizeof(*s->exit_ok));
	for (uint32_t i = 0; i < s->exit_ok_count && !c->bad; i++)
		code_bytes(c, &s->exit_ok[i], sizeof(s->exit_ok[i]));
}

void stage_spec_encode(const struct stage_spec *spec, struct buffer *ret_bytes)
{
	struct coder c = {.out = ret_bytes};
	struct stage_spec copy = *spec;

	code_spec(&c, &copy);
}

int stage_spec_decode(const void *data, size_t len, struct arena *arena, struct stage_spec *ret_spec)
{
	struct coder c = {.at = data, .end = (const unsigned char *)data + len, .arena = arena};
	struct stage_spec spec = {0};

	code_spec(&c, &spec);
	if (c.bad || c.at != c.end || !spec.job || !spec.scratch)
		return DAG_EPROTO;
	*ret_spec = spec;
	return 0;
}
