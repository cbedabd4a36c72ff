/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of standard vertices beside the edges that bring their records: whether those that belong together
 * meet, and whether there is a key at all. Looked at when widths, formats and partitions are known.
 */
#include "loader.h"
#include "base/buffer.h"

static bool is_standard(const struct graph_stage *s, const char *entry)
{
	const char *slash = s->kind == GRAPH_PLUGIN && s->plugin ? strrchr(s->plugin, '/') : NULL;

	return slash && !strcmp(slash, "/std.so") && !strcmp(s->entry, entry);
}

static const char *param(const struct graph_stage *s, const char *name, const char *otherwise)
{
	for (uint32_t i = 0; i < s->param_count; i++)
		if (!strcmp(s->params[i].name, name))
			return s->params[i].value;
	return otherwise;
}

static void report(struct loader *l, struct graph_place place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void report(struct loader *l, struct graph_place place, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = base_vformat(format, args);
	va_end(args);
	dag_diag_add(l->diag, place.file, place.line, place.column, "%s", text);
	free(text);
}

/* ---- the sides of a join ---- */

/* Vertices that let records through as they are, so that what partitioned those partitions these. */
static bool passes(const struct graph_stage *s)
{
	static const char *const entries[] = {
		"cat", "partition", "sort", "merge", "distinct", "top", "head", "sample", "grep", "tee"};

	for (size_t i = 0; i < DAG_LENGTH(entries); i++)
		if (is_standard(s, entries[i]))
			return true;
	return false;
}

/* What decides in which vertex a record of an edge is. */
struct placing {
	enum { PLACED_UNKNOWN, PLACED_BY_EDGE, PLACED_BY_SPLIT } how;
	const struct graph_edge *edge;
};

/* One vertex a file may be meant: files that some job has partitioned before. */
static bool is_split(const struct graph_stage *s)
{
	return s->kind == GRAPH_INPUT && s->width > s->input_file_count;
}

/* Back over pointwise edges to one that partitions, or to an input. */
static struct placing placing_of(const struct loader *l, const struct graph_edge *e)
{
	bool changed = false;

	while (e->pattern == GRAPH_POINTWISE) {
		const struct graph_stage *from = l->graph->stages[e->from];

		if (is_split(from))
			return (struct placing){PLACED_BY_SPLIT, e};
		if (from->in_count != 1 || from->in[0].edge == GRAPH_NONE)
			return (struct placing){PLACED_UNKNOWN, e};
		/* Others may write other keys, and keep what belongs together all the same. */
		changed = changed || !passes(from) || e->from_width != e->to_width;
		e = l->graph->edges[from->in[0].edge];
	}
	return (struct placing){
		changed || e->pattern != GRAPH_BIPARTITE ? PLACED_UNKNOWN : PLACED_BY_EDGE, e};
}

static bool goes_by(struct placing p, enum graph_partition_kind kind)
{
	return p.how == PLACED_BY_EDGE && p.edge->partition.kind == kind;
}

static const char *by_word(const struct loader *l, struct placing p)
{
	if (p.how == PLACED_BY_SPLIT)
		return "the splits of an input";
	switch (p.edge->partition.kind) {
	case GRAPH_BY_ALL:
		return "all";
	case GRAPH_BY_HASH:
		return "hash";
	case GRAPH_BY_ROUND_ROBIN:
		return "round-robin";
	default:
		return is_standard(l->graph->stages[p.edge->from], "range") ? "range" : "part";
	}
}

/* A side that goes by hash of something else than the join's key. */
static bool check_hash(
	struct loader *l, const struct graph_stage *s, uint32_t port, const struct graph_edge *e)
{
	const char *key = param(s, "key", "0"), *delimiter = param(s, "delimiter", "");
	const char *field = port ? param(s, "right", key) : key;
	bool kv = l->graph->stages[e->from]->out[e->from_port].format.kind == DAG_FORMAT_KV;
	char byte = !strcmp(delimiter, "tab") ? '\t' : *delimiter;

	if (strcmp(param(s, "type", "text"), "text") != 0)
		report(l, e->place,
			"'%s' joins by numbers, but {by: hash} goes by bytes, so that 1 and 1.0 would not "
			"meet: join by "
			"text, or give '%s' width 1",
			s->name, s->name);
	else if (strcmp(param(s, "from", "0"), "0") != 0 || strcmp(param(s, "to", "0"), "0") != 0)
		report(l, e->place,
			"'%s' joins by some bytes of its key (from, to), but {by: hash} goes by all of them, "
			"so that "
			"records with the same ones would not meet",
			s->name);
	else if (kv && strcmp(field, "0") != 0)
		report(l, e->place,
			"'%s' joins port %u by field %s, but key-value records are partitioned by their "
			"keys: say %s: 0",
			s->name, port, field, port ? "right" : "key");
	else if (!kv && (strtoul(field, NULL, 10) != e->partition.key || byte != e->partition.delimiter))
		report(l, e->place,
			"'%s' joins port %u by field %s (delimiter '%s'), but it is partitioned by field %u "
			"(delimiter "
			"'%.1s'), so that records with one key would not meet",
			s->name, port, field, delimiter, e->partition.key, &e->partition.delimiter);
	else
		return true;
	return false;
}

/* Whole lines that are the same are so in each field too. */
static bool whole_lines_meet(const struct loader *l, const struct graph_stage *s, const struct graph_edge *a,
	const struct graph_edge *b)
{
	const char *key = param(s, "key", "0");

	return !strcmp(key, "0") && !strcmp(param(s, "right", key), "0") &&
	       !strcmp(param(s, "type", "text"), "text") &&
	       l->graph->stages[a->from]->out[a->from_port].format.kind != DAG_FORMAT_KV &&
	       l->graph->stages[b->from]->out[b->from_port].format.kind != DAG_FORMAT_KV &&
	       a->partition.key == b->partition.key && a->partition.delimiter == b->partition.delimiter &&
	       !strcmp(param(s, "from", "0"), "0") && !strcmp(param(s, "to", "0"), "0");
}

/* Where vertices pick the part themselves, or files come one a vertex, what belongs together may well meet.
 */
static bool may_meet(const struct loader *l, const struct placing side[2])
{
	bool said = true;

	for (int i = 0; i < 2; i++) {
		if (side[i].how == PLACED_UNKNOWN)
			return true;
		said = said && goes_by(side[i], GRAPH_BY_PART) && strcmp(by_word(l, side[i]), "range") != 0;
	}
	return said;
}

static void check_join(struct loader *l, const struct graph_stage *s)
{
	struct placing side[2];
	bool all[2], ranges;

	if (s->width == 1 || s->in[0].edge == GRAPH_NONE || s->in[1].edge == GRAPH_NONE)
		return;
	for (int i = 0; i < 2; i++) {
		side[i] = placing_of(l, l->graph->edges[s->in[i].edge]);
		all[i] = goes_by(side[i], GRAPH_BY_ALL);
	}
	if (may_meet(l, side) || (all[1] && !all[0]))
		return;
	if (all[0] && (all[1] || strcmp(param(s, "kind", "inner"), "inner") != 0)) {
		report(l, side[0].edge->place,
			"each of the %u vertices of '%s' gets the whole left side {by: all}, and each would "
			"write it: "
			"partition that side, or give '%s' width 1",
			s->width, s->name, s->name);
	} else if (!all[0] && (!goes_by(side[0], GRAPH_BY_HASH) || !goes_by(side[1], GRAPH_BY_HASH))) {
		ranges = !strcmp(by_word(l, side[0]), "range") && !strcmp(by_word(l, side[1]), "range");
		report(l, side[side[1].how == PLACED_BY_SPLIT ? 0 : 1].edge->place,
			"the sides of '%s' are partitioned unlike, by %s and by %s%s, so that records with "
			"one key "
			"would not meet in one of its %u vertices: take {by: hash} by the join's key for "
			"both, or {by: "
			"all} for the right one",
			s->name, by_word(l, side[0]), by_word(l, side[1]),
			ranges ? ", each with bounds of its own" : "", s->width);
	} else if (!all[0] && !whole_lines_meet(l, s, side[0].edge, side[1].edge) &&
		   check_hash(l, s, 0, side[0].edge)) {
		check_hash(l, s, 1, side[1].edge);
	}
}

/* ---- keys that are numbers ---- */

/* Numbers that are spelt in two ways are one key, but not to a partition by hash. */
static void check_numbers(struct loader *l, const struct graph_stage *s)
{
	struct placing p;

	if (s->width == 1 || s->in[0].edge == GRAPH_NONE || !strcmp(param(s, "type", "text"), "text"))
		return;
	p = placing_of(l, l->graph->edges[s->in[0].edge]);
	if (!goes_by(p, GRAPH_BY_HASH))
		return;
	report(l, p.edge->place,
		"'%s' goes by numbers, but {by: hash} by bytes, so that 1 and 1.0 would come to different "
		"vertices: take "
		"{by: range} with the same key and type, or give '%s' width 1",
		s->name, s->name);
}

/* ---- orders that must be one ---- */

/* What a vertex orders by, or takes what it reads to be ordered by. */
struct order {
	const char *key, *delimiter, *type, *order;
	unsigned long from, to;
};

static struct order order_of(const struct graph_stage *s, const char *key_word)
{
	const char *key = param(s, key_word, param(s, "key", "0")), *delimiter = param(s, "delimiter", "");

	return (struct order){key,
		!strcmp(key, "0")           ? ""
		: !strcmp(delimiter, "tab") ? "\t"
					    : delimiter,
		param(s, "type", "text"), param(s, "order", is_standard(s, "top") ? "desc" : "asc"),
		DAG_MAX(strtoul(param(s, "from", "1"), NULL, 10), 1ul),
		strtoul(param(s, "to", "0"), NULL, 10)};
}

static bool same_field(const struct order *a, const struct order *b)
{
	return strtoul(a->key, NULL, 10) == strtoul(b->key, NULL, 10) && !strcmp(a->delimiter, b->delimiter);
}

/* What is in the order `fine` is in the order `coarse`, too: by fewer bytes of a text, perhaps. */
static bool refines(const struct order *fine, const struct order *coarse)
{
	if (!same_field(fine, coarse) || strcmp(fine->type, coarse->type) != 0 ||
		strcmp(fine->order, coarse->order) != 0 || fine->from != coarse->from)
		return false;
	return fine->to == coarse->to ||
	       (!strcmp(fine->type, "text") && coarse->to && (!fine->to || fine->to > coarse->to));
}

/* "key 1, type number, order asc" */
static void say_order(struct buffer *b, const struct order *o)
{
	buffer_format(b, "key: %s", o->key);
	if (*o->delimiter)
		buffer_format(b, ", delimiter: '%s'", *o->delimiter == '\t' ? "tab" : o->delimiter);
	if (o->from > 1)
		buffer_format(b, ", from: %lu", o->from);
	if (o->to)
		buffer_format(b, ", to: %lu", o->to);
	buffer_format(b, ", type: %s, order: %s", o->type, o->order);
}

static void report_orders(struct loader *l, struct graph_place place, const char *format, const char *first,
	const struct order *a, const char *second, const struct order *b)
{
	struct buffer x = {0}, y = {0};

	say_order(&x, a);
	say_order(&y, b);
	report(l, place, format, first, (int)x.len, (char *)x.data, second, (int)y.len, (char *)y.data);
	buffer_fini(&x);
	buffer_fini(&y);
}

/* Its outputs one after the other, which nobody reads in another way. */
static bool is_concatenated(const struct loader *l, const struct graph_stage *s)
{
	for (size_t i = 0; i < l->graph->output_count; i++)
		if (l->graph->outputs[i].stage == s->id && !l->graph->outputs[i].per_vertex)
			return true;
	return false;
}

/* Ranges of a key, each sorted by another: one after the other they are in no order. */
static void check_ranges(struct loader *l, const struct graph_stage *s)
{
	struct placing p;
	struct order range, own;

	if (s->width == 1 || s->in[0].edge == GRAPH_NONE)
		return;
	p = placing_of(l, l->graph->edges[s->in[0].edge]);
	if (!goes_by(p, GRAPH_BY_PART) || strcmp(by_word(l, p), "range") != 0)
		return;
	range = order_of(l->graph->stages[p.edge->from], "key");
	own = order_of(s, "key");
	/* By another field, on purpose, each for itself. */
	if (refines(&own, &range) ||
		(!same_field(&own, &range) && param(s, "key", NULL) && !is_concatenated(l, s)))
		return;
	report_orders(l, p.edge->place,
		"the records that come to '%s' are parted into ranges by another order (%.*s) than it sorts "
		"each of them by: '%s' has (%.*s), so that its outputs, one after the other, would be in "
		"neither; say the same words in both",
		s->name, &range, s->name, &own);
}

/* Back over what keeps the order of what it reads, to a vertex that makes one; NULL where none is known. */
static const struct graph_stage *sorter_of(const struct loader *l, const struct graph_edge *e)
{
	static const char *const keep[] = {"cat", "partition", "tee", "grep", "head", "sample", "distinct"};

	for (;;) {
		const struct graph_stage *from = l->graph->stages[e->from];
		bool keeps = is_standard(from, "range");

		if (is_standard(from, "sort") || is_standard(from, "merge") || is_standard(from, "top"))
			return from;
		for (size_t i = 0; i < DAG_LENGTH(keep); i++)
			keeps = keeps || (is_standard(from, keep[i]) && from->in_count == 1);
		if (!keeps || from->in[0].edge == GRAPH_NONE)
			return NULL;
		e = l->graph->edges[from->in[0].edge];
		/* Of several, one after the other, the order is lost. */
		if (e->from_width != 1 && (e->pattern != GRAPH_POINTWISE || e->from_width > e->to_width))
			return NULL;
	}
}

/* What is merged by one order must not be sorted by another. */
static void check_sorted(struct loader *l, const struct graph_stage *s, uint32_t port, const char *key_word)
{
	const struct graph_edge *e =
		s->in[port].edge == GRAPH_NONE ? NULL : l->graph->edges[s->in[port].edge];
	const struct graph_stage *sorter = e ? sorter_of(l, e) : NULL;
	struct order made, wanted;

	if (!sorter)
		return;
	made = order_of(sorter, "key");
	wanted = order_of(s, key_word);
	if (!refines(&made, &wanted))
		report_orders(l, e->place,
			"'%s' merges what is sorted by (%.*s), but '%s' sorts it by (%.*s): say the same "
			"words "
			"in both",
			s->name, &wanted, sorter->name, &made);
}

/* ---- counts and sums of whole records ---- */

/* The program whose lines the stage reads, where its text has a tab in it; NULL for others. */
static const struct graph_stage *writer_of_tabs(const struct loader *l, const struct graph_stage *s)
{
	const struct graph_stage *from =
		s->in[0].edge == GRAPH_NONE ? NULL : l->graph->stages[l->graph->edges[s->in[0].edge]->from];

	if (!from || from->kind != GRAPH_PROGRAM || from->format.kind != DAG_FORMAT_LINES)
		return NULL;
	for (uint32_t i = 0; i < from->argc; i++)
		if (strstr(from->argv[i], "\\t") || strchr(from->argv[i], '\t'))
			return from;
	return NULL;
}

static void check_count(struct loader *l, const struct graph_stage *s)
{
	const struct graph_stage *from = writer_of_tabs(l, s);

	if (from && !param(s, "key", NULL))
		report(l, s->place,
			"'%s' has no key, so it counts whole lines, and '%s' seems to write tabs in them, "
			"with which they could not "
			"be written as keys: say key: 1 (or another field), or let '%s' have format: kv, "
			"where what is before the "
			"first tab is the key; key: 0 says that its lines have no tabs",
			s->name, from->name, from->name);
}

static void check_sum(struct loader *l, const struct graph_stage *s)
{
	const struct graph_edge *e = s->in[0].edge == GRAPH_NONE ? NULL : l->graph->edges[s->in[0].edge];
	const struct graph_stage *from = e ? l->graph->stages[e->from] : NULL;

	if (!from || from->kind != GRAPH_PROGRAM || strcmp(param(s, "value", "0"), "0") != 0 ||
		from->format.kind == DAG_FORMAT_KV)
		return;
	report(l, s->place,
		"'%s' adds up values of key-value records, but '%s' writes lines: let it have format: kv, "
		"where a tab "
		"stands between key and value, or say which fields are meant, such as key: 1, value: 2",
		s->name, from->name);
}

void loader_check_standard(struct loader *l)
{
	for (size_t i = 0; i < l->graph->stage_count; i++) {
		const struct graph_stage *s = l->graph->stages[i];

		if (is_standard(s, "sort"))
			check_ranges(l, s);
		else if (is_standard(s, "merge"))
			check_sorted(l, s, 0, "key");
		else if (is_standard(s, "range"))
			check_sorted(l, s, 1, "key");
		else if (is_standard(s, "join")) {
			check_join(l, s);
			for (uint32_t p = 0; p < 2 && !strcmp(param(s, "method", "hash"), "merge"); p++)
				check_sorted(l, s, p, p ? "right" : "key");
		} else if (is_standard(s, "count")) {
			check_numbers(l, s);
			check_count(l, s);
		} else if (is_standard(s, "distinct"))
			check_numbers(l, s);
		else if (is_standard(s, "sum"))
			check_sum(l, s);
	}
}
