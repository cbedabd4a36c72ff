/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SIM_MANAGER_H
#define SIM_MANAGER_H
/*
 * Inside of the job manager: manager.c has its steps, its journal, its ends and beginnings; manager_nodes.c
 * who is there; manager_send.c what goes out; manager_outputs.c what is fetched and published.
 */
#include "sim.h"

struct manager_node {
	uint32_t process;
	uint64_t incarnation;
	struct sim_session session;
	bool dialled, up, gone, untold, suspect, listed, told;
	dag_instant gone_at;
	uint32_t number;
	struct jm_found *found;
	size_t found_count, found_cap;
};

struct output {
	uint64_t *values; /* fetched, beside the destination */
	bool asked;
	uint32_t vertex, attempt, node;
	uint32_t fetch; /* number of this one */
	struct sim_reading reading;
	uint32_t next;    /* vertex that was not asked for yet */
	uint32_t writes;  /* from its begin */
	uint32_t on_disk; /* values; the others go with the job manager */
};

struct deferred {
	uint64_t seq;
	struct jm_effect effect;
};

struct sim_manager {
	struct jm *jm;
	uint32_t epoch;                         /* durable before anything else */
	struct buffer dump;                     /* what it knew, where a crash loses no fact */
	uint32_t group, group_left, group_node; /* the fifo group that is being started */
	struct detector detector;
	struct sim_session names;
	struct manager_node **by_number;
	struct manager_node *nodes; /* by process − SIM_FIRST_NODE */
	struct output *outputs;
	/* The journal: facts, of which the first `durable` would outlive us. */
	char **facts;
	size_t fact_count, fact_cap, durable;
	size_t *steps_end; /* facts up to each step: those of one step are written together or not at all */
	size_t step_count, step_cap;
	bool syncing, full;
	struct deferred *deferred;
	size_t deferred_first, deferred_count, deferred_cap;
	dag_instant booted;
	bool resuming, dead;
	uint32_t last_fetch;
	uint64_t steps, invalidated_at;
	uint32_t *copies;   /* the last one of each vertex */
	uint32_t *alone;    /* likewise */
	uint32_t published; /* outputs that are renamed, all in all */
	bool *closed;       /* open stages that nobody adds to any more */
};

/* ---- manager.c ---- */
void shell_step(struct sim *s, const struct jm_event *event);
/* A crash point: true where the job manager has died at it. */
bool shell_dies_here(struct sim *s);

/* ---- manager_nodes.c ---- */
struct manager_node *node_by_number(struct sim *s, uint32_t number);
void shell_tick_nodes(struct sim *s);

/* ---- manager_send.c ---- */
void send_attempt(struct sim *s, const struct jm_effect *e, Dagrun__Envelope__BodyCase body);
void send_verify(struct sim *s, const struct jm_effect *e);
void send_trim(struct sim *s, const struct jm_effect *e);
void send_want(struct sim *s, const struct jm_effect *e);
void send_recall(struct sim *s, const struct jm_effect *e);
void send_start(struct sim *s, const struct jm_effect *e);

/* ---- sources.c ---- */
void shell_serve_source(struct sim *s, struct manager_node *n, const Dagrun__SourceRequest *m);

/* ---- client.c ---- */
void client_begin(struct sim *s);
/* It died with the job manager; what it added is all there is. */
void client_gone(struct sim *s);

/* ---- manager_outputs.c ---- */
void shell_fetch(struct sim *s, const struct jm_effect *e);
/* Dials anew where what is read says nothing. */
void shell_look_at_links(struct sim *s);
void shell_fail_fetch(struct sim *s, uint32_t output, int error, const char *text);
void shell_publish(struct sim *s);
void shell_take_over_outputs(struct sim *s);

#endif
