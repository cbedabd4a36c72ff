/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_JM_H
#define CORE_JM_H
/*
 * The scheduler: one state machine, fed events and `now`, giving back an ordered list of effects. It decides
 * which attempt of which vertex runs where, what a failure means (the rules of docs/FAILURES.md), and
 * when the job ends.
 *
 * Pure: no clock, no file, no socket. The shell (jobmanager/manager) carries effects out in their order. An
 * effect with `durable` set must wait until every journal effect before it is on disk. The facts of one step
 * are written together or not at all.
 *
 *                     inputs there            started
 *      WAITING ───────────────────► READY ──────────────► RUNNING ──────► DONE
 *         ▲                           ▲                      │              │
 *         │        an input is lost   │   failed, node lost  │              │ its data is lost
 *         └───────────────────────────┴──────────────────────┘◄─────────────┘ and somebody needs it
 *
 * The unit that is started, ends and fails is the gang; most gangs have one member.
 */
#include "graph/graph.h"
#include "base/buffer.h"

#define JM_NODE_NONE UINT32_MAX
#define JM_RERUNS_MAX 6                 /* of a vertex whose output was lost: rule 2 */
#define JM_SOURCE_TRIES 3               /* of reading an input of the job */
#define JM_NODE_COMPLAINTS_MAX 3        /* of one node about data that is intact */
#define JM_LOCALITY_WAIT (500 * DAG_MS) /* a ready vertex waits so long for the node that holds its input */
#define JM_RACK_WAIT (250 * DAG_MS)     /* and so long for one of the same rack */
#define JM_SHORT (20 * DAG_MS)          /* vertices of a stage that run less on average are started ahead: */
#define JM_AHEAD 8                      /* so many for each that runs, */
#define JM_AHEAD_TIME (2 * DAG_MS)      /* or as many as run in this time, */
#define JM_AHEAD_MAX 256                /* but no more */

struct jm;

/* How long a node is waited for that could run what no node can. */
struct jm_waits {
	dag_instant node;    /* where one was there and is gone: it may come back */
	dag_instant joining; /* where there was none: others may be joining */
};

struct jm_config {
	const struct graph *graph; /* finished; outlives the jm */
	uint32_t epoch;
	uint64_t seed; /* of pauses between attempts */
	struct jm_waits waits;
	const bool *skipped;   /* vertices that are not to be run, and nobody who is reads; NULL: none */
	const struct jm *like; /* another run of the job: groups and widths are to be as there; NULL */
};

/* ---- events ---- */

/* An attempt number carries the epoch of the job manager that gave it, so that no other run of the job gives
 * it again. */
#define JM_ATTEMPTS_MAX 65535u
#define JM_ATTEMPT(epoch, n) (((epoch)-1) << 16 | (n))
#define JM_ATTEMPT_EPOCH(attempt) (((attempt) >> 16) + 1)
#define JM_ATTEMPT_NUMBER(attempt) ((attempt)&0xffffu)

enum jm_event_kind {
	JM_NODE_UP,      /* node (jm_node_number), name, shares in all, memory, labels, rack, found */
	JM_NODE_GRANT,   /* node, shares */
	JM_NODE_SUSPECT, /* node, flag: takes no new work */
	JM_NODE_DOWN,    /* node; flag: its daemon ended, rather than was silent */
	JM_NODES_COMING, /* flag: nodes are known that are not up yet */
	JM_RESUMED,      /* after jm_replay: all nodes that can be expected have said what they hold */
	JM_ENDED,        /* node, vertex, attempt, outcome */
	JM_VERIFIED,     /* vertex, attempt, error */
	JM_FETCHED,      /* output, vertex, attempt; flag: and on disk, bytes of its file */
	JM_SYNCED,       /* output, vertex: all fetched up to this one is on disk; bytes of its file */
	JM_FETCH_FAILED, /* output, vertex, attempt, error, text */
	JM_PUBLISHED,    /* all outputs stand under their names; error, text where one does not */
	JM_ADD,          /* stage (an open one), reads, argument: a vertex more */
	JM_CLOSE,        /* stage: no more are added */
	JM_UNREAD,       /* vertex, attempt: its result could not be read where somebody asked for it */
	JM_CANCEL,
	JM_ABORT, /* the shell cannot go on: text */
	JM_TICK
};

