/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs scripts over the scheduler's core: a file of commands, each followed by the full trace of its effects,
 * indented. The trace that the core gives now must be the one in the file; --rewrite puts the new one there
 * instead. Arguments are scripts, and folders of them.
 *
 *   input NAME WIDTH
 *   stage NAME WIDTH [retries=N] [label=K=V] [cpus=SHARES] [memory=BYTES] [entry=NAME] [deterministic=W]
 *     [per=BYTES] [open=1]
 *   edge FROM >=|>> TO [pipe|fifo]
 *   edge FROM groups TO node|rack LEAST MOST
 *   output STAGE [each]
 *   begin [node=MS] [joining=MS]       how long nodes are waited for; else 15 and 3 seconds
 *   coming 0|1
 *   node NAME SHARES [label=K=V] [memory=BYTES] [rack=R]
 *   grant NODE SHARES
 *   suspect NODE 0|1
 *   down NODE
 *   died NODE
 *   done VERTEX ATTEMPT NODE [bytes=N] [ms=N|us=N] [hash=H]
 *   fail VERTEX ATTEMPT NODE CODE TEXT…
 *   unread VERTEX ATTEMPT NODE FROM ATTEMPT CODE
 *   verified VERTEX ATTEMPT CODE
 *   fetched OUTPUT VERTEX ATTEMPT
 *   synced OUTPUT VERTEX BYTES
 *   unfetched OUTPUT VERTEX ATTEMPT CODE
 *   add STAGE ARGUMENT [VERTEX…]
 *   close STAGE
 *   missed VERTEX ATTEMPT
 *   fact TEXT…                         to be replayed, as if it had been journaled
 *   expect-refused COMMAND…            which the core does not take
 *   finish                             ends well all that runs, until the job is done
 *   published
 *   cancel
 *   after MS
 *   crash [FACTS-LOST]
 *   found VERTEX ATTEMPT sealed HASH|running [PRODUCER ATTEMPT]…
 *   resumed
 *
 * A vertex is stage[index], and a node's name has \040 for a blank. After every step jm_check derives all
 * indexes anew. After a crash that loses no fact the state must be the one before, but for what is volatile
 * (jm_dump). A script that does not bring its job to an end says "# open" in its first lines.
 */
#include "script.h"
#include "base/hash.h"

#include <glob.h>
#include <stdio.h>

static _Noreturn void bad(const struct script *s, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", s->file, s->line, what);
	exit(2);
}

static const char *word(struct script *s, size_t i)
{
	if (i >= s->count)
		bad(s, "a word is missing");
	return s->words[i];
}

uint32_t script_number(struct script *s, size_t i)
{
	return (uint32_t)strtoul(word(s, i), NULL, 10);
}

/* The value of "name=value" among the words, or NULL. */
static const char *option(struct script *s, const char *name)
{
	for (size_t i = 0; i < s->count; i++)
		if (!strncmp(s->words[i], name, strlen(name)) && s->words[i][strlen(name)] == '=')
			return s->words[i] + strlen(name) + 1;
	return NULL;
}

static uint32_t vertex(struct script *s, size_t i)
{
	char name[64];
	unsigned index;
	const struct graph_stage *stage;

	if (sscanf(word(s, i), "%63[^[][%u]", name, &index) != 2 ||
		!(stage = graph_find_stage(s->graph, name)))
		bad(s, "no such vertex");
	return stage->first_vertex + index;
}

