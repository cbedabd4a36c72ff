/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SIM_NODE_H
#define SIM_NODE_H
/*
 * Inside of a daemon: node.c has what its job manager says, leases and slots; attempt.c the attempts; data.c
 * what others read of them.
 */
#include "sim.h"
#include "channel/core/live.h"
#include "base/table.h"

enum state { QUEUED, RUNNING, SEALED, FAILED };

struct key {
	uint32_t vertex, number;
};

struct input {
	uint32_t vertex, attempt, node, stream, part;
	bool source, live, have;
	bool again;                       /* another part of the same producer */
	bool far;                         /* a source that the job manager reads: */
	uint32_t asked, outstanding, got; /* pieces */
	uint64_t value;
	struct sim_reading reading;
};

/* Who reads, over which of its inputs. */
struct reader {
	uint32_t process;
	struct key key;
	uint64_t channel;
};

/* A reader that is being sent blocks. */
struct serving {
	struct reader reader;
	bool live, ended;
	uint64_t next, sent, credit; /* next: of what is sealed */
};

/* What a vertex reads of a pipe, in whatever attempt: with the real core. */
struct pipe {
	uint32_t vertex;
	uint64_t channel;
	struct live_part part;
};

struct attempt {
	struct key key;
	enum state state;
	bool chained; /* came before what it reads had ended */
	bool acked, damaged, computed, wedged;
	uint32_t shares;
	struct input *inputs;
	size_t input_count, input_cap;
	uint64_t value;
	uint32_t emitted;                  /* blocks of its output */
	uint32_t trimmed[GRAPH_PORTS_MAX]; /* of each stream, the parts before it are gone */
	struct serving *servings;
	size_t serving_count, serving_cap;
	struct pipe *pipes;
	size_t pipe_count, pipe_cap;
	uint64_t instance; /* timers of another attempt under this key are not ours */
	dag_instant started, run_ns;
	int error, signal;
	const char *text;
	size_t blamed; /* index + 1 */
	UT_hash_handle hh;
};

/* Came for an attempt that has not started yet. */
struct parked {
	struct reader reader;
	struct key key;
	uint64_t seq, credit;
	dag_instant since;
};

struct sim_node {
	struct sim_session manager, names;
	uint32_t slots;
	bool open, full;
	uint32_t epoch, want, least, grant, used;
	dag_instant last_heard;
	struct attempt *attempts;
	struct attempt **queue;
	size_t queue_count, queue_cap;
	uint32_t *peers;
	size_t peer_count, peer_cap;
	struct parked *parked;
	size_t parked_count, parked_cap;
};

static inline struct sim_node *node_of(const struct sim *s, uint32_t process)
{
	return &s->nodes[process - SIM_FIRST_NODE];
}

/* ---- attempt.c ---- */

struct attempt *node_find(struct sim_node *n, struct key key);
void node_unqueue(struct sim_node *n, size_t at);
void node_forget(struct sim_node *n, struct attempt *a);
/* What it reads, as Done and Inventory say it. */
uint64_t node_inputs(const struct attempt *a);
void node_tell(struct sim *s, uint32_t self, const struct attempt *a);
void node_end(struct sim *s, uint32_t self, struct attempt *a, int error, const char *text);
/* It seals what it made, once it has all that it reads. */
void node_finish_if_whole(struct sim *s, uint32_t self, struct attempt *a);
/* It reads one that has not ended here. */
bool node_is_behind(struct sim_node *n, const struct attempt *a);
/* Dials anew where what is read says nothing. */
void node_look_at_links(struct sim *s, uint32_t self);
/* Starts what has a slot. */
void node_run(struct sim *s, uint32_t self);

/* ---- sources.c ---- */

/* The input is read from its beginning. */
void source_begin(struct sim *s, uint32_t self, struct attempt *a, size_t input);
void source_take(struct sim *s, uint32_t self, const Dagrun__SourceData *m);
/* Another job manager, or the same one anew: what was asked for will not come. */
void sources_ask_again(struct sim *s, uint32_t self);

/* ---- data.c ---- */

/* A reader asks, or has consumed. */
void data_on_open(struct sim *s, uint32_t self, uint32_t from, const Dagrun__Data *d);
void data_on_credit(struct sim *s, uint32_t self, uint32_t from, const Dagrun__Data *d);
/* The attempt is here now: readers that waited for it go on. */
void data_started(struct sim *s, uint32_t self, struct attempt *a);
/* It has one more block, or is sealed. */
void data_emit(struct sim *s, uint32_t self, struct attempt *a);
void data_sealed(struct sim *s, uint32_t self, struct attempt *a);
/* It has failed or goes: its readers are told. */
void data_abandon(struct sim *s, uint32_t self, struct key key);
void data_free(struct attempt *a);
/* Those who waited too long for an attempt that does not come are told. */
void data_tick(struct sim *s, uint32_t self);

#endif
