/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_STATE_H
#define CORE_STATE_H
/*
 * Inside of the scheduler. A file calls only those above it:
 *
 *   detector.c  which nodes are silent, or dead
 *   edges.c     who reads whom
 *   vertices.c  states, and what is missing to each vertex
 *   effects.c   what a step gives back
 *   facts.c     the journal's lines
 *   queue.c     READY gangs
 *   found.c     what nodes hold
 *   pipeline.c  how many short vertices are started ahead
 *   nodes.c     what nodes have, what runs there, what fits
 *   blame.c     what counts against vertices and nodes
 *   spread.c    which node each member of a gang gets
 *   attempt.c   the start of attempts
 *   chain.c     short vertices that are started behind the one that they read
 *   speculation.c  second attempts of slow vertices
 *   groups.c    producers that wait for their group
 *   gangs.c     commits, resets, reruns
 *   pause.c     what waits before it is tried again
 *   trim.c, output.c   what is fetched, and given back when it is on disk
 *   open.c      vertices that are added while the job runs
 *   refine.c    groups and widths that are decided while the job runs
 *   alone.c     members of gangs that run again alone
 *   failure.c   what a failure means
 *   recall.c    what was started ahead and is wanted back
 *   resume.c    what is adopted
 *   hopeless.c  what no node can run
 *   round.c     which gang is started where
 *   replay.c    the facts of an earlier run
 *   check.c, dump.c    for tests
 *   step.c      an event: to whom it goes, and what follows
 */
#include "jm.h"

struct jm {
	/* step.c */
	const struct graph *graph;
	uint32_t epoch;
	uint64_t seed;
	struct jm_waits waits;
	dag_instant now;
	bool publishing, partial; /* partial: some vertices are skipped */
	struct jm_held *held;
	size_t held_count, held_cap;

	/* vertices.c, and those that vertices.h names for single fields */
	struct jm_vertex *vertices;
	struct jm_gang *gangs;
	struct jm_stage *stages;
	struct jm_edge *edges;
	uint32_t vertices_left; /* that are needed and not DONE */

	/* effects.c */
	bool ended;
	char *failure;
	struct jm_effect *effects;
	size_t effect_count, effect_cap;
	struct arena texts; /* of the last step's effects */
	dag_instant wake_at;

	/* queue.c */
	struct jm_queue *queues; /* of READY gangs that may run anywhere, one a depth */
	uint32_t queue_count;
	uint32_t queue_top;    /* the queues from here on are empty */
	uint32_t ready_count;  /* gangs in any queue */
	uint64_t ready_shares; /* that they ask for */
	uint32_t large_ready;  /* of them, that need slots which are of no use in parts */
	dag_instant steal_at;

	/* found.c */
	struct jm_adoptable *adoptable;
	size_t adoptable_count, adoptable_cap;

	/* pipeline.c */
	struct jm_kind *kinds;
	size_t kind_count, kind_cap;
	uint32_t ahead_most; /* of all stages */

	/* nodes.c */
	struct jm_node *nodes;
	size_t node_count, node_cap;
	uint32_t *open; /* nodes that may have room */
	size_t open_count, open_cap;
	uint64_t used; /* shares on all nodes */
	bool nodes_changed, gangs_changed;
	bool started_ahead;    /* perhaps: some node has more than it can run */
	dag_instant joined_at; /* the last node came up */
	dag_instant usable_until;
	uint32_t node_deaths;

	/* blame.c */
	struct jm_failure *failures;
	size_t failure_count, failure_cap;
	struct jm_death *deaths;
	size_t death_count, death_cap;
	struct jm_bad_record *bad;
	size_t bad_count, bad_cap;

	/* spread.c */
	uint32_t last_group;

	/* speculation.c */
	struct jm_speculation *speculations;
	size_t speculation_count, speculation_cap;
	dag_instant speculation_checked;

	/* gangs.c */
	struct jm_arrival *arrivals;
	size_t arrival_next, arrival_count, arrival_cap;

	/* pause.c */
	uint32_t *paused; /* gangs */
	size_t paused_count, paused_cap;
	dag_instant paused_next; /* when the first of them may go on */
	struct jm_put_off *put_off;
	size_t put_off_count, put_off_cap;

	/* output.c, open.c */
	struct jm_output *outputs;
	uint32_t outputs_left;
	uint32_t open_left; /* open stages that are not closed */

	/* failure.c */
	struct jm_complaint *complaints; /* being verified */
	size_t complaint_count, complaint_cap;
	uint32_t *broken; /* gangs with a broken_at */
	size_t broken_count, broken_cap;

	/* recall.c */
	dag_instant recall_checked;

	/* hopeless.c */
	bool nodes_coming;          /* some are known and not up yet */
	dag_instant hopeless_since; /* no node can run what is needed; DAG_NEVER: all is well */
	dag_instant hopeless_checked;
	uint32_t hopeless_next; /* the node whose queue is looked at next */

	/* round.c */
	uint32_t round;    /* of starting what is ready */
	uint32_t want;     /* told to all */
	uint32_t starving; /* shares that a ready gang needs and that all grants together do not give */

	/* replay.c */
	bool replaying, resuming;
	enum jm_fate fate;
};

#endif
