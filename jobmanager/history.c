/* SPDX-License-Identifier: Apache-2.0 */
#include "history.h"

#include <stdio.h>

#define LINES_MAX 40 /* of what went wrong; the last ones */

static void print_stages(const struct graph *graph, const struct jm *jm)
{
	printf("%-20s %8s %8s %9s %7s %12s\n", "stage", "width", "done", "attempts", "failed", "run time");
	for (uint32_t i = 0; i < graph->stage_count; i++) {
		struct jm_stage_view v;

		if (graph->stages[i]->kind == GRAPH_INPUT)
			continue;
		jm_stage_view(jm, i, &v);
		printf("%-20s %8u %8u %9llu %7llu %10.2f s\n", graph->stages[i]->name, v.width, v.done,
			(unsigned long long)v.attempts, (unsigned long long)v.failures,
			(double)v.run_ns / DAG_SECOND);
	}
}

static const char *attempt_text(unsigned attempt, char text[32])
{
	if (JM_ATTEMPT_EPOCH(attempt) == 1)
		snprintf(text, 32, "%u", JM_ATTEMPT_NUMBER(attempt));
	else
		snprintf(text, 32, "%u.%u", JM_ATTEMPT_EPOCH(attempt), JM_ATTEMPT_NUMBER(attempt));
	return text;
}

/* skip VERTEX ATTEMPT PORT PRODUCER RECORD REASON; facts count records from 0, people from 1. */
static char *describe_skip(const char *name, const char *rest)
{
	unsigned port, producer;
	unsigned long long record;

	if (sscanf(rest, "%u %u %llu", &port, &producer, &record) < 3)
		return NULL;
	return base_format("%s died twice on record %llu of input port %u, which went into quarantine", name,
		record + 1, port);
}

/* A fact about trouble as a sentence, allocated; NULL for other facts. */
static char *describe(const struct graph *g, const char *fact)
{
	static const struct {
		const char *word, *says;
	} words[] = {{"failed", "failed: "}, {"invalidated", "was made again: "},
		{"unread", "could not read an input"},
		{"misread", "was charged for it, as the input is intact"},
		{"copied", "was slow and got a second attempt"}, {"alone", "ran again alone"}};
	unsigned vertex, attempt;
	char number[32], word[16], *name, *text = NULL;
	int n = 0;

	if (!strncmp(fact, "node-down ", 10))
		return base_format("node %s was gone", fact + 10);
	if (!strncmp(fact, "node-ended ", 11))
		return base_format("the daemon of node %s ended", fact + 11);
	if (sscanf(fact, "%15s %u %u %n", word, &vertex, &attempt, &n) < 3 || vertex >= g->vertex_count)
		return NULL;
	name = base_format("%s[%u] attempt %s", g->stages[g->vertex_stage[vertex]]->name,
		graph_index(g, vertex), attempt_text(attempt, number));
	if (!strcmp(word, "skip"))
		text = describe_skip(name, fact + n);
	for (size_t i = 0; i < DAG_LENGTH(words); i++) {
		const char *rest = fact + n;

		if (strcmp(word, words[i].word))
			continue;
		if (!strcmp(word, "failed")) /* node=N error=E signal=S TEXT */
			for (int skip = 0; skip < 3 && *rest; skip++)
				rest += strcspn(rest, " ") + 1;
		text = base_format("%s %s%s", name, words[i].says,
			words[i].says[strlen(words[i].says) - 1] == ' ' ? rest : "");
	}
	free(name);
	return text;
}

static void print_trouble(const struct graph *g, const struct journal_saved *saved)
{
	char **lines = base_alloc((saved->fact_count + 1) * sizeof(*lines));
	size_t n = 0;

	for (size_t i = 0; i < saved->fact_count; i++) {
		lines[n] = describe(g, saved->facts[i]);
		n += lines[n] != NULL;
	}
	if (n > LINES_MAX)
		printf("… %zu more, and then:\n", n - LINES_MAX);
	for (size_t i = 0; i < n; i++) {
		if (i + LINES_MAX >= n)
			printf("%s\n", lines[i]);
		free(lines[i]);
	}
	free(lines);
}

struct jm *history_replay(const struct graph *g, const struct journal_saved *saved)
{
	struct jm *jm;

	jm_new(&jm, &(struct jm_config){.graph = g, .epoch = saved->epoch});
	for (size_t i = 0; i < saved->fact_count && jm_replay(jm, saved->facts[i]) == 0; i++)
		;
	return jm;
}

void history_print(const struct graph *graph, const struct journal_saved *saved)
{
	struct jm *jm = history_replay(graph, saved);

	print_stages(graph, jm);
	print_trouble(graph, saved);
	jm_destroy(&jm);
}
