/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SIM_SIM_H
#define SIM_SIM_H
/*
 * A cluster in one thread with a pretended clock. The scheduler, the detector, the registry, the division of
 * slots, the session links and the protocol's encoder and decoder are the real ones; processes, network,
 * disks and vertices are pretended here, and one seed draws everything that they do.
 *
 *   world.c    the event queue, the network, sessions
 *   connections.c  what lies beneath, and falls mute until it is dialled anew
 *   manager*.c the job manager around the scheduler's core, with a journal that loses its tail
 *   client.c   a program that adds vertices
 *   node.c     a daemon: leases, what it keeps over a restart
 *   attempt.c  the attempts there
 *   data.c     channels: blocks, credit, what is asked for again
 *   sources.c  inputs that only the submitting machine has
 *   names.c    the name server
 *   faults.c   what goes wrong, when
 *   workload.c random graphs
 *   traits.c   what nodes have and are called, and what stages ask for
 *   oracle.c   what the bytes must be, and what must never happen
 *   run.c      a run from its seed to its verdict
 */
#include "base/buffer.h"
#include "base/prng.h"
#include "channel/core/fetch.h"
#include "jobmanager/core/jm.h"
#include "jobmanager/core/detector.h"
#include "nameserver/core/registry.h"
#include "wire/link.h"
#include "wire/silence.h"
#include "dagrun.pb-c.h"

#define SIM_MANAGER 0u
#define SIM_NAMES 1u
#define SIM_FIRST_NODE 2u

/* Situations that a night of seeds must have met. */
#define SIM_PROBES(X)                                                                                        \
	X(late_refused, "a late completion was refused")                                                     \
	X(done_repeated, "an end was told again and acknowledged again")                                     \
	X(resumed, "a job was resumed")                                                                      \
	X(tail_lost, "a crash lost facts that were not durable")                                             \
	X(adopted, "running work was adopted")                                                               \
	X(sealed_adopted, "an end that nobody had heard was committed after a resume")                       \
	X(publication_resumed, "a publication was resumed")                                                  \
	X(publication_cut, "a publication was cut between two files")                                        \
	X(publication_undone, "a publication was taken back, as a file did not get its name")                \
	X(copied, "a slow vertex got a copy")                                                                \
	X(copy_won, "the copy won")                                                                          \
	X(invalidated, "a lost output was made again")                                                       \
	X(upstream, "an output was made again for one that was made again")                                  \
	X(differs, "a rerun gave other bytes")                                                               \
	X(consumer_again, "a consumer of other bytes ran again")                                             \
	X(corrupt_found, "damaged data was found by its holder")                                             \
	X(intact, "a complaint about intact data")                                                           \
	X(alone, "a member of a gang ran again alone")                                                       \
	X(alone_done, "and was committed beside the others' earlier attempts")                               \
	X(alone_gone, "and did not find the others' first blocks any more")                                  \
	X(gang_again, "a gang started again")                                                                \
	X(fenced, "a message of an older epoch was refused")                                                 \
	X(lease_over, "a daemon's lease ended and it stopped its vertices")                                  \
	X(came_back, "a node that was declared dead came back")                                              \
	X(held_back, "sealed data of a node that came back counted again")                                   \
	X(cut_off, "the failure detector was cut off")                                                       \
	X(many_dead, "many nodes died at once")                                                              \
	X(journal_full, "the journal's disk was full")                                                       \
	X(disk_full, "a vertex found the disk full")                                                         \
	X(gap, "a block was missing, and asked for again")                                                   \
	X(message_lost, "a message was lost")                                                                \
	X(message_doubled, "a message came twice")                                                           \
	X(repeated, "messages were repeated")                                                                \
	X(session_refused, "a session was refused after a restart")                                          \
	X(mute_daemon, "a mute link to a daemon was dialled anew, and its session went on")                  \
	X(mute_names, "a mute link to the name server was dialled anew, and its session went on")            \
	X(mute_data, "a mute link for data was dialled anew, and its channels went on")                      \
	X(mute_only, "links fell mute, and no node was lost")                                                \
	X(refetched, "an output was fetched again")                                                          \
	X(avoided, "a node was avoided")                                                                     \
	X(chained, "a short vertex was started behind the one that it reads")                                \
	X(chain_broken, "and waited again")                                                                  \
	X(given_back, "work that had not begun was given back to the job manager")                           \
	X(timed_out, "a vertex ran into its timeout")                                                        \
	X(released, "an output was given back, as it was on disk")                                           \
	X(released_again, "and its vertex ran again")                                                        \
	X(trimmed, "parts of a shuffle were given back, as what was made of them was on disk")               \
	X(trimmed_read, "and one of them was asked for")                                                     \
	X(output_kept, "what was on disk was kept over a resume")                                            \
	X(output_removed, "or somebody had removed it")                                                      \
	X(reader_freed, "a reader heard that its input's node is gone")                                      \
	X(grouped, "producers were put together while others ran")                                           \
	X(grouped_again, "one of a group ran again")                                                         \
	X(ungrouped, "one was lost before it had a group")                                                   \
	X(narrowed, "a stage got fewer vertices than it could have")                                         \
	X(added, "a vertex was added to the running job")                                                    \
	X(added_kept, "and was kept over a resume")                                                          \
	X(group_kept, "groups were kept over a resume")                                                      \
	X(state_kept, "what a job manager knew was known to the next one")                                   \
	X(paused, "a vertex failed and paused")                                                              \
	X(choosy, "a vertex was started that not every node may run")                                        \
	X(hopeless, "what no node can run was told")                                                         \
	X(fifo_wide, "fifos joined more than 64 vertices")                                                   \
	X(odd_name, "a node's name had to be escaped in a fact")                                             \
	X(blamed, "a vertex was named under which daemons ended")                                            \
	X(source_far, "an input came from the submitting machine")                                           \
	X(source_again, "and was asked for again, as the job manager had died")                              \
	X(source_unread, "an input could not be read")                                                       \
	X(source_changed, "an input had changed, and was named")                                             \
	X(names_gone, "the name server restarted")                                                           \
	X(failed_named, "a job failed and said why")

