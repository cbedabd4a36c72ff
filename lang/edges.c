/* SPDX-License-Identifier: Apache-2.0 */
/* The `flow` and `outputs` sections: ends and joints to edges, with ports given out in the flow's order. */
#include "loader.h"
#include "flow.h"

#define LIST_PAIRS_MAX 1000000u

static const struct graph_stage *find_end(
	struct loader *l, const struct yaml_node *node, const char *name, int column)
{
	struct graph *g = l->graph;
	const struct graph_stage *stage = graph_find_stage(g, name);
	const char **names, *nearest;
	struct yaml_node at = *node;

	if (stage)
		return stage;
	at.column += column;
	names = base_alloc((g->stage_count + 1) * sizeof(*names));
	for (size_t i = 0; i < g->stage_count; i++)
		names[i] = g->stages[i]->name;
	/* Of many thousand errors nobody sees those behind the first, nor waits for them. */
	nearest = l->diag->dropped ? NULL : dag_nearest(name, names, g->stage_count);
	free(names);
	loader_error(l, &at, "unknown stage or input '%.80s'%s%s%s", name, nearest ? "; did you mean '" : "",
		nearest ? nearest : "", nearest ? "'?" : "");
	return NULL;
}

static void set_clones(
	struct loader *l, const struct yaml_node *node, struct graph_stage *stage, uint64_t clones)
{
	if (!clones)
		return;
	if (stage->kind == GRAPH_INPUT)
		loader_error(l, node, "'%s^%llu': an input has as many vertices as it has splits",
			stage->name, (unsigned long long)clones);
	else if (stage->width_per)
		loader_error(l, node, "'%s^%llu': its width goes by bytes", stage->name,
			(unsigned long long)clones);
	else if (stage->width_given && stage->width != clones)
		loader_error(l, node, "'%s^%llu' disagrees with the width %u of that stage", stage->name,
			(unsigned long long)clones, stage->width);
	else {
		stage->width = (uint32_t)clones;
		stage->width_given = true;
	}
}

struct flow_loader {
	struct loader *l;
	uint32_t *open; /* edges whose input port is left for assign_ports, in their order */
	size_t open_count, open_cap;
};

static struct graph_edge *add_joint(
	struct flow_loader *f, const struct yaml_node *node, const struct flow_joint *j)
{
	const struct graph_stage *from = find_end(f->l, node, j->from.name, j->from.column);
	const struct graph_stage *to = find_end(f->l, node, j->to.name, j->to.column);
	uint32_t in_port = j->to.in_port == FLOW_PORT_NEXT ? 0 : j->to.in_port;
	struct graph_edge *e;

	if (!from || !to)
		return NULL;
	e = graph_add_edge(f->l->graph, from->id, j->from.out_port == FLOW_PORT_NEXT ? 0 : j->from.out_port,
		to->id, in_port, j->complete ? GRAPH_BIPARTITE : GRAPH_POINTWISE);
	e->place = loader_place(f->l, node);
	e->place.column += j->to.column;
	if (j->to.in_port == FLOW_PORT_NEXT)
		*DAG_APPEND(f->open, f->open_count, f->open_cap) = e->id;
	return e;
}

/* Each edge without a number gets the lowest that no edge asks for and none before it has. */
static void assign_ports(struct flow_loader *f)
{
	const struct graph *g = f->l->graph;
	bool(*taken)[GRAPH_PORTS_MAX] = base_alloc((g->stage_count + 1) * sizeof(*taken));
	bool *open = base_alloc((g->edge_count + 1) * sizeof(*open));

	for (size_t i = 0; i < f->open_count; i++)
		open[f->open[i]] = true;
	for (size_t i = 0; i < g->edge_count; i++)
		if (!open[i])
			taken[g->edges[i]->to][g->edges[i]->to_port] = true;
	free(open);
	for (size_t i = 0; i < f->open_count; i++) {
		struct graph_edge *e = g->edges[f->open[i]];
		uint32_t port = 0;

		while (port < GRAPH_PORTS_MAX && taken[e->to][port])
			port++;
		if (port == GRAPH_PORTS_MAX) {
			dag_diag_add(f->l->diag, e->place.file, e->place.line, e->place.column,
				"stage '%s' has more than %u inputs", g->stages[e->to]->name,
				GRAPH_PORTS_MAX);
			continue;
		}
		taken[e->to][port] = true;
		e->to_port = port;
	}
	free(taken);
}

