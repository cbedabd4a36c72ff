/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_STATE_H
#define CORE_STATE_H
/*
 * Inside of the scheduler. A file calls only those above it:
 *
 *   judge.c     which nodes are silent, or dead
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
 *   copy.c      second copies of slow vertices
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

#define JM_TIMES 128
#define JM_NODE_BAD_MAX 3               /* failures that others did not have: the node is avoided */
#define JM_DEATHS_ALONE 2               /* daemons that ended under a vertex, where no other is suspected, */
#define JM_DEATHS_MAX 3                 /* and where others are */
#define JM_DEATHS_NOTED 255             /* of a vertex */
#define JM_BAD_RECORDS_MAX 32           /* of one vertex */
#define JM_LOSSES_MAX 32                /* of a vertex, one after the other, that its daemon gave up */
#define JM_BREAKS_MAX 12                /* of a gang whose members do not reach each other */
#define JM_BROKEN_WAIT (3 * DAG_SECOND) /* for the member of a gang that broke it to say why */
#define JM_FLAPS_WAIT_MAX 8             /* log2 of the longest wait after a node came back, in seconds */
#define JM_FULL_WAIT_MAX 4              /* likewise, after it had no space */

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
	uint8_t copies;        /* that were started */
	bool copied;           /* has a second copy running: in jm.copies */
	bool chained;          /* RUNNING behind its producer, which runs on the same node: chain.c */
	uint32_t piece_end;    /* RUNNING: + 1, the last vertex of the piece of a chain behind it; 0: none */
	uint32_t avoid;        /* node + 1 where it failed last, 0: none */
	uint32_t last_failure; /* position + 1 in jm.failures */
};

/* Text of a vertex's last failure, to see whether the next one is alike. */
struct jm_failure {
	int error, signal;
	char *text;
	uint32_t node;
	bool blamed; /* its node was charged for it */
	bool has_at;
	struct jm_record at;
};

/* A record on which two attempts of a vertex died. */
struct jm_bad_record {
	uint32_t vertex;
	struct jm_record record;
	char *reason;
};

/* The daemon of the node ended while the vertex ran there. */
struct jm_death {
	uint32_t vertex, node;
};

/* A start that waits for a pause. */
struct jm_put_off {
	uint32_t vertex, attempt;
	dag_instant at;
};