enum sim_probe {
#define X(name, text) PROBE_##name,
	SIM_PROBES(X)
#undef X
		PROBE_COUNT
};
extern const char *const sim_probe_texts[PROBE_COUNT];

enum sim_fault {
	FAULT_DELAY,
	FAULT_LOSS,
	FAULT_DOUBLE,
	FAULT_REORDER,
	FAULT_PARTITION,
	FAULT_ONE_WAY,
	FAULT_SLOW_LINK,
	FAULT_NODE_CRASH,
	FAULT_NODE_DISK, /* a crash takes the spool with it */
	FAULT_NODE_PAUSE,
	FAULT_MANAGER_CRASH,
	FAULT_MANAGER_POINT, /* between two effects */
	FAULT_MANAGER_PAUSE,
	FAULT_NAMES_CRASH,
	FAULT_DISK_FULL,
	FAULT_JOURNAL_FULL,
	FAULT_CORRUPT,
	FAULT_LOST_DATA,
	FAULT_VERTEX_CRASH,
	FAULT_VERTEX_SLOW,
	FAULT_VERTEX_WEDGED,
	FAULT_NOT_DETERMINISTIC,
	FAULT_MUTE,
	FAULT_FAR_SOURCE, /* no fault, but what can go wrong with it is left out likewise */
	FAULT_SOURCE_ERROR,
	FAULT_SOURCE_CHANGED,
	FAULT_COUNT
};
extern const char *const sim_fault_names[FAULT_COUNT];

struct sim;

