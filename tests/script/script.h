/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCRIPT_SCRIPT_H
#define SCRIPT_SCRIPT_H
/* A script that runs: jm_script.c has its commands and its trace, ends.c how a job manager dies, and a job
 * ends. */
#include "jobmanager/core/jm.h"

#define SCRIPT_OUTPUTS_MAX 8

struct script {
	struct graph *graph;
	struct jm *jm;
	dag_instant now;
	uint32_t epoch;
	struct jm_waits waits;
	bool invented; /* some facts are the script's own */
	char **facts;
	size_t fact_count, fact_cap;
	struct jm_found *found; /* of the next node */
	size_t found_count, found_cap;
	struct buffer *out;
	const char *file;
	int line;
	char *words[32];
	size_t count;
	bool open, quiet; /* quiet: only the end is shown */
	bool refused;     /* the last step */
	/* Effects that nobody has answered yet, for `finish`. */
	struct jm_effect verify, publish, fetch[SCRIPT_OUTPUTS_MAX];
	bool wrong; /* whatever its trace */
};

/* A number among the command's words. */
uint32_t script_number(struct script *s, size_t i);
/* Whatever its trace, the script fails. */
void script_wrong(struct script *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void script_step(struct script *s, const struct jm_event *event);

/* ---- ends.c ---- */
void script_begin_core(struct script *s);
/* The job manager dies; the next one replays what is in the journal, but for the last facts that are lost. */
void script_crash(struct script *s);
/* Ends well all that runs, and answers what is asked, until the job is done. */
void script_finish(struct script *s);

#endif