static int code(struct script *s, size_t i)
{
#define X(code, name, text)                                                                                  \
	if (!strcmp(word(s, i), #name))                                                                      \
		return name;
	DAG_ERROR_MAP(X)
#undef X
	if (!strcmp(word(s, i), "0"))
		return 0;
	bad(s, "no such error code");
}

static struct graph_pair *label(struct script *s, uint32_t *ret_count)
{
	const char *text = option(s, "label"), *equals = text ? strchr(text, '=') : NULL;
	struct graph_pair *pair = arena_alloc(&s->graph->arena, sizeof(*pair));

	*ret_count = equals != NULL;
	if (equals)
		*pair = (struct graph_pair){arena_strndup(&s->graph->arena, text, (size_t)(equals - text)),
			arena_strdup(&s->graph->arena, equals + 1)};
	return pair;
}

/* ---- building ---- */

static void add_stage(struct script *s, bool input)
{
	struct graph_stage *stage =
		graph_add_stage(s->graph, input ? GRAPH_INPUT : GRAPH_PROGRAM, word(s, 1));

	stage->width = script_number(s, 2);
	stage->width_given = true;
	stage->labels = label(s, &stage->label_count);
	if (option(s, "retries")) {
		stage->retries = atoi(option(s, "retries"));
		stage->retries_said = true;
	}
	if (option(s, "cpus"))
		stage->cpu_shares = (uint32_t)atoi(option(s, "cpus"));
	if (option(s, "deterministic"))
		stage->deterministic = !strcmp(option(s, "deterministic"), "true") ? GRAPH_DETERMINISTIC
				       : !strcmp(option(s, "deterministic"), "accept")
					       ? GRAPH_ACCEPT
					       : GRAPH_NOT_DETERMINISTIC;
	if (option(s, "entry"))
		stage->entry = arena_strdup(&s->graph->arena, option(s, "entry"));
	if (option(s, "open"))
		stage->open = true;
	if (option(s, "per")) {
		stage->width_by_data = true;
		stage->width_per = strtoull(option(s, "per"), NULL, 10);
	}
	if (option(s, "memory"))
		stage->memory = strtoull(option(s, "memory"), NULL, 10);
	if (input) {
		stage->input_files = arena_alloc(&s->graph->arena, sizeof(*stage->input_files));
		stage->input_files->path = "/data";
		stage->splits = arena_alloc(&s->graph->arena, stage->width * sizeof(*stage->splits));
	}
}

static void add_edge(struct script *s)
{
	const struct graph_stage *from = graph_find_stage(s->graph, word(s, 1)),
				 *to = graph_find_stage(s->graph, word(s, 3));
	uint32_t port = 0;
	struct graph_edge *e;

	if (!from || !to)
		bad(s, "no such stage");
	for (size_t i = 0; i < s->graph->edge_count; i++)
		port += s->graph->edges[i]->to == to->id;
	e = graph_add_edge(s->graph, from->id, 0, to->id, port,
		!strcmp(word(s, 2), ">>") ? GRAPH_BIPARTITE : GRAPH_POINTWISE);
	e->partition.kind = GRAPH_BY_ROUND_ROBIN;
	if (!strcmp(word(s, 2), "groups")) {
		e->pattern = GRAPH_GROUPS;
		e->groups.by = !strcmp(word(s, 4), "rack") ? GRAPH_GROUP_RACK : GRAPH_GROUP_NODE;
		e->groups.least = script_number(s, 5);
		e->groups.most = script_number(s, 6);
	} else if (s->count > 4)
		e->channel = !strcmp(s->words[4], "pipe") ? GRAPH_PIPE : GRAPH_FIFO;
}

/* ---- the trace ---- */

static void print_vertex(struct script *s, const struct jm_effect *e)
{
	const struct graph_stage *stage = s->graph->stages[s->graph->vertex_stage[e->vertex]];

	buffer_format(s->out, " %s[%u] %u", stage->name, e->vertex - stage->first_vertex, e->attempt);
}

/* Those that it reads of an output, where they follow from the data. */
static void print_parts(struct script *s, uint32_t vertex)
{
	const struct graph_stage *stage = s->graph->stages[s->graph->vertex_stage[vertex]];
	uint32_t first, count;

	for (uint32_t p = 0; p < stage->in_count; p++) {
		if (stage->in[p].edge == GRAPH_NONE)
			continue;
		first = jm_first_part(
			s->jm, s->graph->edges[stage->in[p].edge], vertex - stage->first_vertex, &count);
		if (count > 1)
			buffer_format(s->out, " parts %u to %u", first, first + count - 1);
	}
}

static void print_effect(struct script *s, const struct jm_effect *e)
{
	static const char *const names[] = {"journal", "start", "ack", "kill", "release", "trim", "verify",
		"want", "recall", "fetch", "publish", "note", "end"};

	buffer_format(s->out, "  %s%s", names[e->kind], e->durable ? "!" : "");
	switch (e->kind) {
	case JM_START:
	case JM_ACK:
	case JM_KILL:
	case JM_RELEASE:
	case JM_VERIFY:
	case JM_FETCH:
		print_vertex(s, e);
		buffer_format(s->out, " on %u", e->node);
		if (e->kind == JM_START && e->group)
			buffer_format(s->out, " group %u of %u", e->group, e->group_size);
		if (e->kind == JM_START)
			print_parts(s, e->vertex);
		break;
	case JM_TRIM:
		buffer_format(s->out, " %s.%u to %u on %u", s->graph->stages[e->stage]->name, e->stream,
			e->parts, e->node);
		break;
	case JM_RECALL:
	case JM_WANT:
		buffer_format(s->out, " %u on %u", e->shares, e->node);
		if (e->least)
			buffer_format(s->out, " at least %u", e->least);
		break;
	case JM_END:
		buffer_format(s->out, " %d", e->error);
		break;
	default:
		break;
	}
	if (e->text) {
		buffer_format(s->out, " ");
		for (const char *c = e->text; *c; c++)
			buffer_append(s->out, *c == '\n' ? "|" : c, 1);
	}
	buffer_format(s->out, "\n");
}

void script_wrong(struct script *s, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = base_vformat(format, args);
	va_end(args);
	buffer_format(s->out, "  WRONG: %s\n", text);
	free(text);
	s->wrong = true;
}

static void note_unanswered(struct script *s, const struct jm_effect *e)
{
	struct jm_effect *to = e->kind == JM_VERIFY ? &s->verify : &s->publish;

	if (e->kind == JM_FETCH)
		to = &s->fetch[DAG_MIN(e->output, SCRIPT_OUTPUTS_MAX - 1u)];
	if (e->kind == JM_VERIFY || e->kind == JM_FETCH || e->kind == JM_PUBLISH) {
		*to = *e;
		to->text = "unanswered";
	}
}

void script_step(struct script *s, const struct jm_event *event)
{
	int r = jm_step(s->jm, s->now, event);
	struct jm_effects effects = jm_effects(s->jm);

	s->refused = r < 0;
	if (r < 0)
		buffer_format(s->out, "  refused %d\n", r);
	for (size_t i = 0; r == 0 && i < effects.count; i++) {
		if (!s->quiet || effects.items[i].kind == JM_END)
			print_effect(s, &effects.items[i]);
		note_unanswered(s, &effects.items[i]);
		if (effects.items[i].kind == JM_JOURNAL)
			*DAG_APPEND(s->facts, s->fact_count, s->fact_cap) =
				base_strdup(effects.items[i].text);
	}
	if (effects.wake_at != DAG_NEVER && !s->quiet)
		buffer_format(
			s->out, "  wake in %lld ms\n", (long long)((effects.wake_at - s->now) / DAG_MS));
	jm_check(s->jm);
}

/* ---- commands ---- */

static void end_vertex(struct script *s, bool failed)
{
	struct jm_outcome o = {.error = failed ? code(s, 4) : 0, .bytes = 100, .run_ns = 50 * DAG_MS};
	struct buffer text = {0};

	for (size_t i = 5; failed && i < s->count; i++)
		buffer_format(&text, "%s%s", i > 5 ? " " : "", s->words[i]);
	buffer_append(&text, "", 1);
	o.text = (char *)text.data;
	if (option(s, "bytes"))
		o.bytes = strtoull(option(s, "bytes"), NULL, 10);
	if (option(s, "ms"))
		o.run_ns = atoi(option(s, "ms")) * DAG_MS;
	if (option(s, "us"))
		o.run_ns = atoi(option(s, "us")) * (DAG_MS / 1000);
	if (option(s, "hash"))
		o.hash_low = strtoull(option(s, "hash"), NULL, 16);
	script_step(s, &(struct jm_event){.kind = JM_ENDED,
			       .vertex = vertex(s, 1),
			       .attempt = script_number(s, 2),
			       .node = script_number(s, 3),
			       .outcome = &o});
	buffer_fini(&text);
}

/* found VERTEX ATTEMPT sealed HASH | running [PRODUCER ATTEMPT]…: at the node that comes next. */
static void add_found(struct script *s)
{
	struct jm_found *f = DAG_APPEND(s->found, s->found_count, s->found_cap);
	uint32_t pairs[32];
	size_t n = 0;

	f->vertex = vertex(s, 1);
	f->attempt = script_number(s, 2);
	f->sealed = !strcmp(word(s, 3), "sealed");
	if (f->sealed)
		f->hash_low = strtoull(word(s, 4), NULL, 16);
	for (size_t i = f->sealed ? 5 : 4; i + 1 < s->count; i += 2) {
		pairs[n++] = vertex(s, i);
		pairs[n++] = script_number(s, i + 1);
	}
	f->inputs = hash_pairs(pairs, n / 2);
}

static void unread(struct script *s)
{
	struct jm_outcome o = {.error = code(s, 6),
		.blamed = true,
		.blamed_vertex = vertex(s, 4),
		.blamed_attempt = script_number(s, 5)};

	script_step(s, &(struct jm_event){.kind = JM_ENDED,
			       .vertex = vertex(s, 1),
			       .attempt = script_number(s, 2),
			       .node = script_number(s, 3),
			       .outcome = &o});
}

static void add_node(struct script *s)
{
	char *name = s->count > 1 ? s->words[1] : NULL;

	for (char *c; name && (c = strstr(name, "\\040"));) {
		*c = ' ';
		memmove(c + 1, c + 4, strlen(c + 4) + 1);
	}
	struct jm_event event = {.kind = JM_NODE_UP,
		.node = jm_node_number(s->jm, word(s, 1)),
		.name = word(s, 1),
		.shares = script_number(s, 2),
		.found = s->found,
		.found_count = s->found_count};

	event.labels = label(s, &event.label_count);
	if (option(s, "memory"))
		event.memory = strtoull(option(s, "memory"), NULL, 10);
	event.rack = option(s, "rack");
	script_step(s, &event);
	s->found_count = 0;
}

static void begin(struct script *s)
{
	struct dag_diag diag = {0};

	if (graph_finish(s->graph, &diag) < 0)
		bad(s, diag.items[0].text);
	/* Ports were not declared before. */
	for (size_t i = 0; i < s->graph->stage_count; i++)
		if (s->graph->stages[i]->entry) {
			s->graph->stages[i]->kind = GRAPH_PLUGIN;
			s->graph->stages[i]->plugin = "plugin";
		}
	s->waits = (struct jm_waits){15 * DAG_SECOND, 3 * DAG_SECOND};
	if (option(s, "node"))
		s->waits.node = atoi(option(s, "node")) * DAG_MS;
	if (option(s, "joining"))
		s->waits.joining = atoi(option(s, "joining")) * DAG_MS;
	script_begin_core(s);
	jm_check(s->jm);
}

/* add STAGE ARGUMENT [STAGE[INDEX]…]: what it reads, over the first edge from there */
static void add_vertex(struct script *s)
{
	const struct graph_stage *stage = graph_find_stage(s->graph, word(s, 1));
	struct jm_read reads[16];
	size_t n = 0;

	for (size_t i = 3; i < s->count; i++) {
		uint32_t producer = vertex(s, i), edge = 0;

		while (edge < s->graph->edge_count &&
			(s->graph->edges[edge]->to != stage->id ||
				s->graph->edges[edge]->from != s->graph->vertex_stage[producer]))
			edge++;
		reads[n++] = (struct jm_read){edge, graph_index(s->graph, producer)};
	}
	script_step(s, &(struct jm_event){.kind = JM_ADD,
			       .stage = stage->id,
			       .reads = reads,
			       .read_count = n,
			       .argument = word(s, 2),
			       .argument_len = strlen(word(s, 2))});
}

static void add_fact(struct script *s)
{
	struct buffer text = {0};

	for (size_t i = 1; i < s->count; i++)
		buffer_format(&text, "%s%s", i > 1 ? " " : "", s->words[i]);
	buffer_append(&text, "", 1);
	*DAG_APPEND(s->facts, s->fact_count, s->fact_cap) = (char *)text.data;
	s->invented = true;
}

static void run_command(struct script *s)
{
	const char *name = s->words[0];

	if (!strcmp(name, "input") || !strcmp(name, "stage"))
		add_stage(s, *name == 'i');
	else if (!strcmp(name, "edge"))
		add_edge(s);
	else if (!strcmp(name, "output"))
		graph_add_output(s->graph, graph_find_stage(s->graph, word(s, 1))->id, 0,
			arena_format(
				&s->graph->arena, s->count > 2 ? "/out/%s.{index}" : "/out/%s", word(s, 1)));
	else if (!strcmp(name, "begin"))
		begin(s);
	else if (!s->jm)
		bad(s, "this command comes after begin");
	else if (!strcmp(name, "node"))
		add_node(s);
	else if (!strcmp(name, "grant"))
		script_step(s, &(struct jm_event){.kind = JM_NODE_GRANT,
				       .node = script_number(s, 1),
				       .shares = script_number(s, 2)});
	else if (!strcmp(name, "suspect"))
		script_step(s, &(struct jm_event){.kind = JM_NODE_SUSPECT,
				       .node = script_number(s, 1),
				       .flag = script_number(s, 2)});
	else if (!strcmp(name, "down"))
		script_step(s, &(struct jm_event){.kind = JM_NODE_DOWN, .node = script_number(s, 1)});
	else if (!strcmp(name, "died"))
		script_step(s,
			&(struct jm_event){.kind = JM_NODE_DOWN, .node = script_number(s, 1), .flag = true});
	else if (!strcmp(name, "found"))
		add_found(s);
	else if (!strcmp(name, "coming"))
		script_step(s, &(struct jm_event){.kind = JM_NODES_COMING, .flag = script_number(s, 1)});
	else if (!strcmp(name, "fact"))
		add_fact(s);
	else if (!strcmp(name, "finish"))
		script_finish(s);
	else if (!strcmp(name, "crash"))
		script_crash(s);
	else if (!strcmp(name, "resumed"))
		script_step(s, &(struct jm_event){.kind = JM_RESUMED});
	else if (!strcmp(name, "done") || !strcmp(name, "fail"))
		end_vertex(s, *name == 'f');
	else if (!strcmp(name, "unread"))
		unread(s);
	else if (!strcmp(name, "verified"))
		script_step(s, &(struct jm_event){.kind = JM_VERIFIED,
				       .vertex = vertex(s, 1),
				       .attempt = script_number(s, 2),
				       .error = code(s, 3)});
	else if (!strcmp(name, "fetched"))
		script_step(s, &(struct jm_event){.kind = JM_FETCHED,
				       .output = script_number(s, 1),
				       .vertex = vertex(s, 2),
				       .attempt = script_number(s, 3)});
	else if (!strcmp(name, "synced"))
		script_step(s, &(struct jm_event){.kind = JM_SYNCED,
				       .output = script_number(s, 1),
				       .vertex = vertex(s, 2),
				       .bytes = script_number(s, 3)});
	else if (!strcmp(name, "unfetched"))
		script_step(s, &(struct jm_event){.kind = JM_FETCH_FAILED,
				       .output = script_number(s, 1),
				       .vertex = vertex(s, 2),
				       .attempt = script_number(s, 3),
				       .error = code(s, 4),
				       .text = "the fetch failed"});
	else if (!strcmp(name, "published"))
		script_step(s, &(struct jm_event){.kind = JM_PUBLISHED});
	else if (!strcmp(name, "add"))
		add_vertex(s);
	else if (!strcmp(name, "close"))
		script_step(s, &(struct jm_event){.kind = JM_CLOSE,
				       .stage = graph_find_stage(s->graph, word(s, 1))->id});
	else if (!strcmp(name, "missed"))
		script_step(s,
			&(struct jm_event){
				.kind = JM_UNREAD, .vertex = vertex(s, 1), .attempt = script_number(s, 2)});
	else if (!strcmp(name, "cancel"))
		script_step(s, &(struct jm_event){.kind = JM_CANCEL});
	else if (!strcmp(name, "after")) {
		s->now += script_number(s, 1) * DAG_MS;
		script_step(s, &(struct jm_event){.kind = JM_TICK});
	} else
		bad(s, "no such command");
}

/* A command that the core does not take is a mistake of the script's, unless it says so. */
static void run_line(struct script *s)
{
	bool expected = !strcmp(s->words[0], "expect-refused");

	if (expected)
		memmove(s->words, s->words + 1, --s->count * sizeof(*s->words));
	if (!s->count)
		bad(s, "a word is missing");
	s->refused = false;
	run_command(s);
	if (s->refused && !expected)
		script_wrong(s, "it was refused");
	if (!s->refused && expected)
		script_wrong(s, "it was not refused");
}

/* True where the script, whatever its trace, is right. */
static bool run_script(const char *file, char *text, struct buffer *out)
{
	struct script s = {.out = out, .file = file};

	graph_new(&s.graph, "script", file);
	for (char *line = text, *next; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		s.line++;
		if (line[0] == ' ' && line[1] == ' ')
			continue; /* an old trace */
		buffer_format(out, "%s\n", line);
		s.open = s.open || !strncmp(line, "# open", 6);
		if (!*line || *line == '#')
			continue;
		s.count = 0;
		for (char *rest = line, *w;
			s.count < DAG_LENGTH(s.words) && (w = strtok_r(rest, " ", &rest));)
			s.words[s.count++] = w;
		run_line(&s);
	}
	if (s.open == (s.jm && jm_ended(s.jm)))
		script_wrong(&s, s.open ? "it says '# open', and its job ends"
					: "its job does not end: finish, or '# open'");
	while (s.fact_count)
		free(s.facts[--s.fact_count]);
	free(s.facts);
	free(s.found);
	jm_destroy(&s.jm);
	graph_destroy(&s.graph);
	return !s.wrong;
}

static char *read_file(const char *path)
{
	struct buffer b = {0};
	FILE *f = fopen(path, "r");
	size_t n;

	if (!f) {
		perror(path);
		exit(2);
	}
	while ((n = fread(buffer_extend(&b, 4096), 1, 4096, f)) > 0)
		b.len -= 4096 - n;
	b.len -= 4096;
	fclose(f);
	buffer_append(&b, "", 1);
	return (char *)b.data;
}

static void print_first_difference(const char *want, const char *got)
{
	int line = 1;

	while (*want && *want == *got) {
		line += *want == '\n';
		want++;
		got++;
	}
	printf("# the trace differs in line %d: the file has '%.*s', the core gave '%.*s'\n", line,
		(int)strcspn(want, "\n"), want, (int)strcspn(got, "\n"), got);
}

/* True where the trace is the one in the file, or is now. */
static bool check_script(const char *path, bool rewrite)
{
	char *text = read_file(path), *want = base_strdup(text);
	struct buffer out = {0};
	bool right = run_script(path, text, &out), same;

	buffer_append(&out, "", 1);
	same = !strcmp(want, (char *)out.data);
	if (!same && rewrite) {
		FILE *f = fopen(path, "w");

		if (f)
			fputs((char *)out.data, f);
		same = f && fclose(f) == 0;
	}
	if (!same)
		print_first_difference(want, (char *)out.data);
	buffer_fini(&out);
	free(want);
	free(text);
	if (!right)
		printf("# %s: a line of the trace says what is wrong\n", path);
	return same && right;
}

int main(int argc, char **argv)
{
	bool rewrite = argc > 1 && !strcmp(argv[1], "--rewrite");
	int failed = 0;
	glob_t scripts = {0};

	for (int i = rewrite ? 2 : 1; i < argc; i++) {
		char *all = base_format("%s/*.txt", argv[i]);

		if (glob(all, scripts.gl_pathc ? GLOB_APPEND : 0, NULL, &scripts) != 0)
			glob(argv[i], GLOB_NOCHECK | (scripts.gl_pathc ? GLOB_APPEND : 0), NULL, &scripts);
		free(all);
	}
	printf("1..%zu\n", scripts.gl_pathc);
	for (size_t i = 0; i < scripts.gl_pathc; i++) {
		bool ok = check_script(scripts.gl_pathv[i], rewrite);

		printf("%s %zu - %s\n", ok ? "ok" : "not ok", i + 1, basename(scripts.gl_pathv[i]));
		failed += !ok;
	}
	failed += !scripts.gl_pathc;
	globfree(&scripts);
	return failed > 0;
}