/* A second attempt of a vertex that is slow. */
struct jm_copy {
	uint32_t vertex, attempt, node;
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

struct jm_queue {
	uint32_t first, last; /* gangs; GRAPH_NONE */
	uint32_t count;
};

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

/* Vertices, by their numbers in their stage. */
struct jm_list {
	uint32_t *items;
	size_t count, cap;
	uint64_t bytes; /* of producers that wait for their group */
};

static inline void jm_list_append(struct jm_list *list, uint32_t item)
{
	*DAG_APPEND(list->items, list->count, list->cap) = item;
}

/* What an edge of the pattern GROUPS has come to. */
struct jm_groups {
	uint32_t *of;          /* of each producer: its consumer; GRAPH_NONE: it is in no group yet */
	uint32_t *members;     /* producers, group after group, ascending within one */
	uint32_t *first;       /* of each group in `members`; behind the last: their number */
	uint32_t count;        /* groups, which the first consumers have */
	uint32_t waiting;      /* producers in all lists */
	struct jm_list *lists; /* by node, or by the first node of a rack */
	size_t list_count, list_cap;
};

/* What an edge of the pattern ADDED has come to. */
struct jm_added {
	struct jm_list *consumers; /* of each producer */
	struct jm_list *producers; /* of each consumer */
};

struct jm_edge {
	uint32_t missing; /* complete edges: producers that are not DONE */
	struct jm_groups *groups;
	struct jm_added *added;
};

struct jm_argument {
	unsigned char *data;
	size_t len;
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
	uint32_t *times; /* JM_TIMES, of committed attempts by their run time: bucket_of in copy.c */
};

/* Stages that run the same entry, and so probably take about as long. */
struct jm_kind {
	const struct graph_stage *stage; /* one of them */
	uint32_t done, ahead;
	dag_instant run_ns;
};

struct jm_output {
	uint32_t fetched; /* vertices whose records are here */
	uint32_t asked;   /* the vertex that is being fetched + 1; 0: none */
	uint32_t synced;  /* vertices whose records are on disk, in a file */
	uint64_t bytes;   /* of so many bytes */
	bool anew;        /* that file is written from its begin: not before it is durable that it is */
};

struct jm_complaint {
	uint32_t reader, producer, attempt, node; /* who could not read whose output */
	int error;
};

/* Found at a node while the job is being resumed. */
struct jm_adoptable {
	struct jm_found found;
	uint32_t node;
};

/* An end that was told while the job is being resumed. */
struct jm_held {
	struct jm_event event;
	struct jm_outcome outcome;
};

/* A producer over GROUPS is committed, or all of them are over a complete edge: GRAPH_NONE. */
struct jm_arrival {
	uint32_t edge, producer;
};

struct jm {
	const struct graph *graph;
	uint32_t epoch;
	dag_instant now;
	struct jm_vertex *vertices;
	struct jm_gang *gangs;
	struct jm_edge *edges;
	struct jm_stage *stages;
	struct jm_kind *kinds;
	size_t kind_count, kind_cap;
	struct jm_output *outputs;
	struct jm_node *nodes;
	size_t node_count, node_cap;
	struct jm_queue *queues; /* of READY gangs that may run anywhere, one a depth */
	uint32_t queue_count;
	uint32_t queue_top; /* the queues from here on are empty */
	uint32_t *open;     /* nodes that may have room */
	size_t open_count, open_cap;
	uint32_t ahead_most; /* of all stages */
	uint64_t used;       /* shares on all nodes */
	uint32_t want;       /* told to all */
	bool nodes_changed, gangs_changed;
	bool started_ahead; /* perhaps: some node has more than it can run */
	dag_instant recall_checked;
	uint32_t starving; /* shares that a ready gang needs and that all grants together do not give */
	dag_instant steal_at, usable_until;
	uint32_t ready_count;  /* gangs in any queue */
	uint64_t ready_shares; /* that they ask for */
	uint32_t large_ready;  /* of them, that need slots which are of no use in parts */
	uint32_t round;        /* of starting what is ready */
	struct jm_failure *failures;
	size_t failure_count, failure_cap;
	uint32_t *paused; /* gangs */
	size_t paused_count, paused_cap;
	dag_instant paused_next; /* when the first of them may go on */
	struct jm_put_off *put_off;
	size_t put_off_count, put_off_cap;
	struct jm_death *deaths;
	size_t death_count, death_cap;
	struct jm_complaint *complaints; /* being verified */
	size_t complaint_count, complaint_cap;
	struct jm_copy *copies;
	size_t copy_count, copy_cap;
	dag_instant copies_checked;
	struct jm_bad_record *bad;
	size_t bad_count, bad_cap;
	uint32_t *broken; /* gangs with a broken_at */
	size_t broken_count, broken_cap;
	struct jm_adoptable *adoptable;
	size_t adoptable_count, adoptable_cap;
	struct jm_held *held;
	size_t held_count, held_cap;
	bool replaying, resuming, partial; /* partial: some vertices are skipped */
	enum jm_fate fate;
	uint32_t node_deaths;
	uint32_t vertices_left; /* that are needed and not DONE */
	uint32_t outputs_left;
	uint32_t open_left; /* open stages that are not closed */
	uint32_t last_group;
	struct jm_arrival *arrivals;
	size_t arrival_next, arrival_count, arrival_cap;
	bool publishing, ended;
	char *failure;
	struct jm_effect *effects;
	size_t effect_count, effect_cap;
	struct arena texts; /* of the last step's effects */
	dag_instant wake_at;
	struct jm_waits waits;
	uint64_t seed;
	bool nodes_coming;          /* some are known and not up yet */
	dag_instant joined_at;      /* the last node came up */
	dag_instant hopeless_since; /* no node can run what is needed; DAG_NEVER: all is well */
	dag_instant hopeless_checked;
	uint32_t hopeless_next; /* the node whose queue is looked at next */
};

/* ---- jm.c ---- */
void effects_begin(struct jm *jm);
/* With the memory of their texts: facts may be many. */
void effects_drop(struct jm *jm);
struct jm_effect *jm_emit(struct jm *jm, enum jm_effect_kind kind);
/* One that names an attempt. */
struct jm_effect *jm_emit_attempt(
	struct jm *jm, enum jm_effect_kind kind, uint32_t node, uint32_t vertex, uint32_t attempt);
/* Where the node is up. */
void jm_kill(struct jm *jm, uint32_t node, uint32_t vertex, uint32_t attempt);
void jm_fact(struct jm *jm, const char *format, ...) __attribute__((format(printf, 2, 3)));
void jm_note(struct jm *jm, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* About a vertex; those of one stage that are like it may be told together. */
void jm_note_like(struct jm *jm, uint32_t vertex, const char *like, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* Ends the job: kills what runs; 0 is success. `text` is kept. */
void jm_end(struct jm *jm, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* "stage[index] attempt n on node", in the step's arena. */
const char *jm_attempt_name(struct jm *jm, uint32_t vertex);
void jm_wake(struct jm *jm, dag_instant at);

/* "n", or "epoch.n" after a resume, in the step's arena. */
const char *jm_attempt_text(struct jm *jm, uint32_t attempt);

/* ---- output.c ---- */
void outputs_init(struct jm *jm);
/* The stage, and what is joined to it pointwise, has so many vertices. */
void outputs_settled(struct jm *jm, uint32_t root, uint32_t width);
/* What is fetched may not be DONE any more. */
void outputs_look_again(struct jm *jm);
void output_fetch_next(struct jm *jm, uint32_t output);
/* What was fetched of an output is not what counts any more. */
void output_refetch(struct jm *jm, uint32_t output);
void output_on_fetched(struct jm *jm, const struct jm_event *event);
void output_on_synced(struct jm *jm, const struct jm_event *event);
void output_on_fetch_failed(struct jm *jm, const struct jm_event *event);
int output_replay(struct jm *jm, const char *word, const char *rest);
void outputs_replayed(struct jm *jm);

/* ---- refine.c ---- */
void refine_init(struct jm *jm);
void refine_fini(struct jm *jm);
/* As another run of the job decided. */
void refine_like(struct jm *jm, const struct jm *like);
/* After each event: decides what can be decided by what was committed. */
void refine_look(struct jm *jm);
/* The vertex is there, and what it reads is known: it may not be, where the last facts were lost. */
bool vertex_is_decided(const struct jm *jm, uint32_t vertex);
/* It is in no group yet. */
bool edges_is_ungrouped(const struct jm *jm, const struct graph_edge *e, uint32_t producer);
int refine_replay(struct jm *jm, const char *word, const char *rest);
int refine_close(struct jm *jm, uint32_t stage);

/* ---- groups.c ---- */
void groups_init(struct jm *jm);
void groups_fini(struct jm *jm);
/* What the producer wrote. */
uint64_t groups_bytes(const struct jm *jm, const struct graph_edge *e, uint32_t producer);
void groups_add(struct jm *jm, const struct graph_edge *e, struct jm_list *list, uint32_t producer);
/* One that waits is not committed any more, or in a group. */
void groups_take_back(struct jm *jm, const struct graph_edge *e, uint32_t producer);
/* Those of one key wait together: a node, or the first node of a rack. */
uint32_t groups_key(const struct jm *jm, enum graph_group_by by, uint32_t node);
struct jm_list *groups_list(struct jm_groups *g, uint32_t key);

/* ---- open.c ---- */
void open_closed(struct jm *jm);
void open_init(struct jm *jm);
void open_fini(struct jm *jm);
void open_like(struct jm *jm, const struct jm *like);
int open_add(struct jm *jm, const struct jm_event *event);
/* A result could not be read. */
int open_unread(struct jm *jm, const struct jm_event *event);
int open_replay(struct jm *jm, const char *rest);

/* ---- facts.c ---- */
void fact_started(struct jm *jm, uint32_t vertex, uint32_t attempt, uint32_t node, uint32_t count);
void fact_committed(struct jm *jm, uint32_t vertex, const struct jm_outcome *o);
/* A node came up, was gone ("node-up", "node-down"), or its daemon ended ("node-ended"). */
void fact_node(struct jm *jm, const char *word, const char *name);
/* Takes a number, and blanks before it; false where there is none. As sscanf, which measures all that
 * follows. */
bool fact_number(const char **text, uint32_t *ret_number);
/* Of two hexadecimal digits; −1. */
int fact_byte(const char *text);
/* The name that such a fact has, allocated. */
char *fact_unescape(const char *text);

/* ---- vertices.c ---- */
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
void gangs_init(struct jm *jm);
/* `reader` could not read `producer` of the same gang. */
void gang_break(struct jm *jm, uint32_t reader, uint32_t producer);
/* skipped: of each vertex, or NULL. */
void vertices_init(struct jm *jm, const bool *skipped);
const struct graph_stage *vertex_stage(const struct jm *jm, uint32_t vertex);
/* An input of the job, or one that is not to be run. */
bool vertex_is_idle(const struct jm *jm, uint32_t vertex);
/* Edges inside a gang are never waited for. */
bool edges_is_waited_for(const struct graph_edge *e);
void vertex_set_state(struct jm *jm, uint32_t vertex, enum jm_state state);
/* So many more producers over a complete edge are not committed. */
void gangs_count_edge(struct jm *jm, const struct graph_edge *e, int64_t more);
/* Everything that it waits for is committed. */
bool vertex_inputs_there(const struct jm *jm, uint32_t vertex);
/* A gang whose inputs are all there becomes READY and is queued. */
void gang_try_ready(struct jm *jm, uint32_t gang);
void gang_unready(struct jm *jm, uint32_t gang);
/* A committed producer is made again if its node is gone. */
void gang_invalidate_if_gone(struct jm *jm, uint32_t producer, void *ctx);
/* The whole gang goes back to WAITING or READY; running members are killed, done ones are forgotten. */
void gang_reset(struct jm *jm, uint32_t gang, bool kill);
/* gang_reset, and what it reads is made again where its node is gone. */
void gang_rerun(struct jm *jm, uint32_t gang);
/* True where it gave other bytes than its last commit. */
bool gang_commit(struct jm *jm, uint32_t vertex, const struct jm_outcome *outcome);
/* What was committed and is to be looked at by refine.c, first come first served; false: nothing more. */
bool gangs_next_arrival(struct jm *jm, struct jm_arrival *ret);
/* The committed output of a vertex is lost: its gang runs again, and so on upstream where nodes are gone. */
void gang_invalidate(struct jm *jm, uint32_t vertex, const char *why);
/* Calls f for each producer of the vertex that is no input of the job. */
void vertex_each_producer(
	struct jm *jm, uint32_t vertex, void (*f)(struct jm *jm, uint32_t producer, void *ctx), void *ctx);
void vertex_each_consumer(
	struct jm *jm, uint32_t vertex, void (*f)(struct jm *jm, uint32_t consumer, void *ctx), void *ctx);

/* ---- place.c ---- */
enum attempt_how {
	ATTEMPT_STARTED, /* with its whole gang; the caller writes that fact */
	ATTEMPT_ALONE,   /* a member of a gang that runs; all attempts before are over */
	ATTEMPT_COPY,    /* beside the current one, which stays it */
	ATTEMPT_ADOPTED  /* found running after the job manager was gone */
};
/*
 * The only place where an attempt comes to be: the vertex runs on the node, which is occupied, and that is a
 * fact. While facts are replayed only its number is noted: where it is, that is told by who has it.
 */
void attempt_begin(struct jm *jm, uint32_t vertex, uint32_t node, uint32_t number, enum attempt_how how);
void attempts_init(struct jm *jm);
/* The current attempt is this one. */
void attempt_set(struct jm *jm, uint32_t vertex, uint32_t number, uint32_t node);
/* Numbers up to this one are not given again. */
void attempt_pass(struct jm *jm, uint32_t vertex, uint32_t number);
/* All attempts are over. */
void attempt_fence(struct jm *jm, uint32_t vertex);
/* The current one had not begun, and is not counted. */
void attempt_take_back(struct jm *jm, uint32_t vertex);
/* The current one, which was put off. */
void attempt_start_late(struct jm *jm, uint32_t vertex);
void queue_init(struct jm_queue *queue);
void queues_init(struct jm *jm);
/* From then on gangs are looked for in other nodes' queues. */
void queues_steal_at(struct jm *jm, dag_instant at);
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
/* The vertex runs there behind another, or (−) not any more. */
void node_chain(struct jm *jm, uint32_t node, uint32_t vertex, int sign);
/* It was asked for what it has not begun. */
void node_hold_up(struct jm *jm, uint32_t node);
/* Whether any node has more than it can run. */
bool nodes_look_ahead(struct jm *jm);
void nodes_free(struct jm *jm);
void queue_put(struct jm *jm, uint32_t gang);
/* So long a gang waits for the node that holds its input before anybody else may take it. */
dag_instant queue_first_wait(const struct jm_node *holder);
void queue_remove(struct jm *jm, uint32_t gang);
/* Needs slots that are of no use in parts. */
bool gang_is_large(const struct jm *jm, uint32_t gang);
bool node_is_shunned(const struct jm *jm, const struct jm_node *node, uint32_t vertex);
/* Every label that the stage asks for. */
bool node_has_labels(const struct jm_node *node, const struct graph_stage *s);
/* Where it is not known how much the node has, it is enough. */
bool node_has_memory(const struct jm_node *node, uint64_t used, uint64_t memory);
/* As node_could_run, whether or not the node is up. */
bool node_would_suit(const struct jm *jm, const struct jm_node *node, uint32_t vertex);
/* Whether the vertex could ever run on the node, with all its slots free. */
bool node_could_run(const struct jm *jm, const struct jm_node *node, uint32_t vertex);
/* False where the members do not all find room now; the first choice is `node`. */
bool attempt_start_gang(struct jm *jm, uint32_t gang, uint32_t node);
/* Which stages are of one kind. */
void pipeline_init(struct jm *jm);
/* True where node_room of all nodes is another now. */
bool pipeline_note(struct jm *jm, uint32_t stage, dag_instant run_ns);
uint32_t pipeline_ahead(const struct jm *jm, const struct graph_stage *stage, uint32_t gang);
void nodes_update_open(struct jm *jm);
int node_up(struct jm *jm, const struct jm_event *event);
/* Shares that all vertices of the node together may ask for, where so many are started ahead for each that
 * runs. */
uint32_t node_room(const struct jm_node *node, uint32_t ahead);
bool node_takes_work(const struct jm *jm, const struct jm_node *node, uint32_t vertex);
/* After anything that decides whether the node has room. */
void node_update_open(struct jm *jm, uint32_t node);
/* The effect that starts an attempt; group 0 of size 1: in a host of its own. */
void attempt_emit(
	struct jm *jm, uint32_t node, uint32_t vertex, uint32_t attempt, uint32_t group, uint32_t group_size);
/* Vertices of its stage run shortly, by those that have run. */
bool pipeline_is_short(const struct jm *jm, uint32_t vertex);
/* Starts a gang of one on the node, wherever it waits. */
void attempt_start_single(struct jm *jm, uint32_t vertex, uint32_t node);
void attempt_release(struct jm *jm, uint32_t vertex);
void node_occupy(struct jm *jm, uint32_t node, uint32_t vertex, int sign);
bool node_fits(const struct jm *jm, uint32_t node, uint32_t vertex);
uint32_t attempt_next(const struct jm *jm, uint32_t gang);
void queues_refill(struct jm *jm);

/* ---- spread.c ---- */
/*
 * Finds a node for each member; the first choice is `node`. False where they do not all find room now.
 * `group`, which comes zeroed, gets the number of each member's fifo group, 0 for none.
 */
bool spread_gang(struct jm *jm, uint32_t gang, uint32_t node, uint32_t *group, uint32_t *chosen);
/* A member for which there would be no room if nothing else ran on the nodes that are up; GRAPH_NONE. */
uint32_t spread_misfit(const struct jm *jm, uint32_t gang);

/* ---- pause.c ---- */
/* Before the attempt after so many failures. */
dag_instant pause_time(const struct jm *jm, uint32_t vertex, uint32_t failures);
/* The gang does not become READY before the pause is over. */
void pause_gang(struct jm *jm, uint32_t gang, dag_instant pause);
/* The current attempt of the running vertex is started when the pause is over. */
void pause_start(struct jm *jm, uint32_t vertex, dag_instant pause);
void pauses_look(struct jm *jm);

/* ---- round.c ---- */
/* Starts what can be started. */
void round_start(struct jm *jm);

/* ---- hopeless.c ---- */
void hopeless_init(struct jm *jm);
/* Nodes are known that are not up yet, or none any more. */
void hopeless_coming(struct jm *jm, bool coming);
/* Ends the job where no node can run what it needs, and none is waited for any more. */
void hopeless_check(struct jm *jm);

/* ---- recall.c ---- */
/* Shares of vertices that the node has and that wait there for a slot. */
uint32_t node_waiting(const struct jm_node *node);
/* A vertex ended on the node, or began where none ran. */
void node_moved(struct jm *jm, uint32_t node);
/* The running vertex had not begun, and is here again. */
void recall_returned(struct jm *jm, uint32_t vertex);
/* Asks nodes that are held up for what others could run at once. */
void recall_look(struct jm *jm);

/* ---- failure.c ---- */
/* Gangs whose members complained of each other, and none of which said why. */
void failure_rerun_broken(struct jm *jm);
/* A commit with another hash than the last: rule 6. */
void failure_on_differs(struct jm *jm, uint32_t vertex);
void failure_on_failed(struct jm *jm, uint32_t vertex, const struct jm_outcome *outcome);
void failure_on_verified(struct jm *jm, uint32_t vertex, uint32_t attempt, int error);
void failure_on_node_down(struct jm *jm, uint32_t node, bool died);
/* DONE vertices whose data is not reachable and is needed run again. */
void failure_rerun_lost(struct jm *jm, bool (*is_lost)(const struct jm *jm, uint32_t vertex, const void *ctx),
	const void *ctx, uint32_t *ret_count);
void blame_record(struct jm *jm, uint32_t vertex, const struct jm_record *record, const char *reason);
bool blame_is_same_record(const struct jm_record *a, const struct jm_record *b);
/* Of the stage; UINT32_MAX where the vertex has as many as it may. */
uint32_t blame_count_records(const struct jm *jm, uint32_t stage, uint32_t vertex);
/* Keeps what an attempt failed of, to compare it with the next failure. */
void blame_remember(struct jm *jm, uint32_t vertex, uint32_t node, const struct jm_outcome *outcome);
/* The fact about a bad record that the vertex met and passed over. */
void blame_note_skipped(struct jm *jm, uint32_t vertex, const struct jm_record *record);
/* Where it failed on another node, that node is to blame. */
void blame_committed(struct jm *jm, uint32_t vertex);
/* A failure that counts. */
void blame_failure(struct jm *jm, uint32_t vertex);
/* It could not read what is intact. */
void blame_reader(struct jm *jm, uint32_t vertex);
/* Its daemon gave it up: how often, since its last commit. */
uint32_t blame_loss(struct jm *jm, uint32_t vertex);
/* Its output was lost: how often. */
uint32_t blame_rerun(struct jm *jm, uint32_t vertex);

/* ---- blame.c ---- */
/* The node's daemon ended while the vertex ran there. */
void blame_add_death(struct jm *jm, uint32_t vertex, uint32_t node);
/* The node's daemon has ended: ends the job where a vertex is to blame. Before what ran there is looked at.
 */
void blame_deaths(struct jm *jm, uint32_t node);

/* ---- copy.c ---- */
/* The copy is this attempt from now on. Returns what it was. */
struct jm_copy copy_swap(struct jm *jm, uint32_t vertex, uint32_t attempt, uint32_t node);
void copies_note_time(struct jm *jm, uint32_t vertex, dag_instant run_ns);
struct jm_copy *copy_find(struct jm *jm, uint32_t vertex);
/* Ends the copy: its attempt is fenced, and killed where its node is up. */
void copy_drop(struct jm *jm, uint32_t vertex);
/* The copy becomes the current attempt; the one before is killed. */
void gang_promote_copy(struct jm *jm, uint32_t vertex);
void copies_start(struct jm *jm);

/* ---- chain.c ---- */
/*
 * Starts the next piece of what follows a vertex that runs, and behind which nothing was started, one behind
 * the other. Returns the last one of it; the vertex itself where nothing can be started.
 */
uint32_t chain_start(struct jm *jm, uint32_t vertex);
/* A vertex was committed: what was started behind it may be prolonged. */
void chain_committed(struct jm *jm, uint32_t vertex);
/* The running vertex is behind its producer, or is not any more. */
void chain_set(struct jm *jm, uint32_t vertex, bool chained);
/* What was started behind the vertex waits again: its data will not be what was promised. */
void gang_reset_followers(struct jm *jm, uint32_t vertex);

/* ---- alone.c ---- */
/*
 * Starts the running vertex anew, after a pause, while the others of its gang go on; false where they must
 * start again too.
 */
bool alone_run(struct jm *jm, uint32_t vertex, dag_instant pause);
/* Whether it was, and reads `other` of its gang in an earlier attempt. */
bool alone_reads(const struct jm *jm, uint32_t vertex, uint32_t other);

/* ---- trim.c ---- */
/* More of the stage's vertices may be released: what only they had to read is given back too. */
void trim_inputs(struct jm *jm, const struct graph_stage *s);

/* ---- resume.c ---- */
void found_sort(struct jm *jm);
void found_clear(struct jm *jm);
/* The newest attempt of the vertex that a node has, once they are sorted; NULL. */
const struct jm_adoptable *found_newest(const struct jm *jm, uint32_t vertex);
void found_add(struct jm *jm, uint32_t node, const struct jm_found *found, size_t n);
/* The node is gone again before the job was resumed. */
void found_forget(struct jm *jm, uint32_t node);
void resume_adopt(struct jm *jm);

/* ---- replay.c ---- */
/* Groups, widths and added vertices as in another run of the job. */
void replay_like(struct jm *jm, const struct jm *like);
/* All nodes that could be expected are there. */
void replay_over(struct jm *jm);

#endif
