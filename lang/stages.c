/* SPDX-License-Identifier: Apache-2.0 */
/* The `stages` section: what runs, as which program or entry, within which limits. */
#include "loader.h"
#include "base/size.h"
#include "graph/words.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <sys/stat.h>

static const char *const stage_keys[] = {"plugin", "entry", "program", "sh", "bash", "use", "width",
	"timeout", "memory", "cpus", "labels", "retries", "isolate", "deterministic", "skip_records",
	"duplicates", "exit_ok", "env", "files", "params", "format"};

/* Marks the ports that a text names. */
static void note_ports(struct loader *l, const char *text, struct graph_stage *stage)
{
	struct word w;

	while (*text) {
		text += words_next(text, &w);
		if (w.kind == WORD_IN) {
			graph_need_ports(l->graph, stage, w.port + 1, 0);
			stage->in[w.port].declared = true;
			stage->in_count = DAG_MAX(stage->in_count, w.port + 1);
		} else if (w.kind == WORD_OUT) {
			graph_need_ports(l->graph, stage, 0, w.port + 1);
			stage->out[w.port].declared = true;
			stage->out_count = DAG_MAX(stage->out_count, w.port + 1);
		}
	}
}

/* The bytes of a port come once: to one path, or to one for each producer. */
static void check_uses(struct loader *l, const struct yaml_node *node, const struct graph_stage *stage)
{
	struct words_uses uses = {0};
	uint32_t port;

	for (uint32_t i = 0; i < stage->argc; i++)
		words_count(stage->argv[i], &uses);
	port = words_mixed(&uses);
	if (port < DAG_PORTS_MAX)
		loader_error(l, node,
			"input port %u is named both as a whole ({in.%u}, {in.%u:file}) and by its producers "
			"({in.%u.*}, {in.%u.list}), but its bytes come once",
			port, port, port, port, port);
}

