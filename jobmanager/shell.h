/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBMANAGER_SHELL_H
#define JOBMANAGER_SHELL_H
/*
 * Inside of the manager:
 *
 *   manager.c   the loop: events into the core, effects out, signals, the end
 *   nodes.c     sessions with the name server and the daemons, who lives
 *   hear.c      what daemons say
 *   send.c      what is sent to whom
 *   resume.c    what makes a job the same one; the facts of its earlier run
 *   ship.c      a job's description and files for daemons
 *   sources.c   inputs that only this machine has, read for daemons
 *   outputs.c   the job's outputs, fetched
 *   output_path.c, output_lock.c, output_disk.c   where they are, their locks, their files
 *   stream.c    those that go to stdout
 *   publish.c   their publication
 *   exchange.c  files that get their names together
 *   results.c   results of vertices, for a client
 *   client.c    dagrun/job.h
 *   origin.c    what the job was started with
 *   progress.c  what a person sees
 *   said.c      what vertices wrote to stderr
 *   notes.c     what happened, told once for those that are alike
 *   journal.c   facts on disk
 *   quarantine.c  records that were passed over
 *   verify.c    a job that ran, compared
 *   history.c   what became of one
 */
#include "manager.h"
#include "core/jm.h"
#include "core/detector.h"
#include "journal.h"
#include "base/arena.h"
#include "channel/data.h"
#include "daemon/daemon.h"
#include "wire/session.h"

#define NAMESERVER_PATIENCE (5 * DAG_SECOND)
#define NS_PAUSE (1 * DAG_SECOND) /* between two sessions with a name server that refuses */
#define NODE_WAIT                                                                                            \
	(15 * DAG_SECOND) /* without any node, or without one that can run what is needed and was there */
#define COMING_WAIT (300 * DAG_SECOND) /* for one that answers and is not ready: it may be fetching files */
#define JOINING_WAIT (3 * DAG_SECOND)  /* for one that can run what is needed, where none was there */

#define RESUME_PATIENCE (3 * DAG_SECOND) /* for nodes to say what they hold */
#define DIAL_AGAIN (5 * DAG_SECOND)      /* a node that was given up and may only have been out of reach */

struct manager;
struct exchange;

/* Two columns of equal length. */
struct attempt_list {
	uint32_t *vertices, *attempts;
	size_t vertex_count, vertex_cap, attempt_count, attempt_cap;
};

struct node {
	struct manager *manager;
	struct node *next;
	char *id, *control, *data, *rack;
	uint64_t incarnation, memory;
	struct graph_pair *labels;
	uint32_t label_count;
	struct session *session;
	uint32_t number; /* the core's; JM_NODE_NONE until the daemon is ready */
	bool up, suspect, gone, told_gone;
	bool listed; /* by the name server, and heard of there */
	dag_instant dialled_at, gone_at;
	struct jm_found *found; /* what it holds, before it is ready */
	size_t found_count, found_cap;
	dag_instant lost_at; /* the connection broke then; 0: it holds */
	struct probe *probe; /* sees whether its daemon still listens */
	/* What goes out together, before the loop sleeps: */
	struct arena arena; /* that they lie in */
	Dagrun__Start **starts;
	size_t start_count, start_cap, start_bytes;
	struct attempt_list acks, kills;
	struct node_want {
		uint32_t shares, least; /* sixteenths of a slot */
	} want, told;
	uint64_t bytes_read; /* of running attempts, as it said last */
};

/* A file that daemons may need. */
struct shipped_file {
	char *path, *name;
	char hash[HASH_HEX_LEN + 1];
	uint64_t size;
	bool executable;
};

/* What the vertices of a stage counted with dag_count. */
struct counter {
	uint32_t stage;
	char name[32];
	int64_t value;
};

struct deferred {
	uint64_t seq;
	enum jm_effect_kind kind;
	uint32_t node;
	union { /* as in struct jm_effect */
		struct {
			uint32_t vertex, attempt, output;
		};
		struct {
			uint32_t stage, stream, parts;
		};
	};
	int error;
	char *text;
};