struct sim_options {
	uint64_t seed;
	uint32_t nodes, vertices; /* 0: drawn */
	uint32_t slots;
	uint32_t kill;     /* nodes that die for good in the middle */
	bool quiet_faults; /* none but `kill` */
	bool trace;
	const struct graph *graph; /* a user's; NULL: drawn */
	dag_instant vertex_time;   /* of each vertex; 0: drawn */
	uint32_t off;              /* fault classes that are not used: a bit each */
	dag_instant faults_end;    /* 0: drawn; for shrinking */
	int crash_process;         /* exhaustive crash points: 0 none, 1 manager, 2 name server, 3 daemon */
	uint64_t crash_at;         /* at the effect or fact of this number */
	int crash_mode;            /* 0 before, 1 after, 2 torn */
};

/* ---- world.c ---- */

/* One direction pair between two processes. */
struct sim_session {
	struct link link;
	uint32_t peer;
	uint64_t incarnation;  /* of the peer, when it dialled */
	uint64_t opening;      /* a listener's number for its beginning */
	uint64_t peer_opening; /* the other end's */
	bool dialled, open;
};

struct sim_message {
	uint32_t from, to;
	bool data; /* Data, not Envelope */
	bool asks; /* data: by who reads */
	uint32_t connection;
	size_t len;
	unsigned char *bytes;
};

struct sim_process {
	bool up;
	uint64_t generation; /* of the process: its timers and connections die with it */
	uint64_t incarnation;
	dag_instant paused_until;
};

enum sim_event_kind { SIM_DELIVER, SIM_TICK, SIM_CALL };

struct sim_event {
	dag_instant time;
	uint64_t seq;
	enum sim_event_kind kind;
	uint32_t process;
	uint64_t generation; /* 0: whatever process it is */
	struct sim_message *message;
	void (*call)(struct sim *s, uint32_t process, uint64_t a, uint64_t b);
	uint64_t a, b;
};

struct sim {
	struct sim_options options;
	struct prng prng;
	dag_instant now;
	uint64_t seq, generations, openings;
	struct sim_event *queue; /* a heap by (time, seq) */
	size_t queue_count, queue_cap;
	struct sim_process *processes;
	uint32_t process_count, node_count;
	/* network */
	bool *cut; /* [from * process_count + to] */
	dag_instant *last_delivery;
	dag_instant *link_delay;            /* of a slow link, on top */
	struct sim_connection *connections; /* NULL: none falls mute */
	bool faults[FAULT_COUNT];
	uint32_t rate[FAULT_COUNT]; /* per mille, or how hard */
	bool only_mute;             /* nothing worse than that happens to messages and processes */
	bool calm;                  /* the second phase */
	dag_instant faults_end;
	uint32_t probes[PROBE_COUNT];
	uint64_t trace_hash, trace_lines;
	struct graph *graph;
	const struct graph *use; /* the drawn one, or the user's */
	struct sim_manager *manager;
	struct sim_node *nodes;
	bool source_changed;    /* an input is another file than was noted */
	uint32_t source_errors; /* told */
	struct sim_names *names;
	struct sim_oracle *oracle;
	bool ended;
	int end_error;
	char *end_text;
	char *violation;
	uint64_t attempts, effects, messages;
	dag_instant end_time;
};

