/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The word `partition` of an edge. A range partition takes its bounds from a sample that is drawn while the
 * job runs: the edge becomes three stages of standard vertices, which are placed, rerun and shown as any
 * others.
 */
#include "loader.h"

/* How the records of an edge are ordered: what a range partition says, and the standard vertices understand.
 */
static const char *const key_words[] = {"key", "delimiter", "from", "to", "type", "order", "invalid"};

/* "TO:WHAT", which no stage of the file can be called; another edge into the same stage counts on. */
static struct graph_stage *add_helper(struct loader *l, const struct yaml_node *node,
	const struct graph_edge *e, const char *what, const char *entry)
{
	const char *to = l->graph->stages[e->to]->name;
	char *name = base_format("%s:%s", to, what);
	struct graph_stage *stage;

	for (int i = 2; graph_find_stage(l->graph, name); i++) {
		free(name);
		name = base_format("%s:%s%d", to, what, i);
	}
	stage = loader_add_standard(l, node, name, entry);
	free(name);
	return stage;
}

static struct graph_edge *join(struct loader *l, const struct graph_edge *like, uint32_t from,
	uint32_t from_port, uint32_t to, uint32_t to_port)
{
	struct graph_edge *e = graph_add_edge(l->graph, from, from_port, to, to_port, GRAPH_POINTWISE);

	e->place = like->place;
	return e;
}

/* A sample has the beginning of long records, but whole those of a fixed size. */
#define SAMPLE_BYTES "64KiB"

static bool has_fixed(const struct graph *graph)
{
	for (size_t i = 0; i < graph->stage_count; i++) {
		const struct graph_stage *s = graph->stages[i];

		if (s->kind == GRAPH_PROGRAM && s->format.kind == DAG_FORMAT_FIXED)
			return true;
		for (uint32_t p = 0; s->kind != GRAPH_PROGRAM && p < s->out_count; p++)
			if (s->out[p].format.kind == DAG_FORMAT_FIXED)
				return true;
	}
	return false;
}

/* a >> b by range: a >= sample >> sort, a >= range, sort >> range by all, range >> b by part. */
static struct graph_edge *load_range(struct loader *l, const struct yaml_node *node, struct graph_edge *e)
{
	static const char *const keys[] = {
		"by", "sample", "key", "delimiter", "from", "to", "type", "order", "invalid"};
	const struct yaml_node *n = yaml_get(node, "sample");
	struct graph_pair *params = arena_alloc(&l->graph->arena, DAG_LENGTH(key_words) * sizeof(*params)),
			  *ordered = arena_alloc(
				  &l->graph->arena, (DAG_LENGTH(key_words) + 1) * sizeof(*ordered)),
			  *drawn = arena_alloc(&l->graph->arena, 3 * sizeof(*drawn));
	struct graph_stage *sample, *bounds, *range;
	struct graph_edge *last, *all;
	uint32_t count = 0, ordered_count = 0;
	uint64_t number;

	loader_check_keys(l, node, keys, DAG_LENGTH(keys), "partition");
	if (e->pattern != GRAPH_BIPARTITE)
		loader_error(l, node, "{by: range} goes with the pattern '>>'");
	for (size_t i = 0; i < DAG_LENGTH(key_words); i++)
		if (yaml_get(node, key_words[i]))
			params[count++] = (struct graph_pair){
				key_words[i], loader_text(l, yaml_get(node, key_words[i]), key_words[i])};
	loader_number(l, n, "sample", 1, 1000000, &number);
	drawn[0] = (struct graph_pair){"n", n ? loader_text(l, n, "sample") : "1000"};
	drawn[1] = (struct graph_pair){"by", "place"};
	sample = add_helper(l, node, e, "sample", "sample");
	bounds = add_helper(l, node, e, "bounds", "sort");
	range = add_helper(l, node, e, "range", "range");
	drawn[2] = (struct graph_pair){"bytes", SAMPLE_BYTES};
	if (!l->fixed_known) {
		l->fixed = has_fixed(l->graph);
		l->fixed_known = true;
	}
	loader_set_params(l, NULL, sample, drawn, l->fixed ? 2 : 3);
	/* What is no number in the sample is met again by `range`, which names it by its place among all. */
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(params[i].name, "invalid"))
			ordered[ordered_count++] = params[i];
	ordered[ordered_count++] = (struct graph_pair){"invalid", "zero"};
	loader_set_params(l, NULL, bounds, ordered, ordered_count);
	loader_set_params(l, node, range, params, count);
	bounds->width = 1;
	bounds->width_given = true;
	join(l, e, e->from, e->from_port, sample->id, 0);
	join(l, e, sample->id, 0, bounds->id, 0)->pattern = GRAPH_BIPARTITE;
	all = join(l, e, bounds->id, 0, range->id, 1);
	all->pattern = GRAPH_BIPARTITE;
	all->partition.kind = GRAPH_BY_ALL;
	last = join(l, e, range->id, 0, e->to, e->to_port);
	last->pattern = GRAPH_BIPARTITE;
	last->partition.kind = GRAPH_BY_PART;
	last->channel = e->channel;
	last->codec = e->codec;
	e->to = range->id;
	e->to_port = 0;
	e->pattern = GRAPH_POINTWISE;
	e->channel = GRAPH_AUTO;
	e->codec = GRAPH_CODEC_NONE;
	return last;
}

