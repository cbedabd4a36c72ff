/* SPDX-License-Identifier: Apache-2.0 */
/* What a job was started with, taken from its journal: for those who run it, or a part of it, again. */
#include "cli.h"
#include "os/os.h"
#include "wire/cluster.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static void take_graph(struct load *g, const struct journal_saved *saved)
{
	g->path = journal_meta(saved, "path");
	if (journal_meta(saved, "text")) {
		g->text = base_strdup(journal_meta(saved, "text"));
		g->text_len = strlen(g->text);
	}
	for (size_t i = 0; i < saved->meta_count; i++) {
		const struct graph_pair *m = &saved->meta[i];

		if (!strncmp(m->name, "param ", 6))
			cli_graph_option(g, 0, m->value);
		else if (!strncmp(m->name, "plugin-path ", 12))
			cli_graph_option(g, 1, m->value);
	}
	if (journal_meta(saved, "stdin"))
		g->stdin_path = base_strdup(journal_meta(saved, "stdin"));
}

int cli_journal_load(const char *id, struct journal_saved *saved, int *ret_lock)
{
	char *state = os_state_folder(), *folder = base_format("%s/jobs/%s", state ? state : "", id);
	struct dag_diag diag = {0};
	/* These would name the folder of all jobs, or what lies around it. */
	bool no_name = !*id || strchr(id, '/') || !strcmp(id, ".") || !strcmp(id, "..");
	int r = no_name ? DAG_EMISSING : journal_lock(folder, true, ret_lock);

	if (r == DAG_EBUSY)
		fprintf(stderr, "dagrun: job %s is running already, in another process\n", id);
	else if (r == 0)
		r = journal_load(folder, true, saved, &diag);
	if (r == DAG_EMISSING && *ret_lock >= 0)
		fprintf(stderr, "dagrun: job %s was ended before it began; run the graph anew\n", id);
	else if (r == DAG_EMISSING)
		fprintf(stderr, "dagrun: there is no job '%s' in %s/jobs; 'dagrun jobs' lists them\n", id,
			state ? state : "");
	cli_print(&diag);
	free(state);
	free(folder);
	return r == 0 ? 0 : EXIT_INVALID;
}

int cli_earlier_load(struct cli_earlier *e, const char *id, const struct journal_saved *saved)
{
	const char *cwd = journal_meta(saved, "cwd"), *slots = journal_meta(saved, "slots");
	struct dag_diag diag = {0};
	int r;

	if (cwd && chdir(cwd) < 0) {
		fprintf(stderr, "dagrun: cannot go to %s, where job %s was started: %s\n", cwd, id,
			strerror(errno));
		return EXIT_INVALID;
	}
	take_graph(&e->graph, saved);
	if (!e->graph.path) {
		fprintf(stderr, "dagrun: the journal of job %s does not say where its graph is\n", id);
		return EXIT_INVALID;
	}
	if (e->graph.stdin_path && access(e->graph.stdin_path, R_OK) < 0) {
		fprintf(stderr,
			"dagrun: job %s read its input from stdin, which was kept only until the job was "
			"done; run the graph anew\n",
			id);
		return EXIT_INVALID;
	}
	r = cli_graph_load(&e->graph, true);
	e->config.nameserver = journal_meta(saved, "nameserver");
	if (r == 0 && e->config.nameserver) {
		r = cluster_find_keys(journal_meta(saved, "keys"), e->config.nameserver, &e->keys, &diag) < 0
			    ? EXIT_UNREACHABLE
			    : 0;
		cli_print(&diag);
	}
	e->config.keys = e->keys;
	e->config.slots = slots ? (uint32_t)strtoul(slots, NULL, 10) : 0;
	e->config.graph = e->graph.graph;
	e->config.host_program = e->graph.host_program;
	return r;
}

void cli_earlier_fini(struct cli_earlier *e)
{
	keys_destroy(&e->keys);
	load_fini(&e->graph);
}