/* A record of what a vertex reads: of a port, of its producer of that number, counted from 0. */
struct jm_record {
	uint32_t port, producer;
	uint64_t number;
	const void *data; /* its first bytes, where they are known */
	size_t len;
};

/* What an attempt came to. */
struct jm_outcome {
	int error; /* 0 or a DAG_E…; DAG_ECANCELED: it was given back, or its daemon ends */
	int signal;
	const char *text, *stderr_tail;
	bool blamed; /* the error came from reading this: */
	uint32_t blamed_vertex, blamed_attempt;
	bool closed_early;
	uint64_t hash_low, hash_high;
	uint64_t bytes; /* stored */
	uint64_t records_in, bytes_in, records_out, bytes_out;
	dag_instant run_ns;
	uint64_t inputs; /* hash_pairs over the (vertex, attempt) of all it read */
	bool has_at;
	struct jm_record at; /* where it died */
	const struct jm_record *skipped;
	size_t skipped_count;
};

/* What a node says it has of the job when it comes up. */
struct jm_found {
	uint32_t vertex, attempt;
	bool sealed; /* with this hash */
	uint64_t hash_low, hash_high;
	uint64_t inputs; /* of the attempt: hash_pairs over the (vertex, attempt) of all it reads */
};

/* What an added vertex reads: a producer, by its number in its stage, over an edge. */
struct jm_read {
	uint32_t edge, producer;
};

struct jm_event {
	enum jm_event_kind kind;
	uint32_t stage;
	const struct jm_read *reads; /* in the order in which it reads them */
	size_t read_count;
	const void *argument;
	size_t argument_len;
	uint32_t node, vertex, attempt, output, shares;
	const char *name, *rack, *text;
	uint64_t memory, bytes;
	const struct graph_pair *labels;
	uint32_t label_count;
	bool flag;
	int error;
	const struct jm_outcome *outcome;
	const struct jm_found *found;
	size_t found_count;
};

/* ---- effects ---- */

enum jm_effect_kind {
	JM_JOURNAL, /* fact: text, one line (see facts.c) */
	JM_START,   /* node, vertex, attempt: the first of a group of `count`, or alone */
	JM_ACK,     /* node, vertex, attempt; durable */
	JM_KILL,    /* node, vertex, attempt: forget it, running or not */
	JM_RELEASE, /* node, vertex, attempt: its output is not needed there any more; durable */
	JM_TRIM,    /* node, stage, stream: parts before `parts` are not needed there any more; durable */
	JM_VERIFY,  /* node, vertex, attempt */
	JM_WANT,    /* node, shares, least */
	JM_RECALL,  /* node, shares: so many of what has not begun there are wanted back */
	JM_FETCH,   /* output, vertex, attempt, node; durable where what is on disk is written over */
	JM_PUBLISH, /* durable */
	JM_NOTE,    /* text for people, perhaps one of many that are alike */
	JM_END      /* error (0: done), text; durable. The last effect of a job. */
};

struct jm_effect {
	enum jm_effect_kind kind;
	bool durable;
	uint32_t node;
	union {
		struct {
			uint32_t vertex, attempt, output;
		};
		struct {
			uint32_t stage, stream, parts; /* TRIM */
		};
	};
	uint32_t shares;
	uint32_t least; /* WANT: that are of no use in parts */
	uint32_t group; /* START: members of one number share a host; 0: a host of its own */
	uint32_t group_size;
	int error;
	const char *text; /* until the next step */
	const char *like; /* NOTE about `vertex`: what its stage's other vertices would be told of in the same
			     words. Or NULL */
};

struct jm_effects {
	const struct jm_effect *items;
	size_t count;
	dag_instant wake_at; /* step with JM_TICK then, at the latest */
};

/* ---- the machine ---- */

void jm_new(struct jm **ret_jm, const struct jm_config *config);
void jm_destroy(struct jm **jm);
/*
 * Applies a fact of an earlier run of the job, in their order, before the first step. DAG_EFORMAT for one
 * that is none or contradicts those before it. After the last, nodes come up with what they hold, and
 * JM_RESUMED says that no more are waited for: what still runs is adopted, what is gone is made again.
 */
