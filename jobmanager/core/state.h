/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_STATE_H
#define CORE_STATE_H
/*
 * Inside of the scheduler. One file writes one kind of state:
 *
 *   jm.c        the step: events to the others; journal, output and end of the job
 *   vertices.c  vertex and gang states, what is missing to each
 *   place.c     nodes, queues, and which gang is started where
 *   failure.c   what a failure means
 */
#include "jm.h"

struct jm_vertex {
	uint32_t attempt; /* the current one; 0: none yet */
	uint32_t node;    /* of the current attempt, while RUNNING or DONE */
	uint32_t missing; /* producers over non-complete edges that are not DONE */
	uint64_t bytes;   /* DONE: stored */
	uint8_t state;    /* enum jm_state */
	uint8_t failures; /* charged */
	uint8_t reruns;   /* because its output was lost */
	uint8_t source_failures;
	uint32_t avoid;        /* node + 1 where it failed last, 0: none */
	uint32_t last_failure; /* position + 1 in jm.failures */
	bool ended;            /* this member of a RUNNING gang is committed */
};

/* Text of a vertex's last failure, to see whether the next one is alike. */
struct jm_failure {
	int error, signal;
	char *text;
	uint32_t node;
};

struct jm_gang {
	uint8_t state; /* enum jm_state */
	uint32_t left; /* RUNNING: members that have not ended */
	dag_instant ready_at;
	uint32_t queue;          /* READY: node + 1 of the queue it is in; 0: the common one */
	uint32_t next, previous; /* in that queue; GRAPH_NONE */
};

struct jm_queue {
	uint32_t first, last; /* gangs; GRAPH_NONE */
	uint32_t count;
};

struct jm_node {
	char *name, *rack;
	struct graph_pair *labels;
	uint32_t label_count;
	bool up, suspect;
	uint32_t total;   /* shares that the node has */
	uint32_t granted; /* shares that the job may use */
	uint32_t used;    /* shares of gangs that run there, ahead ones too */
	uint32_t running; /* vertices */
	uint32_t want;    /* told */
	uint64_t memory, memory_used;
	uint32_t complaints;
	struct jm_queue queue; /* gangs that would like to run here */
};

struct jm_edge {
	uint32_t missing; /* complete edges: producers that are not DONE */
};

struct jm_stage {
	uint32_t waiting, ready, running, done;
	uint64_t attempts, failures, bytes_in, bytes_out, records_in, records_out;
	dag_instant run_ns;
};

struct jm_output {
	uint32_t fetched; /* vertices whose records are here */
	uint32_t asked;   /* the vertex that is being fetched + 1; 0: none */
};

struct jm_complaint {
	uint32_t reader, producer, attempt, node; /* who could not read whose output */
	int error;
};

struct jm {
	const struct graph *graph;
	uint32_t epoch;
	dag_instant now;
	struct jm_vertex *vertices;
	struct jm_gang *gangs;
	struct jm_edge *edges;
	struct jm_stage *stages;
	struct jm_output *outputs;
	struct jm_node *nodes;
	size_t node_count, node_cap;
	struct jm_queue *queues; /* of READY gangs that may run anywhere, one a depth */
	uint32_t queue_count;
	uint32_t ready_count;  /* gangs in any queue */
	uint64_t ready_shares; /* that they ask for */
	struct jm_failure *failures;
	size_t failure_count, failure_cap;
	struct jm_complaint *complaints; /* being verified */
	size_t complaint_count, complaint_cap;
	uint32_t vertices_left; /* that are needed and not DONE */
	uint32_t outputs_left;
	uint32_t last_group;
	bool publishing, ended;
	char *failure;
	struct jm_effect *effects;
	size_t effect_count, effect_cap;
	struct arena texts; /* of the last step's effects */
	dag_instant wake_at;
	dag_instant hopeless_since; /* a ready vertex fits no node since then; 0: none */
};

/* ---- jm.c ---- */
struct jm_effect *jm_emit(struct jm *jm, enum jm_effect_kind kind);
void jm_fact(struct jm *jm, const char *format, ...) __attribute__((format(printf, 2, 3)));
void jm_note(struct jm *jm, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Ends the job: kills what runs; 0 is success. `text` is kept. */
void jm_end(struct jm *jm, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* "stage[index] attempt n on node", in the step's arena. */
const char *jm_attempt_name(struct jm *jm, uint32_t vertex);
void jm_wake(struct jm *jm, dag_instant at);
void jm_fetch_next(struct jm *jm, uint32_t output);

/* ---- vertices.c ---- */
void vertices_init(struct jm *jm);
const struct graph_stage *vertex_stage(const struct jm *jm, uint32_t vertex);
void vertex_set_state(struct jm *jm, uint32_t vertex, enum jm_state state);
/* A gang whose inputs are all there becomes READY and is queued. */
void gang_try_ready(struct jm *jm, uint32_t gang);
/* The whole gang goes back to WAITING or READY; running members are killed, done ones are forgotten. */
void gang_reset(struct jm *jm, uint32_t gang, bool kill);
void vertex_commit(struct jm *jm, uint32_t vertex, const struct jm_outcome *outcome);
/* The committed output of a vertex is lost: its gang runs again, and so on upstream where nodes are gone. */
void vertex_invalidate(struct jm *jm, uint32_t vertex, const char *why);
/* Calls f for each producer of the vertex that is no input of the job. */
void vertex_each_producer(
	struct jm *jm, uint32_t vertex, void (*f)(struct jm *jm, uint32_t producer, void *ctx), void *ctx);
void vertex_each_consumer(
	struct jm *jm, uint32_t vertex, void (*f)(struct jm *jm, uint32_t consumer, void *ctx), void *ctx);

/* ---- place.c ---- */
void queue_gang(struct jm *jm, uint32_t gang);
void unqueue_gang(struct jm *jm, uint32_t gang);
/* Starts what can be started. */
void place_ready(struct jm *jm);
void node_release(struct jm *jm, uint32_t vertex);
uint32_t gang_shares_of(const struct jm *jm, uint32_t gang, uint32_t vertex);

/* ---- failure.c ---- */
void on_failed(struct jm *jm, uint32_t vertex, const struct jm_outcome *outcome);
void on_verified(struct jm *jm, uint32_t vertex, uint32_t attempt, int error);
void on_node_down(struct jm *jm, uint32_t node);

#endif