static void load_flow_text(struct flow_loader *f, const struct yaml_node *node)
{
	const char *text = loader_text(f->l, node, "a line of flow");
	struct flow flow = {0};
	char *error = NULL;
	int column;

	if (!text)
		return;
	if (flow_parse(text, &f->l->graph->arena, &flow, &error, &column) < 0) {
		struct yaml_node at = *node;

		at.column += column;
		loader_error(f->l, &at, "%s", error);
		free(error);
	} else {
		for (size_t i = 0; i < flow.joint_count; i++)
			add_joint(f, node, &flow.joints[i]);
		for (size_t i = 0; i < flow.end_count; i++) {
			struct graph_stage *stage = graph_find_stage(f->l->graph, flow.ends[i].name);

			if (stage)
				set_clones(f->l, node, stage, flow.ends[i].clones);
			else if (!flow.joint_count)
				find_end(f->l, node, flow.ends[i].name, flow.ends[i].column);
		}
	}
	flow_fini(&flow);
}

static bool load_end(
	struct flow_loader *f, const struct yaml_node *map, const char *key, struct flow_end *ret)
{
	const struct yaml_node *node = yaml_get(map, key);
	struct flow flow = {0};
	char *error = NULL;
	int column;
	const char *text;
	bool ok = false;

	if (!node) {
		loader_error(f->l, map, "this edge has no '%s'", key);
		return false;
	}
	text = loader_text(f->l, node, key);
	if (!text)
		return false;
	if (flow_parse(text, &f->l->graph->arena, &flow, &error, &column) < 0)
		loader_error(f->l, node, "%s", error);
	else if (flow.joint_count || flow.end_count != 1)
		loader_error(f->l, node, "'%s' must be one stage, not '%s'", key, text);
	else if (find_end(f->l, node, flow.ends[0].name, 0)) {
		*ret = flow.ends[0];
		set_clones(f->l, node, graph_find_stage(f->l->graph, ret->name), ret->clones);
		ok = true;
	}
	free(error);
	flow_fini(&flow);
	return ok;
}

static int compare_by_consumer(const void *a, const void *b)
{
	const struct graph_list_pair *x = a, *y = b;

	if (x->consumer != y->consumer)
		return x->consumer < y->consumer ? -1 : 1;
	return x->producer < y->producer ? -1 : x->producer > y->producer;
}

static int compare_by_producer(const void *a, const void *b, void *list)
{
	const struct graph_list_pair *pairs = list;
	const struct graph_list_pair *x = &pairs[*(const uint32_t *)a], *y = &pairs[*(const uint32_t *)b];

	if (x->producer != y->producer)
		return x->producer < y->producer ? -1 : 1;
	return x->consumer < y->consumer ? -1 : x->consumer > y->consumer;
}

static void load_list(struct loader *l, const struct yaml_node *node, struct graph_edge *e)
{
	if (!loader_expect(l, node, YAML_LIST, "list"))
		return;
	if (!node->count) {
		loader_error(l, node, "list has no pairs, and would join nobody: list: [[0, 0], [1, 1]]");
		return;
	}
	if (node->count > LIST_PAIRS_MAX) {
		loader_error(l, node, "the list has more than %u pairs", LIST_PAIRS_MAX);
		return;
	}
	e->list = arena_alloc(&l->graph->arena, (node->count + 1) * sizeof(*e->list));
	for (const struct yaml_node *n = node->child; n; n = n->next) {
		uint64_t producer, consumer;

		if (n->kind != YAML_LIST || n->count != 2) {
			loader_error(l, n, "a pair of list must be [producer, consumer]");
			return;
		}
		if (!loader_number(l, n->child, "a producer", 0, GRAPH_WIDTH_MAX - 1, &producer) ||
			!loader_number(l, n->child->next, "a consumer", 0, GRAPH_WIDTH_MAX - 1, &consumer))
			return;
		e->list[e->list_count++] = (struct graph_list_pair){(uint32_t)producer, (uint32_t)consumer};
	}
	qsort(e->list, e->list_count, sizeof(*e->list), compare_by_consumer);
	for (uint32_t i = 1; i < e->list_count; i++)
		if (!compare_by_consumer(&e->list[i - 1], &e->list[i])) {
			loader_error(l, node, "the pair [%u, %u] is in the list twice", e->list[i].producer,
				e->list[i].consumer);
			return;
		}
	e->by_producer = arena_alloc(&l->graph->arena, (e->list_count + 1) * sizeof(*e->by_producer));
	for (uint32_t i = 0; i < e->list_count; i++)
		e->by_producer[i] = i;
	qsort_r(e->by_producer, e->list_count, sizeof(*e->by_producer), compare_by_producer, e->list);
}