struct manager {
	const struct manager_config *config;
	const struct graph *graph;
	char job[40];
	uint64_t incarnation;
	char *state_folder, *job_folder, *spool_folder;
	uv_loop_t loop;
	struct wire_loop *wire;
	struct jm *jm;
	struct journal *journal;
	uint64_t journaled;
	uint32_t epoch;
	int lock_fd;     /* of the job's folder */
	uint64_t memory; /* that this machine, or container, has */
	bool resuming, fenced, cut_off;
	struct detector detector;
	char **quarantined; /* facts about records that were passed over */
	size_t quarantined_count, quarantined_cap;
	struct graph_pair *meta;
	size_t meta_count, meta_cap;
	bool paused;
	struct deferred *deferred;
	size_t deferred_first, deferred_count, deferred_cap;
	struct daemon *daemon; /* embedded */
	struct session *ns;    /* NULL for a while after a refusal */
	char *ns_refusal;
	dag_instant ns_dialled;
	bool ns_answered, nodes_more; /* nodes_more: the list of nodes goes on */
	bool has_network;             /* between nodes: there is more than one */
	struct node *nodes;
	struct shipped_file *files;
	size_t file_count, file_cap;
	struct data *data;
	struct output *outputs;
	struct result *result; /* that a client waits for; NULL */
	struct early *early;   /* results that came with the word of their vertices' ends */
	size_t early_bytes;
	struct outputs_state *outputs_state;
	struct source_file *sources;
	uint32_t *noted; /* of each stage: bits of the notes that were said of it; NULL: none yet */
	struct counter *counters;
	size_t counter_count, counter_cap;
	struct progress *progress;
	struct {
		int fd; /* 0: not open */
		bool failed;
		uint32_t vertices; /* that ended well */
		uint64_t bytes, written;
	} said;              /* to stderr, by vertices */
	struct notes *notes; /* that wait for others like them; NULL */
	uv_timer_t tick, wake;
	uv_prepare_t flush;
	uv_signal_t on_int, on_term, on_hup;
	dag_instant started, last_tick, last_node;
	dag_instant coming_since; /* 0: no node is */
	bool ending, stop;
	int signal;
	dag_instant signalled;
	const char *reader_left; /* what nobody reads any more, before it had all: stdout or a fifo */
	int end_error;
	char *end_text;
	dag_instant end_deadline;
};