/* a >> b by all, by a tree: a >> copies by all, each of which some of b read. */
static struct graph_edge *load_tree(struct loader *l, const struct yaml_node *node, struct graph_edge *e)
{
	struct graph_stage *copies;
	struct graph_edge *last;

	if (e->pattern != GRAPH_BIPARTITE)
		loader_error(l, node, "a tree goes with the pattern '>>'");
	if (e->channel != GRAPH_AUTO && e->channel != GRAPH_FILE)
		loader_error(l, node, "a tree is of files: leave the channel out");
	copies = add_helper(l, node, e, "copies", "cat");
	copies->copies_for = e->to;
	last = join(l, e, copies->id, 0, e->to, e->to_port);
	last->pattern = GRAPH_LIST;
	last->codec = e->codec;
	e->to = copies->id;
	e->to_port = 0;
	return last;
}

static void load_key(struct loader *l, const struct yaml_node *node, struct graph_partition *ret)
{
	const struct yaml_node *key = yaml_get(node, "key"), *delimiter = yaml_get(node, "delimiter");
	const char *text = delimiter ? loader_text(l, delimiter, "delimiter") : NULL;
	uint64_t field = 0;

	ret->key = GRAPH_NONE;
	for (int i = 0; i < 2 && ret->kind != GRAPH_BY_HASH; i++)
		if (i ? delimiter : key)
			loader_error(l, i ? delimiter : key, "%s goes with {by: hash} and {by: range}",
				i ? "delimiter" : "key");
	if (ret->kind != GRAPH_BY_HASH)
		return;
	if (key && loader_number(l, key, "key", 1, 1u << 20, &field))
		ret->key = (uint32_t)field;
	if (text && strlen(text) != 1 && strcmp(text, "tab"))
		loader_error(l, delimiter, "delimiter: '%s' has %zu bytes; it is one byte, or 'tab'", text,
			strlen(text));
	else if (text)
		ret->delimiter = text[1] ? '\t' : *text;
}

struct graph_edge *loader_partition(struct loader *l, const struct yaml_node *node, struct graph_edge *e)
{
	static const char *const keys[] = {"by", "key", "delimiter", "tree"};
	const struct yaml_node *tree = yaml_get(node, "tree");
	bool by_tree = false;
	static const char *const words[] = {"hash", "round-robin", "all", "part", "range"};
	static const enum graph_partition_kind kinds[] = {
		GRAPH_BY_HASH, GRAPH_BY_ROUND_ROBIN, GRAPH_BY_ALL, GRAPH_BY_PART};
	const struct yaml_node *by;
	const char *text, *nearest;

	if (!loader_expect(l, node, YAML_MAP, "partition"))
		return e;
	by = yaml_get(node, "by");
	text = by ? loader_text(l, by, "by") : NULL;
	if (text && !strcmp(text, "range"))
		return load_range(l, node, e);
	loader_check_keys(l, node, keys, DAG_LENGTH(keys), "partition");
	if (!by)
		loader_error(l, node, "partition needs a 'by': hash, range, round-robin, all or part");
	if (!text)
		return e;
	for (size_t i = 0; i < DAG_LENGTH(kinds); i++)
		if (!strcmp(text, words[i]))
			e->partition.kind = kinds[i];
	e->partition_said = true;
	if (e->partition.kind == GRAPH_BY_DEFAULT) {
		nearest = dag_nearest(text, words, DAG_LENGTH(words));
		loader_error(l, by,
			"partition by '%s' is unknown; it is hash, range, round-robin, all or part%s%s%s",
			text, nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
	}
	load_key(l, node, &e->partition);
	loader_bool(l, tree, "tree", &by_tree);
	if (by_tree && e->partition.kind != GRAPH_BY_ALL)
		loader_error(l, tree, "a tree goes with {by: all}");
	return by_tree ? load_tree(l, node, e) : e;
}