static void load_program(struct loader *l, const struct yaml_node *node, struct graph_stage *stage)
{
	struct stat st;

	if (node->kind == YAML_SCALAR && *node->text) {
		loader_error(l, node,
			"program must be a list of words, not text: [cat, -n]; a command line for a shell "
			"goes below bash or sh");
		return;
	}
	if (!loader_expect(l, node, YAML_LIST, "program"))
		return;
	if (!node->count) {
		loader_error(l, node, "program is an empty list");
		return;
	}
	stage->argv = arena_alloc(&l->graph->arena, (node->count + 1) * sizeof(*stage->argv));
	for (const struct yaml_node *n = node->child; n; n = n->next) {
		const char *text = loader_words(l, n, "an argument of program");

		if (!text)
			return;
		note_ports(l, text, stage);
		stage->argv[stage->argc++] = text;
	}
	check_uses(l, node, stage);
	if (!*stage->argv[0])
		loader_error(l, node->child, "the name of the program is empty");
	if (stage->argc == 1 && strchr(stage->argv[0], ' '))
		loader_note(l, node->child,
			"the program is called '%s', with its blanks; each word is an item of its own: "
			"[cat, -n]",
			stage->argv[0]);
	if (!strpbrk(stage->argv[0], "/$"))
		return;
	stage->argv[0] = loader_path(l, node->child, "program");
	if (!stage->argv[0])
		return;
	if (stat(stage->argv[0], &st) < 0)
		loader_error(l, node->child, "cannot read program '%s': %s", stage->argv[0], strerror(errno));
	else if (!S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		loader_error(l, node->child, "program '%s' is not an executable file", stage->argv[0]);
}

/* A script ends where one of its commands fails, with bash also where one within a pipe does. */
static void load_script(
	struct loader *l, const struct yaml_node *node, struct graph_stage *stage, bool with_bash)
{
	static const char *const sh[] = {"/bin/sh", "-ec"}, *const bash[] = {
								    "bash", "-euo", "pipefail", "-c"};
	const char *text = loader_words(l, node, with_bash ? "bash" : "sh");

	if (!text)
		return;
	if (!text[strspn(text, " \t\r\n")]) {
		loader_error(l, node,
			"the script of stage '%s' is empty: it would end at once, and write nothing; ':' "
			"says that this is meant",
			stage->name);
		return;
	}
	note_ports(l, text, stage);
	stage->argv = arena_alloc(&l->graph->arena, (DAG_LENGTH(bash) + 1) * sizeof(*stage->argv));
	stage->argc = with_bash ? DAG_LENGTH(bash) : DAG_LENGTH(sh);
	memcpy(stage->argv, with_bash ? bash : sh, stage->argc * sizeof(*stage->argv));
	stage->argv[stage->argc++] = text;
	check_uses(l, node, stage);
}

/* Where a declared parameter's name ends, and where its meaning begins. */
static size_t name_len(const struct plugin_param *p)
{
	return strcspn(p->text, "=");
}

static bool has_choices(const struct plugin_param *p)
{
	const char *choice = p->text + name_len(p);

	return *choice && memchr(choice, '|', strcspn(choice, ":"));
}

static bool fits(const struct plugin_param *p, const char *value)
{
	const char *choice = p->text + name_len(p) + 1, *end = choice + strcspn(choice, ":");
	uint64_t n;

	if (p->kind == DAG_PARAM_IS_NUMBER)
		return size_parse_number(value, &n) == 0;
	if (p->kind == DAG_PARAM_IS_SIZE)
		return size_parse_bytes(value, &n) == 0;
	if (!has_choices(p))
		return true;
	for (; choice < end; choice += strcspn(choice, "|:") + 1)
		if (strlen(value) == strcspn(choice, "|:") && !strncmp(choice, value, strlen(value)))
			return true;
	return false;
}

/* "order must be asc or desc, not 'down' (which comes first)" */
static void refuse_value(
	struct loader *l, const struct yaml_node *node, const struct plugin_param *p, const char *value)
{
	int name = (int)name_len(p);
	const char *choice = p->text + name + 1, *help = choice + strcspn(choice, ":");
	char *choices = base_strndup(choice, (size_t)(help - choice)), *bar;

	while ((bar = strchr(choices, '|'))) {
		char *more = base_format("%.*s%s%s", (int)(bar - choices), choices,
			strchr(bar + 1, '|') ? ", " : " or ", bar + 1);

		free(choices);
		choices = more;
	}
	loader_error(l, node, "%.*s must be %s, not '%s' (%s)", name, p->text,
		p->kind == DAG_PARAM_IS_NUMBER ? "a whole number"
		: p->kind == DAG_PARAM_IS_SIZE ? "a size such as 64MiB"
					       : choices,
		value, help + strspn(help, ": "));
	free(choices);
}

/* What a stage says to an entry that declares what it knows. */
static bool check_params(struct loader *l, const struct yaml_node *params, const struct plugin_entry *e)
{
	size_t errors = l->diag->count + l->diag->dropped;
	char *names[PLUGIN_PARAMS_MAX], *all;

	if (params && params->kind != YAML_MAP)
		return false; /* told where they are kept */
	for (uint32_t i = 0; i < e->param_count; i++)
		names[i] = base_strndup(e->params[i].text, name_len(&e->params[i]));
	for (const struct yaml_node *n = params && e->param_count ? params->child : NULL; n; n = n->next) {
		const char *nearest = dag_nearest(n->key->text, (const char *const *)names, e->param_count),
			   *value = loader_text(l, n, n->key->text);
		uint32_t i = 0;

		while (i < e->param_count && strcmp(names[i], n->key->text))
			i++;
		if (i == e->param_count) {
			all = loader_list((const char *const *)names, e->param_count);
			loader_error(l, n->key, "'%s' has no parameter '%s'; %s%s%s", e->name, n->key->text,
				nearest ? "did you mean '" : "it has ", nearest ? nearest : all,
				nearest ? "'?" : "");
			free(all);
		} else if (value && !fits(&e->params[i], value)) {
			refuse_value(l, n, &e->params[i], value);
		}
	}
	for (uint32_t i = 0; i < e->param_count; i++)
		free(names[i]);
	return l->diag->count + l->diag->dropped == errors;
}

static const struct plugin_entry *find_entry(const struct plugin_info *info, const char *name)
{
	for (uint32_t i = 0; i < info->entry_count; i++)
		if (!strcmp(info->entries[i].name, name))
			return &info->entries[i];
	return NULL;
}

static void take_entry(struct loader *l, struct graph_stage *stage, const struct plugin_entry *e)
{
	graph_need_ports(l->graph, stage, e->in_count, e->out_count);
	stage->in_count = e->in_count;
	stage->out_count = e->out_count;
	stage->order_blind = e->order_blind;
	stage->passes_bytes = e->passes_bytes;
	stage->more_inputs = e->more_inputs;
	for (uint32_t p = 0; p < e->in_count; p++) {
		stage->in[p].format = e->in[p];
		stage->in[p].declared = true;
	}
	for (uint32_t p = 0; p < e->out_count; p++)
		stage->out[p].format = e->out[p];
}

static bool describe(
	struct loader *l, const struct yaml_node *node, const char *word, const struct plugin_info **ret_info)
{
	char *error = NULL;

	if (l->options->describe(l->options->describe_ctx, word, l->folder, ret_info, &error) == 0)
		return true;
	loader_error(l, node, "%s", error);
	free(error);
	return false;
}

static void load_plugin(struct loader *l, const struct yaml_node *node, struct graph_stage *stage)
{
	const struct yaml_node *use = yaml_get(node, "use"), *plugin = use ? use : yaml_get(node, "plugin"),
			       *entry = use ? use : yaml_get(node, "entry"), *params;
	const char *word = use ? "std" : loader_text(l, plugin, "plugin");
	const struct plugin_info *info;
	const struct plugin_entry *e;
	const char **names;
	char *error;

	if (!entry) {
		loader_error(l, plugin, "stage '%s' names a plugin but no entry", stage->name);
		return;
	}
	stage->entry = loader_text(l, entry, use ? "use" : "entry");
	if (!word || !stage->entry)
		return;
	if (strchr(word, '/'))
		word = loader_path(l, plugin, "plugin");
	if (!l->options->describe)
		return;
	if (!describe(l, plugin, word, &info))
		return;
	stage->plugin = info->path;
	e = find_entry(info, stage->entry);
	if (e) {
		take_entry(l, stage, e);
		params = yaml_get(node, "params");
		if (check_params(l, params, e) && e->checked)
			*DAG_APPEND(l->checks, l->check_count, l->check_cap) =
				(struct loader_check){params ? params : node, stage};
		return;
	}
	names = base_alloc((info->entry_count + 1) * sizeof(*names));
	for (uint32_t i = 0; i < info->entry_count; i++)
		names[i] = info->entries[i].name;
	word = dag_nearest(stage->entry, names, info->entry_count);
	free(names);
	error = use ? base_strdup("there is no standard vertex")
		    : base_format("plugin '%s' has no entry", info->path);
	loader_error(l, entry, "%s '%s'%s%s%s", error, stage->entry, word ? "; did you mean '" : "",
		word ? word : "", word ? "'?" : "");
	free(error);
}

static void load_open_width(struct loader *l, const struct yaml_node *node, struct graph_stage *stage)
{
	static const char *const keys[] = {"open"};
	uint64_t n = 1;

	loader_check_keys(l, node, keys, DAG_LENGTH(keys), "width");
	loader_number(l, yaml_get(node, "open"), "open", 1, GRAPH_WIDTH_MAX, &n);
	stage->width = (uint32_t)n;
}

static void load_width_by_bytes(struct loader *l, const struct yaml_node *node, struct graph_stage *stage)
{
	static const char *const keys[] = {"per", "of", "most"};
	const struct yaml_node *of = yaml_get(node, "of"), *most = yaml_get(node, "most"),
			       *per = yaml_get(node, "per");
	const char *what = of ? loader_text(l, of, "of") : NULL;
	uint64_t n = 0;

	loader_check_keys(l, node, keys, DAG_LENGTH(keys), "width");
	stage->width_by_data = what && !strcmp(what, "data");
	if (what && strcmp(what, "data") && strcmp(what, "inputs"))
		loader_error(l, of,
			"a width goes by the bytes of 'inputs', those of the job that reach the stage, or of "
			"'data', what it reads; not of '%s'",
			what);
	loader_number(l, most, "most", 1, GRAPH_PARTS_MAX, &n);
	stage->width = (uint32_t)n;
	if (most && !stage->width_by_data)
		loader_error(l, most, "most goes with {per: …, of: data}");
	if (!per)
		loader_error(l, node, "a width by bytes needs a 'per': {per: 256MiB}");
	loader_bytes(l, per, "per", &stage->width_per);
}

static void load_width(struct loader *l, const struct yaml_node *node, struct graph_stage *stage)
{
	uint64_t n = 0;

	if (!node)
		return;
	stage->width_given = true;
	if (node->kind == YAML_SCALAR && !strcmp(node->text, "open")) {
		stage->open = true;
		stage->width = GRAPH_OPEN_MOST;
	} else if (node->kind == YAML_MAP && yaml_get(node, "open")) {
		stage->open = true;
		load_open_width(l, node, stage);
	} else if (node->kind == YAML_MAP) {
		load_width_by_bytes(l, node, stage);
	} else {
		stage->width_given = loader_number(l, node, "width", 1, GRAPH_WIDTH_MAX, &n);
		stage->width = n ? (uint32_t)n : 1;
	}
}

static void load_cpus(struct loader *l, const struct yaml_node *node, struct graph_stage *stage)
{
	const char *text = node ? loader_text(l, node, "cpus") : NULL;
	char *end;
	double cpus;

	if (!text)
		return;
	cpus = strtod(text, &end);
	if (*end || end == text || !(cpus > 0) || cpus > 4096) {
		loader_error(l, node, "cpus must be a number of cores such as 1 or 0.5, not '%s'", text);
		return;
	}
	stage->cpu_shares = (uint32_t)DAG_MAX(1.0, ceil(cpus * GRAPH_CPU_SHARES));
}

static void load_deterministic(struct loader *l, const struct yaml_node *node, struct graph_stage *stage)
{
	const char *text = node ? loader_text(l, node, "deterministic") : NULL;

	if (!text)
		return;
	if (!strcmp(text, "accept"))
		stage->deterministic = GRAPH_ACCEPT;
	else if (!strcmp(text, "true"))
		stage->deterministic = GRAPH_DETERMINISTIC;
	else if (!strcmp(text, "false"))
		stage->deterministic = GRAPH_NOT_DETERMINISTIC;
	else
		loader_error(l, node, "deterministic must be true, false or accept, not '%s'", text);
}

static void load_exit_ok(struct loader *l, const struct yaml_node *node, struct graph_stage *stage)
{
	stage->exit_ok = arena_alloc(&l->graph->arena, sizeof(int32_t) * (node ? node->count + 1 : 1));
	stage->exit_ok_count = 1;
	if (!node || !loader_expect(l, node, YAML_LIST, "exit_ok"))
		return;
	if (!node->count)
		loader_error(l, node,
			"exit_ok is an empty list, with which every attempt would have failed: leave it out "
			"for [0], or name the codes that are no failure");
	stage->exit_ok_count = 0;
	for (const struct yaml_node *n = node->child; n; n = n->next) {
		uint64_t code;

		if (loader_number(l, n, "an exit code", 0, 255, &code))
			stage->exit_ok[stage->exit_ok_count++] = (int32_t)code;
	}
}

static void load_limits(struct loader *l, const struct yaml_node *node, struct graph_stage *stage)
{
	const struct yaml_node *timeout = yaml_get(node, "timeout");
	const char *text = timeout ? loader_text(l, timeout, "timeout") : NULL;
	uint64_t retries = (uint64_t)stage->retries;
	bool duplicates = true;
	uint64_t skip = 0;

	if (text && (size_parse_duration(text, &stage->timeout) < 0 || !stage->timeout))
		loader_error(l, timeout,
			"timeout must be a time such as 500ms, 30s, 5m or 2h, a whole number from 1 on, not "
			"'%s'",
			text);
	loader_bytes(l, yaml_get(node, "memory"), "memory", &stage->memory);
	load_cpus(l, yaml_get(node, "cpus"), stage);
	loader_pairs(l, yaml_get(node, "labels"), "labels, such as {gpu: yes},", false, &stage->labels,
		&stage->label_count);
	for (uint32_t i = 0; i < stage->label_count; i++)
		if (!*stage->labels[i].name || strchr(stage->labels[i].name, '='))
			loader_error(l, yaml_get(node, "labels"),
				"no node can have a label named '%s': dagd takes --label NAME=VALUE",
				stage->labels[i].name);
	loader_number(l, yaml_get(node, "retries"), "retries", 0, 1000, &retries);
	stage->retries = (int32_t)retries;
	stage->retries_said = yaml_get(node, "retries") != NULL;
	loader_bool(l, yaml_get(node, "isolate"), "isolate", &stage->isolate);
	load_deterministic(l, yaml_get(node, "deterministic"), stage);
	loader_bool(l, yaml_get(node, "duplicates"), "duplicates", &duplicates);
	stage->no_copies = !duplicates;
	loader_number(l, yaml_get(node, "skip_records"), "skip_records", 0, 1000000, &skip);
	stage->skip_records = (uint32_t)skip;
	if (skip && stage->kind == GRAPH_PROGRAM)
		loader_error(l, yaml_get(node, "skip_records"),
			"skip_records is for plugins and standard vertices: nobody can tell at which record "
			"a program "
			"failed; let it pass over bad ones itself");
}

/* They would do nothing: a plugin's vertices share a process that is not theirs. */
static void refuse_words_of_programs(struct loader *l, const struct yaml_node *node)
{
	static const char *const words[] = {"env", "files", "exit_ok"};

	for (size_t i = 0; i < DAG_LENGTH(words); i++)
		if (yaml_get(node, words[i]))
			loader_error(l, yaml_get(node, words[i]),
				"%s is for programs; what a plugin should know goes into params", words[i]);
}

/* Programs take more than a shell can name, such as `a.b`; but nobody means blanks. */
static bool is_variable(const char *name)
{
	const char *c = name;

	while (isgraph((unsigned char)*c) && *c != '=')
		c++;
	return c > name && !*c;
}

static void load_env(struct loader *l, const struct yaml_node *node, struct graph_stage *stage)
{
	loader_pairs(l, node, "env", true, &stage->env, &stage->env_count);
	for (uint32_t i = 0; i < stage->env_count; i++) {
		if (!is_variable(stage->env[i].name))
			loader_error(l, node,
				"'%s' is no name of an environment variable: one has letters, digits and "
				"'_', "
				"and neither blanks nor '='",
				stage->env[i].name);
		note_ports(l, stage->env[i].value, stage);
	}
}

/* It says what to run in no way, or in several. */
static void refuse_kinds(struct loader *l, const struct yaml_node *node, const struct graph_stage *stage)
{
	static const char *const words[] = {"bash", "sh", "program", "plugin", "use"};
	const char *has[DAG_LENGTH(words)];
	char *list = NULL;
	size_t n = 0;

	for (size_t i = 0; i < DAG_LENGTH(words); i++)
		if (yaml_get(node, words[i]))
			has[n++] = words[i];
	if (n)
		list = loader_list(has, n);
	loader_error(l, node->key, "stage '%s' needs exactly one of bash, sh, program, plugin, use%s%s",
		stage->name, list ? "; it has " : "", list ? list : ", which says what it runs");
	free(list);
}

static void load_stage(struct loader *l, const struct yaml_node *node)
{
	const struct yaml_node *program = yaml_get(node, "program"), *sh = yaml_get(node, "sh"),
			       *bash = yaml_get(node, "bash");
	const struct yaml_node *plugin = yaml_get(node, "plugin"), *use = yaml_get(node, "use");
	struct graph_stage *stage =
		graph_add_stage(l->graph, plugin || use ? GRAPH_PLUGIN : GRAPH_PROGRAM, node->key->text);
	struct graph_format format = {0};

	stage->place = loader_place(l, node->key);
	if (!loader_map(l, node, "a stage", "{sh: cat}"))
		return;
	loader_check_keys(l, node, stage_keys, DAG_LENGTH(stage_keys), "a stage");
	loader_format(l, yaml_get(node, "format"), &format);
	if (!plugin && !use) {
		stage->format = format;
		stage->format_said = yaml_get(node, "format") != NULL;
	}
	if (!!program + !!sh + !!bash + !!plugin + !!use != 1)
		refuse_kinds(l, node, stage);
	else if (program)
		load_program(l, program, stage);
	else if (sh || bash)
		load_script(l, sh ? sh : bash, stage, bash);
	else
		load_plugin(l, node, stage);
	if ((plugin || use) && yaml_get(node, "format"))
		loader_error(l, yaml_get(node, "format"),
			"format is for programs; a plugin's entry declares its own");
	if (plugin || use)
		refuse_words_of_programs(l, node);
	if (!plugin && !use && yaml_get(node, "params"))
		loader_error(l, yaml_get(node, "params"),
			"params are for plugins; give a program arguments or env");
	if (!plugin && yaml_get(node, "entry"))
		loader_error(l, yaml_get(node, "entry"), "entry goes with plugin");
	load_width(l, yaml_get(node, "width"), stage);
	load_limits(l, node, stage);
	load_exit_ok(l, yaml_get(node, "exit_ok"), stage);
	loader_files(l, yaml_get(node, "files"), stage);
	if (program || sh || bash)
		loader_scripts(l, program ? program : sh ? sh : bash, yaml_get(node, "env"), stage);
	if (program || sh || bash)
		load_env(l, yaml_get(node, "env"), stage);
	loader_pairs(l, yaml_get(node, "params"), "params, such as {key: 1},", false, &stage->params,
		&stage->param_count);
}

struct graph_stage *loader_add_standard(
	struct loader *l, const struct yaml_node *node, const char *name, const char *entry)
{
	struct graph_stage *stage = graph_add_stage(l->graph, GRAPH_PLUGIN, name);
	const struct plugin_info *info;

	stage->place = loader_place(l, node);
	stage->entry = entry;
	load_exit_ok(l, NULL, stage);
	if (l->options->describe && describe(l, node, "std", &info)) {
		stage->plugin = info->path;
		take_entry(l, stage, find_entry(info, entry));
	} else {
		stage->out_count = 1;
		stage->in_count = strcmp(entry, "range") ? 1 : 2;
		graph_need_ports(l->graph, stage, stage->in_count, 1);
	}
	return stage;
}

void loader_set_params(struct loader *l, const struct yaml_node *node, struct graph_stage *stage,
	struct graph_pair *params, uint32_t count)
{
	const struct plugin_info *info;
	const struct plugin_entry *e;

	stage->params = params;
	stage->param_count = count;
	if (!node || !l->options->describe || !describe(l, node, "std", &info))
		return;
	e = find_entry(info, stage->entry);
	if (e->checked && l->diag->count + l->diag->dropped == 0)
		*DAG_APPEND(l->checks, l->check_count, l->check_cap) = (struct loader_check){node, stage};
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t j = 0; params[i].value && j < e->param_count; j++)
			if (!strncmp(e->params[j].text, params[i].name, strlen(params[i].name)) &&
				name_len(&e->params[j]) == strlen(params[i].name) &&
				!fits(&e->params[j], params[i].value))
				refuse_value(
					l, yaml_get(node, params[i].name), &e->params[j], params[i].value);
}

void loader_stages(struct loader *l, const struct yaml_node *root)
{
	const struct yaml_node *stages = yaml_get(root, "stages");

	if (!stages) {
		loader_error(l, root, "the graph has no stages");
		return;
	}
	if (!loader_map(l, stages, "stages", "{upper: {sh: tr a-z A-Z}}"))
		return;
	if (!stages->count)
		loader_error(l, stages, "the graph has no stages");
	for (const struct yaml_node *n = stages->child; n; n = n->next) {
		if (!loader_name(l, n->key, "a stage"))
			continue;
		if (graph_find_stage(l->graph, n->key->text))
			loader_error(l, n->key, "'%s' is the name of an input already", n->key->text);
		else
			load_stage(l, n);
	}
}