int jm_replay(struct jm *jm, const char *fact);
void jm_replayed(struct jm *jm);
/* What the replayed facts say of the job's end. */
enum jm_fate { JM_FATE_OPEN, JM_FATE_DECIDED, JM_FATE_PUBLISHED, JM_FATE_FAILED };
enum jm_fate jm_fate(const struct jm *jm);
/* DAG_EINVAL for an event that names what does not exist; then nothing changed. */
int jm_step(struct jm *jm, dag_instant now, const struct jm_event *event);
struct jm_effects jm_effects(const struct jm *jm); /* of the last step */

/* ---- what the shell and the user may see ---- */

enum jm_state { JM_WAITING, JM_READY, JM_RUNNING, JM_DONE };

struct jm_stage_view {
	uint32_t width, waiting, ready, running, done;
	uint64_t attempts, failures, bytes_in, bytes_out, records_in, records_out;
	dag_instant run_ns;
};

void jm_stage_view(const struct jm *jm, uint32_t stage, struct jm_stage_view *ret);
/* How many vertices the stage has: the most that it can be, until that is decided. */
uint32_t jm_width(const struct jm *jm, uint32_t stage);
/* As in edge.h, of what is decided. */
uint32_t jm_producers(const struct jm *jm, const struct graph_edge *edge, uint32_t consumer);
uint32_t jm_producer(const struct jm *jm, const struct graph_edge *edge, uint32_t consumer, uint32_t i);
uint32_t jm_consumers(const struct jm *jm, const struct graph_edge *edge, uint32_t producer);
uint32_t jm_consumer(const struct jm *jm, const struct graph_edge *edge, uint32_t producer, uint32_t i);
/* How many vertices were added to an open stage. */
uint32_t jm_added(const struct jm *jm, uint32_t stage);
/* Whether JM_ADD of such a vertex would be taken. */
bool jm_may_add(const struct jm *jm, uint32_t stage, const struct jm_read *reads, size_t n);
/* How many of a stage's first vertices can be read by one that is added: all that there certainly are. */
uint32_t jm_readable(const struct jm *jm, uint32_t stage);
/* What a vertex of an open stage was given. */
const void *jm_argument(const struct jm *jm, uint32_t vertex, size_t *ret_len);
/* The first of *ret_count parts that the consumer reads of each producer. */
uint32_t jm_first_part(
	const struct jm *jm, const struct graph_edge *edge, uint32_t consumer, uint32_t *ret_count);
/* The committed or running attempt of a vertex and where it is; false where there is none. */
bool jm_current(const struct jm *jm, uint32_t vertex, uint32_t *ret_attempt, uint32_t *ret_node,
	enum jm_state *ret_state);
/* How many vertices' records an earlier run has left on disk, in a file of so many bytes. */
uint32_t jm_synced(const struct jm *jm, uint32_t output, uint64_t *ret_bytes);
/* They are not there any more. Before the first step. */
void jm_forget_output(struct jm *jm, uint32_t output);
/* The chain of causes, for a failed job; NULL otherwise. */
const char *jm_failure(const struct jm *jm);
bool jm_ended(const struct jm *jm);
/* The number of a node of that name, or the next free one. */
uint32_t jm_node_number(const struct jm *jm, const char *name);
/* Nodes that held something when the facts end, and are not up. */
uint32_t jm_expected_nodes(const struct jm *jm);
/* The i-th bad record that a vertex must not see; false where there are no more. */
bool jm_skip(const struct jm *jm, uint32_t vertex, uint32_t i, struct jm_record *ret);
/* Whether the attempt runs there, as the current one or beside it. */
bool jm_is_live(const struct jm *jm, uint32_t vertex, uint32_t attempt, uint32_t node);

/*
 * The state that facts must bring back, as text, a line for each thing. Numbers of attempts only where they
 * are of that epoch: of older ones, more may be known than facts say. For tests: a dump before a crash is one
 * after the replay. What is not in it is volatile, and listed in dump.c.
 */
void jm_dump(const struct jm *jm, uint32_t epoch, struct buffer *text);
/* The first difference of two dumps, allocated; NULL: there is none. */
char *jm_dump_difference(const char *before, const char *after);
/* Derives every index and counter anew and compares; aborts where one is wrong. For tests. */
void jm_check(const struct jm *jm);

#endif