/* ---- manager.c ---- */
void manager_step(struct manager *m, const struct jm_event *event);
void manager_abort(struct manager *m, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* What is wrong, to who listens; takes it away. */
void manager_tell(const struct manager_config *config, struct dag_diag *diag);
/* Starts the job; the configuration must outlive it. manager_end is called in any case. */
int manager_begin(struct manager *m, struct manager_config *config, struct dag_diag *diag);
/* The timers, without which nothing happens; and signals that cancel the job. */
void manager_arm(struct manager *m, bool signals);
void manager_disarm(struct manager *m);
/* As by that signal: nothing waits for a disk longer than some seconds. */
void manager_cancel(struct manager *m, int signal);
void manager_end(struct manager *m);
/* No more vertices are added. */
void manager_close_open(struct manager *m);

/* ---- results.c ---- */
/* Keeps small results that came with an end. */
void results_keep(struct manager *m, const Dagrun__Done *done);
void results_destroy(struct manager *m);
/* False where it is about no result. */
bool results_on_data(struct manager *m, const struct data_event *event);
void results_node_gone(struct manager *m, uint32_t node);

/* ---- nodes.c ---- */
int nodes_start(struct manager *m);
/* How long nodes are waited for. */
struct jm_waits nodes_waits(const struct manager_config *config);
void nodes_tick(struct manager *m, dag_instant now);
struct node *nodes_find(struct manager *m, uint32_t number);
void nodes_destroy(struct manager *m);

/* ---- hear.c ---- */
/* What a session's node says; ctx is the node. */
void nodes_hear(void *ctx, struct session *s, const Dagrun__Envelope *e);

/* ---- send.c ---- */
void nodes_flush(struct manager *m);
/* The numbers, names and addresses of n nodes, for what will be read from there. */
void nodes_send_peers(struct node *to, struct node *const *peers, size_t n);
void nodes_send_start(struct manager *m, const struct jm_effect *e);
void nodes_send_attempt(
	struct manager *m, enum jm_effect_kind kind, uint32_t node, uint32_t vertex, uint32_t attempt);
void nodes_send_want(struct manager *m, uint32_t node, uint32_t shares, uint32_t least);
void nodes_send_recall(struct manager *m, uint32_t node, uint32_t shares);
void nodes_send_trim(struct manager *m, uint32_t node, uint32_t stage, uint32_t stream, uint32_t parts);
/* Tells all daemons that the job has ended. */
void nodes_end_job(struct manager *m);
bool nodes_quiet(const struct manager *m);

/* ---- resume.c ---- */
/* Fills m->meta. */
void resume_describe(struct manager *m);
/* DAG_ECHANGED where the graph is another one than the journal speaks of; `what` could not be done. */
int resume_check_same(struct manager *m, const struct journal_saved *saved, const char *job, const char *what,
	struct dag_diag *diag);
/* DAG_ECHANGED; DAG_ECORRUPT, DAG_EIO. */
int resume_replay(struct manager *m, struct dag_diag *diag);
void resume_tick(struct manager *m);

/* ---- ship.c ---- */
/* Hashes what will be shipped; DAG_EIO with a message. */
int ship_prepare(struct manager *m, struct dag_diag *diag);
void ship_open(struct manager *m, struct node *node);
void ship_files(struct manager *m, struct node *node, const Dagrun__FileNeed *need);
Dagrun__Start *ship_start(struct manager *m, struct arena *arena, const struct jm_effect *e);
void ship_destroy(struct manager *m);

/* ---- sources.c ---- */
void sources_serve(struct manager *m, struct node *node, const Dagrun__SourceRequest *request);
void sources_destroy(struct manager *m);

/* ---- outputs.c, publish.c ---- */
int outputs_prepare(struct manager *m, struct dag_diag *diag);
void outputs_fetch(struct manager *m, uint32_t output, uint32_t vertex, uint32_t attempt, uint32_t node);
void outputs_on_data(void *ctx, const struct data_event *event);
/* A node is gone: what is being fetched from it fails. */
void outputs_node_gone(struct manager *m, uint32_t node);
/* The intent is on its way to the journal: from now on a crash leaves what may be completed. */
void outputs_decide(struct manager *m);
void outputs_publish(struct manager *m);
/* Before the loop waits: where outputs_publish found nothing to do, that it is done. */
void outputs_tell_nothing(struct manager *m);
/* What goes to a stream is not waited for; files that get their names do. */
void outputs_cancel(struct manager *m);
bool outputs_publishing(const struct manager *m);
/* Nothing has its name, or perhaps something: who resumes the job knows; or all have theirs. */
enum outputs_fate { OUTPUTS_NONE, OUTPUTS_BEGUN, OUTPUTS_ALL };
enum outputs_fate outputs_fate(const struct manager *m);
/* Begins nothing more, and waits until no thread writes. False where one is stuck. */
bool outputs_settle(struct manager *m, dag_instant patience);
/* Removes what was not published, when the threads that write have ended. */
void outputs_destroy(struct manager *m);
uint64_t outputs_bytes(const struct manager *m);

/* ---- quarantine.c ---- */
/* Keeps a fact, if it is about a record that was passed over. */
void quarantine_fact(struct manager *m, const char *fact);
/* Writes what gets its name beside the job's first output, with the others. NULL, or what went wrong. */
char *quarantine_write(struct manager *m, struct exchange *x);
void quarantine_destroy(struct manager *m);

/* ---- said.c ---- */
/* Keeps what the vertex wrote to its stderr; before its end is told to the core. */
void said_hear(struct manager *m, const struct node *node, const Dagrun__Done *done);
/* How much those wrote that ended well, and where it is; NULL for nothing. Caller frees. */
char *said_summary(const struct manager *m);
void said_destroy(struct manager *m);

/* ---- notes.c ---- */
/* A note of the core, told now or with those that are like it. */
void notes_hear(struct manager *m, const struct jm_effect *e, dag_instant now);
void notes_tick(struct manager *m, dag_instant now);
/* Tells what waits: the job ends. */
void notes_flush(struct manager *m);
void notes_destroy(struct manager *m);

/* ---- progress.c ---- */
void progress_new(struct manager *m);
void progress_tick(struct manager *m, dag_instant now);
/* A line for people, above what is drawn. */
void progress_say(struct manager *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Nothing is drawn any more: results come to the same terminal. */
void progress_hide(struct manager *m);
void progress_summary(struct manager *m);
void progress_destroy(struct manager *m);

#endif