/* The number of a word that must be one of `count`; 0 after an error. */
static size_t load_word(struct loader *l, const struct yaml_node *node, const char *name,
	const char *const *words, size_t count, const char *list)
{
	const char *text = loader_text(l, node, name), *nearest;

	for (size_t i = 0; text && i < count; i++)
		if (!strcmp(text, words[i]))
			return i;
	nearest = text ? dag_nearest(text, words, count) : NULL;
	if (text)
		loader_error(l, node, "%s '%s' is unknown; it is %s%s%s%s", name, text, list,
			nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
	return 0;
}

/* `groups: node`, or a map with what else there is to say. */
static void load_groups(struct loader *l, const struct yaml_node *node, struct graph_edge *e)
{
	static const char *const keys[] = {"by", "least", "most", "bytes"}, *const words[] = {
										    "node", "rack", "any"};
	const struct yaml_node *by = node->kind == YAML_MAP ? yaml_get(node, "by") : node;
	uint64_t least = e->groups.least, most = e->groups.most;

	e->pattern = GRAPH_GROUPS;
	if (by)
		e->groups.by = (enum graph_group_by)load_word(
			l, by, "groups by", words, DAG_LENGTH(words), "node, rack or any");
	if (node->kind != YAML_MAP)
		return;
	loader_check_keys(l, node, keys, DAG_LENGTH(keys), "groups");
	loader_number(l, yaml_get(node, "most"), "most", 1, GRAPH_WIDTH_MAX, &most);
	least = DAG_MIN(least, most);
	loader_number(l, yaml_get(node, "least"), "least", 1, GRAPH_WIDTH_MAX, &least);
	loader_bytes(l, yaml_get(node, "bytes"), "bytes", &e->groups.bytes);
	if (least > most)
		loader_error(l, yaml_get(node, "least"), "a group of at least %llu cannot have at most %llu",
			(unsigned long long)least, (unsigned long long)most);
	e->groups.least = (uint32_t)least;
	e->groups.most = (uint32_t)most;
}

#define ONE_PATTERN                                                                                          \
	"an edge has one pattern: '>=', '>>', {neighbours: K} or {list: …}, as `pattern` or by its own word"

static void load_pattern(struct loader *l, const struct yaml_node *map, struct graph_edge *e)
{
	const struct yaml_node *node = yaml_get(map, "pattern");
	const struct yaml_node *neighbours = yaml_get(map, "neighbours"), *list = yaml_get(map, "list"),
			       *groups = yaml_get(map, "groups");
	uint64_t k;

	/* Both `pattern: {neighbours: 2}` and `neighbours: 2` say the same. */
	if (node && node->kind == YAML_MAP) {
		static const char *const keys[] = {"neighbours", "list"};

		loader_check_keys(l, node, keys, DAG_LENGTH(keys), "pattern");
		if (!node->count || node->count + !!neighbours + !!list + !!groups > 1)
			loader_error(l, node, ONE_PATTERN);
		neighbours = neighbours ? neighbours : yaml_get(node, "neighbours");
		list = list ? list : yaml_get(node, "list");
	} else if (node || (neighbours && list)) {
		if (!!node + !!neighbours + !!list > 1)
			loader_error(l, node ? node : list, ONE_PATTERN);
	}
	if (node && node->kind != YAML_MAP) {
		const char *text = loader_text(l, node, "pattern");

		if (text && !strcmp(text, ">>"))
			e->pattern = GRAPH_BIPARTITE;
		else if (text && strcmp(text, ">="))
			loader_error(l, node,
				"pattern must be '>=', '>>', {neighbours: K} or {list: …}, not '%s'", text);
	}
	if (neighbours) {
		e->pattern = GRAPH_NEIGHBOURS;
		if (loader_number(l, neighbours, "neighbours", 0, GRAPH_WIDTH_MAX, &k))
			e->k = (uint32_t)k;
	}
	if (list) {
		e->pattern = GRAPH_LIST;
		load_list(l, list, e);
	}
	if (groups && (node || neighbours || list))
		loader_error(l, groups, "an edge has groups or another pattern, not both");
	else if (groups)
		load_groups(l, groups, e);
}

static void load_channel(struct loader *l, const struct yaml_node *map, struct graph_edge *e)
{
	static const char *const channels[] = {"auto", "file", "pipe", "fifo"}, *const codecs[] = {"none",
											"lz4", "zstd",
											"auto"};
	const struct yaml_node *channel = yaml_get(map, "channel"), *compress = yaml_get(map, "compress");

	if (channel)
		e->channel = (enum graph_channel)load_word(
			l, channel, "channel", channels, DAG_LENGTH(channels), "auto, file, pipe or fifo");
	if (compress)
		e->codec = (enum graph_codec)load_word(
			l, compress, "compress", codecs, DAG_LENGTH(codecs), "none, lz4, zstd or auto");
}

static void load_flow_map(struct flow_loader *f, const struct yaml_node *node)
{
	static const char *const keys[] = {
		"from", "to", "pattern", "neighbours", "list", "groups", "channel", "partition", "compress"};
	struct flow_joint joint = {0};
	struct graph_edge *e;
	bool ok;

	loader_check_keys(f->l, node, keys, DAG_LENGTH(keys), "an edge");
	ok = load_end(f, node, "from", &joint.from);
	ok = load_end(f, node, "to", &joint.to) && ok;
	if (!ok)
		return;
	e = add_joint(f, node, &joint);
	if (!e)
		return;
	e->place = loader_place(f->l, node);
	load_pattern(f->l, node, e);
	load_channel(f->l, node, e);
	if (yaml_get(node, "partition")) {
		const struct graph_edge *last = loader_partition(f->l, yaml_get(node, "partition"), e);

		if (f->open_count && f->open[f->open_count - 1] == e->id)
			f->open[f->open_count - 1] = last->id;
	}
}

void loader_flow(struct loader *l, const struct yaml_node *root)
{
	const struct yaml_node *flow = yaml_get(root, "flow");
	struct flow_loader f = {.l = l};

	if (!flow || !loader_expect(l, flow, YAML_LIST, "flow"))
		return;
	for (const struct yaml_node *n = flow->child; n; n = n->next) {
		if (n->kind == YAML_MAP)
			load_flow_map(&f, n);
		else
			load_flow_text(&f, n);
	}
	assign_ports(&f);
	free(f.open);
}

/* Other names of stdout: as files they would be replaced, or be written at another place of what it is. */
static bool is_stdout(const char *path)
{
	return !strcmp(path, "/dev/stdout") || !strcmp(path, "/dev/fd/1") || !strcmp(path, "/proc/self/fd/1");
}

static void load_output(struct loader *l, const struct yaml_node *node)
{
	static const char *const keys[] = {"file", "shared"};
	const struct graph_stage *stage;
	struct flow flow = {0};
	struct graph_output *output;
	const char *path = NULL;
	uint32_t index_at = GRAPH_NONE;
	char *error = NULL;
	bool shared;
	int column;

	if (flow_parse(node->key->text, &l->graph->arena, &flow, &error, &column) < 0 ||
		flow.end_count != 1) {
		loader_error(l, node->key,
			"an output is named by a stage, perhaps with its port: 'sort' or 'sort.1'");
		goto out;
	}
	if (flow.ends[0].clones)
		loader_error(l, node->key,
			"'^' says a width, and stands in the flow; a stage's output is that of all its "
			"vertices: '%s'",
			flow.ends[0].name);
	stage = find_end(l, node->key, flow.ends[0].name, 0);
	if (!loader_map(l, node, "an output", "{file: out.txt}"))
		goto out;
	loader_check_keys(l, node, keys, DAG_LENGTH(keys), "an output");
	loader_bool(l, yaml_get(node, "shared"), "shared", &shared);
	if (yaml_get(node, "file"))
		path = loader_output_path(l, yaml_get(node, "file"), "the path of an output", &index_at);
	else
		loader_error(l, node->key, "output '%s' has no file", node->key->text);
	if (!stage || !path)
		goto out;
	if (stage->kind == GRAPH_INPUT) {
		loader_error(l, node->key, "'%s' is an input; an output comes from a stage", stage->name);
		goto out;
	}
	output = graph_add_output(l->graph, stage->id,
		flow.ends[0].out_port == FLOW_PORT_NEXT ? 0 : flow.ends[0].out_port,
		is_stdout(path) ? "-" : path);
	output->place = loader_place(l, node->key);
	output->index_at = index_at;
	output->per_vertex = index_at != GRAPH_NONE;
out:
	free(error);
	flow_fini(&flow);
}

void loader_outputs(struct loader *l, const struct yaml_node *root)
{
	const struct yaml_node *outputs = yaml_get(root, "outputs");

	if (!outputs || !loader_map(l, outputs, "outputs", "{sort: {file: out.txt}}"))
		return;
	for (const struct yaml_node *n = outputs->child; n; n = n->next)
		load_output(l, n);
}
