/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_VERTICES_H
#define CORE_VERTICES_H
#include "state.h"

struct jm_vertex {
	uint32_t attempt; /* the current one; 0: none yet */
	uint32_t highest; /* number given out; those up to `fenced` are over */
	uint32_t fenced;
	uint32_t node;                /* of the current attempt, while RUNNING or DONE */
	uint32_t missing;             /* producers over non-complete edges that are not DONE */
	uint64_t bytes;               /* DONE: stored */
	uint64_t hash_low, hash_high; /* of its last commit, where `hashed` */
	dag_instant started;          /* RUNNING */
	uint8_t state;                /* enum jm_state */
	uint8_t reruns;               /* because its output was lost */
	uint8_t source_failures;
	uint8_t losses;    /* since its last commit: its daemon gave it up */
	uint8_t deaths;    /* of daemons that it ran on; their nodes are in jm.deaths */
	uint16_t failures; /* charged */
	bool hashed;
	bool skipped;          /* not to be run */
	bool released;         /* DONE: all that was asked of it is on disk, its node has it no more */
	bool held;             /* after a resume: its node has its data */
	uint8_t speculations;  /* that were started */
	bool has_speculation;  /* a speculative attempt runs: in jm.speculations */
	bool chained;          /* RUNNING behind its producer, which runs on the same node: chain.c */
	uint32_t piece_end;    /* RUNNING: + 1, the last vertex of the piece of a chain behind it; 0: none */
	uint32_t avoid;        /* node + 1 where it failed last, 0: none */
	uint32_t last_failure; /* position + 1 in jm.failures */
};

struct jm_gang {
	uint8_t state; /* enum jm_state */
	uint32_t left; /* RUNNING: members that have not ended */
	dag_instant ready_at;
	dag_instant broken_at;     /* a member could not read another; DAG_NEVER */
	uint32_t breaks;           /* of which no member said why */
	uint32_t reader, producer; /* that broke last */
	uint32_t queue;            /* READY: node + 1 of the queue it is in; 0: the common one */
	uint32_t next, previous;   /* in that queue; GRAPH_NONE */
	uint32_t misfit_round;     /* it found no room in this round, whatever node was tried first */
	dag_instant paused;        /* it is not READY before then; 0: it may be at once */
};

struct jm_stage {
	uint32_t waiting, ready, running, done;
	uint64_t attempts, failures, bytes_in, bytes_out, records_in, records_out;
	dag_instant run_ns;
	uint32_t width; /* the most that it can be, until it is settled */
	bool settled;
	uint32_t released;             /* its first vertices that are: trim.c */
	uint32_t added;                /* vertices of an open stage */
	struct jm_argument *arguments; /* of each */
	uint32_t ahead;                /* vertices that are started ahead for each that runs */
	uint32_t kind;   /* stages of one plugin's entry: what is guessed before own vertices ran */
	uint32_t *times; /* JM_TIMES, of committed attempts by their run time: bucket_of in speculation.c */
};

const struct graph_stage *vertex_stage(const struct jm *jm, uint32_t vertex);
/* An input of the job, or one that is not to be run. */
bool vertex_is_idle(const struct jm *jm, uint32_t vertex);
/* skipped: of each vertex, or NULL. */
void vertices_init(struct jm *jm, const bool *skipped);
void vertex_set_state(struct jm *jm, uint32_t vertex, enum jm_state state);
/* Everything that it waits for is committed. */
bool vertex_inputs_there(const struct jm *jm, uint32_t vertex);
/* Calls f for each producer of the vertex that is no input of the job. */
void vertex_each_producer(
	struct jm *jm, uint32_t vertex, void (*f)(struct jm *jm, uint32_t producer, void *ctx), void *ctx);
void vertex_each_consumer(
	struct jm *jm, uint32_t vertex, void (*f)(struct jm *jm, uint32_t consumer, void *ctx), void *ctx);
/* The vertex is there, and what it reads is known: it may not be, where the last facts were lost. */
bool vertex_is_decided(const struct jm *jm, uint32_t vertex);
/* Waits for so many producers more. Returns for how many in all. */
uint32_t vertex_wait(struct jm *jm, uint32_t vertex, int more);
/* So many producers more over a complete edge are not committed. True where that changes what its consumers
 * wait for. */
bool vertices_wait_for_edge(struct jm *jm, const struct graph_edge *e, int64_t more);
/* Nobody runs it, and nobody reads it. */
void vertex_leave_out(struct jm *jm, uint32_t vertex);
/* All that was asked of the DONE vertex is on disk. */
void vertex_release(struct jm *jm, uint32_t vertex);
void gang_set_waiting(struct jm *jm, uint32_t gang);
void gang_set_ready(struct jm *jm, uint32_t gang);
/* So many of its members have not ended. */
void gang_set_running(struct jm *jm, uint32_t gang, uint32_t left);
/* A member more has ended; the gang is DONE with the last one. */
void gang_count_done(struct jm *jm, uint32_t gang);
/* Needs slots that are of no use in parts. */
bool gang_is_large(const struct jm *jm, uint32_t gang);

#endif
