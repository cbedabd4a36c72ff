/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_NODES_H
#define CORE_NODES_H
#include "queue.h"

struct jm_node {
	char *name, *rack;
	struct graph_pair *labels;
	uint32_t label_count;
	bool up, suspect;
	bool expected; /* known from the journal, not heard of yet */
	bool avoided;  /* fails what others can do */
	uint32_t bad;  /* such failures */
	uint32_t downs;
	uint32_t full;         /* times that it had no space, since its last commit */
	dag_instant usable_at; /* after it came back, or had no space */
	uint32_t total;        /* shares that the node has */
	uint32_t granted;      /* shares that the job may use */
	uint32_t used;         /* shares of gangs that run there, ahead ones too */
	uint32_t chained;      /* of those, shares of vertices that run behind another */
	uint32_t running;      /* vertices */
	uint32_t gangs;        /* shares in use that are of no use in parts */
	uint32_t want, least;  /* told */
	dag_instant moved_at;  /* when a vertex ended there, or began where none ran */
	bool held_up;          /* it was asked for what it has not begun: gets no more than it can run */
	uint64_t memory, memory_used;
	uint32_t complaints;
	uint32_t open_at;      /* position + 1 in jm.open; 0: has no room */
	struct jm_queue queue; /* gangs that would like to run here */
};

void nodes_free(struct jm *jm);
int node_up(struct jm *jm, const struct jm_event *event);
void node_down(struct jm *jm, uint32_t node, bool died);
/* As an earlier run has noted. */
void node_replay(struct jm *jm, const char *name, bool up, bool died);
void node_grant(struct jm *jm, uint32_t node, uint32_t shares);
void node_suspect(struct jm *jm, uint32_t node, bool suspect);
/* False where the node was told so already. */
bool node_set_want(struct jm *jm, uint32_t node, uint32_t want, uint32_t least);
/* What became of nodes has been taken into account. */
void nodes_seen(struct jm *jm);
/* What gangs use on nodes is another since this was asked last. */
bool nodes_take_gangs_changed(struct jm *jm);
/* A full disk stays full for a while: the node rests, longer each time, until something is committed there.
 */
void node_rest(struct jm *jm, uint32_t node);
void node_committed(struct jm *jm, uint32_t node);
/* It failed what ran elsewhere. True where it is avoided from now on. */
bool node_blame(struct jm *jm, uint32_t node);
/* It complained about data that is intact: how often it did. */
uint32_t node_complain(struct jm *jm, uint32_t node);
/* Shares that all vertices of the node together may ask for, where so many are started ahead for each that
 * runs. */
uint32_t node_room(const struct jm_node *node, uint32_t ahead);
/* After anything that decides whether the node has room. */
void node_update_open(struct jm *jm, uint32_t node);
/* Shares of vertices that the node has and that wait there for a slot. */
uint32_t node_waiting(const struct jm_node *node);
/* A vertex ended on the node, or began where none ran. */
void node_moved(struct jm *jm, uint32_t node);
void nodes_update_open(struct jm *jm);
bool node_is_shunned(const struct jm *jm, const struct jm_node *node, uint32_t vertex);
bool node_takes_work(const struct jm *jm, const struct jm_node *node, uint32_t vertex);
/* Every label that the stage asks for. */
bool node_has_labels(const struct jm_node *node, const struct graph_stage *s);
/* Where it is not known how much the node has, it is enough. */
bool node_has_memory(const struct jm_node *node, uint64_t used, uint64_t memory);
/* As node_could_run, whether or not the node is up. */
bool node_would_suit(const struct jm *jm, const struct jm_node *node, uint32_t vertex);
/* Whether the vertex could ever run on the node, with all its slots free. */
bool node_could_run(const struct jm *jm, const struct jm_node *node, uint32_t vertex);
bool node_fits(const struct jm *jm, uint32_t node, uint32_t vertex);
void node_occupy(struct jm *jm, uint32_t node, uint32_t vertex, int sign);
/* The vertex runs there behind another, or (−) not any more. */
void node_chain(struct jm *jm, uint32_t node, uint32_t vertex, int sign);
/* It was asked for what it has not begun. */
void node_hold_up(struct jm *jm, uint32_t node);
/* Whether any node has more than it can run. */
bool nodes_look_ahead(struct jm *jm);

#endif