void sim_trace(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_violate(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline void sim_probe(struct sim *s, enum sim_probe probe)
{
	s->probes[probe]++;
}
uint64_t sim_draw(struct sim *s, uint64_t n);
bool sim_chance(struct sim *s, enum sim_fault fault); /* by its rate, when it is on */
void sim_call(struct sim *s, dag_instant delay, uint32_t process, bool this_generation,
	void (*call)(struct sim *s, uint32_t process, uint64_t a, uint64_t b), uint64_t a, uint64_t b);
bool sim_step(struct sim *s);
void world_fini(struct sim *s);
void process_start(struct sim *s, uint32_t process);
void process_stop(struct sim *s, uint32_t process);
/* asks: by who reads; else to them. */
void sim_send_data(struct sim *s, uint32_t from, uint32_t to, bool asks, Dagrun__Data *data);
/* sessions */
void session_open(struct sim *s, uint32_t self, struct sim_session *session, uint32_t peer);
/* Begins one that the other end has opened. */
void session_accept(struct sim *s, uint32_t self, struct sim_session *session, uint32_t peer, uint64_t id);
void sim_send(struct sim *s, uint32_t self, struct sim_session *session, Dagrun__Envelope *e);
void session_beat(struct sim *s, uint32_t self, struct sim_session *session);
/* An envelope for this end; true where it is to be taken. *ret_refused: the other end does not know us. */
bool session_take(struct sim *s, uint32_t self, struct sim_session *session, const Dagrun__Envelope *e,
	bool *ret_refused);
void session_refuse(struct sim *s, uint32_t self, uint32_t peer, uint64_t session);
#define SIM_ENVELOPE(name_, case_)                                                                           \
	Dagrun__Envelope name_ = DAGRUN__ENVELOPE__INIT;                                                     \
	name_.body_case = DAGRUN__ENVELOPE__BODY_##case_

/* ---- connections.c ---- */
void connections_init(struct sim *s); /* when faults were drawn */
/* A process that starts has dialled nobody. */
void connections_begin(struct sim *s, uint32_t process);
/* For a session of its own. */
void connections_dialled(struct sim *s, uint32_t dialler, uint32_t listener);
/* For what is read there, if that is the first of it. */
void connections_use(struct sim *s, uint32_t self, uint32_t peer);
/* False where it is lost, as it is sent or as it comes. */
bool connections_carry(struct sim *s, struct sim_message *m);
bool connections_bring(struct sim *s, const struct sim_message *m);
/* True where it was dialled anew just now: what was not acknowledged, or is read there, is due again. */
bool connections_control_is_over(struct sim *s, uint32_t self, uint32_t peer, dag_instant heard);
bool connections_data_is_over(struct sim *s, uint32_t self, uint32_t peer, bool wanted);
void connections_fall_mute(struct sim *s);

/* ---- manager.c ---- */
void manager_init(struct sim *s);
void manager_boot(struct sim *s, uint32_t process, uint64_t a, uint64_t b);
void manager_crash(struct sim *s);
void manager_set_full(struct sim *s, bool full);
const struct jm *manager_core(const struct sim *s);
void manager_tick(struct sim *s);
void manager_envelope(struct sim *s, uint32_t from, const Dagrun__Envelope *e);
void manager_data(struct sim *s, uint32_t from, const Dagrun__Data *d);
void manager_connection_lost(struct sim *s, uint32_t node);
void manager_fini(struct sim *s);

/* ---- node.c ---- */
void nodes_init(struct sim *s);
void node_boot(struct sim *s, uint32_t process, uint64_t a, uint64_t b);
void node_crash(struct sim *s, uint32_t process, bool disk_too);
void node_tick(struct sim *s, uint32_t process);
void node_envelope(struct sim *s, uint32_t process, uint32_t from, const Dagrun__Envelope *e);
void node_data(struct sim *s, uint32_t process, uint32_t from, const Dagrun__Data *d);
void node_damage(struct sim *s, uint32_t process, bool lose);
void node_set_full(struct sim *s, uint32_t process, bool full);
uint32_t node_slots(const struct sim *s, uint32_t process);
/* Attempts that are still there; sealed data of a node that could not be told stays for a day. */
uint32_t nodes_left_over(const struct sim *s);
bool manager_told_end(const struct sim *s, uint32_t process);
void nodes_fini(struct sim *s);

/* ---- names.c ---- */
void names_init(struct sim *s);
void names_boot(struct sim *s, uint32_t process, uint64_t a, uint64_t b);
void names_crash(struct sim *s);
void names_tick(struct sim *s);
void names_envelope(struct sim *s, uint32_t from, const Dagrun__Envelope *e);
void names_fini(struct sim *s);

/* ---- data.c ---- */

/* One channel that is read, by a vertex or for an output. */
struct sim_reading {
	struct fetch fetch;
	uint64_t sum;
	bool live;
};

enum reading_verdict {
	READING_GOES_ON,
	READING_AGAIN,  /* ask from where it is */
	READING_CREDIT, /* tell what was consumed */
	READING_DONE,   /* `sum` is the value */
	READING_DAMAGED,
	READING_FAILED
};

void reading_begin(struct sim_reading *r, bool live, dag_instant now);
/* open: asks for blocks from where it is; else tells credit. `d` says of whom, and who reads. */
void reading_ask(
	struct sim *s, uint32_t self, uint32_t to, const struct sim_reading *r, bool open, Dagrun__Data *d);
enum reading_verdict reading_take(struct sim *s, struct sim_reading *r, const Dagrun__Data *d);
/* Of the vertex's output. */
uint32_t data_blocks(const struct sim *s, uint32_t vertex);
/* All but the last are the vertex's own, whatever it reads; the last makes the sum right. */
uint64_t data_piece(const struct sim *s, uint32_t vertex, uint64_t value, uint64_t i);

/* ---- sources.c ---- */
/* `text` is why the job failed. */
void sources_check_end(struct sim *s, const char *text);

/* ---- faults.c ---- */
void faults_init(struct sim *s);
void faults_calm(struct sim *s);

/* ---- workload.c ---- */
void workload_draw(struct sim *s);
/* What a vertex makes of what it reads: the user's program. */
uint64_t vertex_value(uint32_t vertex, const uint64_t *inputs, size_t n);
uint64_t channel_value(uint64_t value, uint32_t part);
/* Some seeds have groups and widths that are decided while the job runs, and racks. */
bool sim_is_refined(const struct sim *s);
uint64_t source_value(uint32_t vertex);

/* ---- traits.c ---- */
char *sim_node_name(const struct sim *s, uint32_t index);
struct graph_pair sim_node_label(const struct sim *s, uint32_t index);
uint64_t sim_node_memory(const struct sim *s, uint32_t index); /* 0: not known */
struct jm_waits sim_waits(void);
void traits_of_stage(struct sim *s, struct graph_stage *stage);
enum graph_channel traits_pipe(const struct sim *s, uint32_t try, uint32_t stage, uint32_t *ret_width);
void traits_check_start(struct sim *s, const struct jm_effect *e);
void traits_check_end(struct sim *s);

/* ---- oracle.c ---- */
void oracle_init(struct sim *s);
void oracle_fact(struct sim *s, const char *fact);    /* decided */
void oracle_durable(struct sim *s, uint64_t facts);   /* of them, on disk */
void oracle_lost(struct sim *s, uint64_t facts_left); /* a crash took the rest */
void oracle_effect(struct sim *s, const struct jm_effect *e);
/* An attempt ended with a value, made of these. */
void oracle_sealed(struct sim *s, uint32_t vertex, uint32_t attempt, uint64_t value, const uint32_t *vertices,
	const uint32_t *attempts, size_t n);
void oracle_visible(struct sim *s, uint32_t output, const uint64_t *values, size_t n);
/* What was there before the output is back. */
void oracle_hidden(struct sim *s, uint32_t output);
void oracle_end(struct sim *s);
void oracle_fini(struct sim *s);

/* ---- run.c ---- */
struct sim_result {
	char *violation; /* NULL: all is well */
	int error;       /* of the job */
	char *text;
	uint64_t trace_hash, attempts, effects, messages, facts;
	uint32_t vertices, nodes;
	dag_instant time; /* of the job */
	uint32_t probes[PROBE_COUNT];
	bool faults[FAULT_COUNT];
};
void sim_run(const struct sim_options *options, struct sim_result *ret);
void sim_result_fini(struct sim_result *result);

#endif
