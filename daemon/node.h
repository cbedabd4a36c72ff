/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DAEMON_NODE_H
#define DAEMON_NODE_H
/*
 * Inside of the daemon: what its files share. One file writes one kind of state:
 *
 *   node.c      sessions, registration, heartbeats, who gets which slots
 *   job.c       a job here: which attempts run
 *   files.c     what is shipped for it
 *   stages.c    what its stages are
 *   ahead.c     short vertices that wait in their host
 *   chain.c     vertices that wait behind the one that they read
 *   tell.c      what its job manager is told
 *   limits.c    memory and CPUs of vertices
 *   restore.c   what an earlier daemon had sealed
 *   start.c     attempts from their job manager's starts
 *   attempt.c   an attempt from there to its discard
 *   verify.c    its data, read again where somebody could not
 *   host.c      host processes
 *   talk.c      what they say and are told
 *   input.c     the channels that attempts here read
 *   stash.c     bytes of inputs that come from the submitting machine
 *   serve.c     the channels that are read from attempts here
 */
#include "daemon.h"
#include "core/excerpt.h"
#include "keep.h"
#include "disk.h"
#include "files.h"
#include "spool.h"
#include "stash.h"
#include "channel/core/live.h"
#include "channel/data.h"
#include "os/cgroup.h"
#include "os/marks.h"
#include "vertex/host_proto.h"
#include "vertex/spec.h"
#include "wire/session.h"

#include <sched.h>
#include <signal.h>

#define JOB_LEASE (30 * DAG_SECOND) /* without a word of the job manager: its vertices are stopped */
#define DATA_KEPT (24 * 3600 * DAG_SECOND)
#define FETCH_WINDOW_MIN (256ull << 10)
#define FETCH_WINDOW_MAX (16ull << 20)
#define FETCH_SHARE 64u    /* of the memory: that one such window may take */
#define FETCHES 4u         /* with such a window; where more are read at a time, each has a smaller one */
#define STDERR_TAIL 8192u  /* bytes, and */
#define STDERR_LINES 20u   /* lines of what a vertex wrote last */
#define LOG_LINES_MAX 100u /* of an attempt; then only the last bytes: */
#define LOG_TAIL 2048u
#define DONE_BATCH_MAX 128u
#define SHORT_RUN (20 * DAG_MS) /* a host has two vertices at a time that are so short, */
#define DEEP_RUN (2 * DAG_MS)   /* and between these two numbers of those that are so short: */
#define AHEAD_MIN 4u
#define AHEAD_MAX 128u
#define AHEAD_TIME DAG_MS     /* as many as last so long */
#define HELD_UP (20 * DAG_MS) /* a host whose vertex runs so long keeps no others waiting */

struct host;
struct attempt;
struct job;

struct daemon {
	uv_loop_t *loop;
	struct wire_loop *wire;
	const struct wire_keys *keys;
	char *id, *rack, *host_program, *nameserver, *control_endpoint, *data_endpoint, *advertise, *cache;
	uint64_t incarnation;
	uint32_t slots;
	uint64_t memory;
	uint64_t fetch_window;
	uint64_t kills; /* container_kills, as we know of them */
	struct graph_pair *labels;
	uint32_t label_count;
	bool embedded;
	struct session_server *control;
	struct session *ns;
	dag_instant ns_dialled, ns_heard;
	char *ns_refusal;    /* the last one's text */
	bool ns_troubled;    /* and said so */
	struct data *server; /* of blocks, to other nodes */
	struct data *data;   /* blocks that come from there, in a thread of its own */
	struct spool *spool;
	struct disk *disk, *cache_disk; /* the cache's own: nobody waits for what another job left */
	struct keep *keep;
	struct orphan *orphans; /* of an earlier daemon, until their jobs open */
	size_t orphan_count, orphan_cap;
	dag_instant started;
	struct job *jobs;
	struct job *ended_jobs; /* by next_ended: wait for their hosts and pins to go */
	uint32_t scratch_count; /* folders that were given to jobs, each its own */
	struct host *hosts;
	unsigned long host_count;  /* that were ever started */
	bool slot_free, core_free; /* as hosts were told */
	bool spoken;               /* to a host or by one, in this round of the loop */
	struct arena scratch;      /* what one message is made of, or into; empty between them */
	uint32_t cores;
	uint16_t bound[CPU_SETSIZE]; /* hosts bound to each CPU */
	struct cgroup *cgroup;       /* that hosts' groups are in; NULL: none */
	char **dead_groups;          /* of hosts that are gone */
	size_t dead_group_count, dead_group_cap;
	struct remote_reader *readers;
	struct kept *keepers; /* of pipes' blocks that were read, the oldest first */
	uint64_t kept_bytes, kept_max;
	struct input_channel *fetches; /* by number */
	uint64_t last_fetch;
	struct stash stash;
	uv_timer_t tick, look; /* look: into hosts' rings */
	uv_prepare_t flush;
	int handles; /* of these three that are open */
	bool stopping;
	struct verification *verifications; /* in a thread of the pool */
};

/* ---- node.c ---- */

/* Gives each job what it may use of the slots, and tells it. */
void daemon_divide_slots(struct daemon *d);

/* ---- job.c ---- */

struct job_stage {
	const char *name;
	uint32_t width, first_vertex;
	uint32_t like;                 /* the first stage that this one shares its spec with; or itself */
	const struct stage_spec *spec; /* of the job's arena */
	bool isolate;
	uint64_t memory;             /* bytes that a vertex may have; 0: not said */
	uint32_t cpu_shares;         /* sixteenths of a CPU; 0: not said */
	dag_instant timeout, run_ns; /* run_ns: of late ones, on average; 0: none yet */
	uint32_t kind;               /* the first stage that runs the same entry */
	dag_instant kind_run_ns;     /* of that one: of late ones of all its kind */
	bool lone;                   /* feeds no pipe or fifo */
	uint32_t *result_streams;    /* of each output port, that a client reads; NULL */
	int spec_fd; /* a memfd with the encoded spec, of a long one; −1 until a host needs it */
};

struct job_peer {
	char *id, *data;
};

struct job {
	struct daemon *daemon;
	char *id;
	uint64_t kept_as; /* keep_job_number */
	uint32_t epoch;
	struct session *manager; /* NULL while none is connected */
	struct arena arena;
	struct job_stage *stages;
	uint32_t stage_count;
	struct job_file *files;
	size_t file_count, file_cap;
	uint32_t files_busy; /* things that the disk's thread is to do for them */
	bool files_asked;    /* for those that are not there */
	bool ready;
	char *scratch;
	struct job_peer *peers; /* by our own numbers, which outlive a job manager */
	size_t peer_count, peer_cap;
	uint32_t *numbers; /* the manager's number for a node − our number */
	size_t number_count, number_cap;
	uint32_t own_node;         /* ours for this node */
	struct attempt **attempts; /* of each vertex, linked by `same` */
	uint32_t vertex_count, attempt_count;
	bool ending;
	struct attempt **queue; /* started by the manager, not yet here: queue[queue_first … queue_count−1] */
	size_t queue_first, queue_count, queue_cap;
	struct attempt **ended; /* to be told: owned by `attempts` */
	size_t ended_count, ended_cap;
	uint32_t want, least, grant, running;
	uint32_t hosts_hint;
	dag_instant last_heard;
	bool lease_over;                /* nothing is started until the job manager is heard again */
	struct waiting_reader *waiting; /* for attempts that have not started yet */
	uint32_t waiting_count;         /* of those on other nodes */
	struct job *next_ended;
	UT_hash_handle hh;
};

/* Our number for a node of the job manager's; UINT32_MAX for none. */
uint32_t job_peer_of(const struct job *job, uint32_t node);
struct job *job_find(struct daemon *d, const char *id);
void job_open(struct daemon *d, struct session *s, const Dagrun__JobOpen *m);
void job_message(struct job *job, const Dagrun__Envelope *e);
/* Ends the job here: its hosts are killed, its data goes. The struct follows when nothing points to it any
 * more. */
void job_destroy(struct job **job);
/* Frees an ended job if it can be freed now. */
bool job_try_free(struct job *job);
/* Starts what is queued and has room. */
void job_run(struct job *job);
/* The attempt begins to run: its time, its share of the slots. */
void job_begin(struct attempt *a);
/* An earlier attempt of its vertex still runs here; it is ended, since two must not run beside each other. */
bool job_runs_before(const struct attempt *a);
/* It goes to the end of the queue. */
void job_queue(struct attempt *a);
/* It goes to the front of the queue again. */
void job_requeue(struct attempt *a);
/* Sends what has ended since. */
void job_flush(struct job *job);
void job_log(struct job *job, uint32_t vertex, const char *text, size_t len, uint32_t note);

/* ---- stages.c ---- */

/* False where the description makes no sense. */
bool stages_take(struct job *job, const Dagrun__JobOpen *m);
/* A memfd of a stage's encoded spec; negative on failure. */
int stage_spec_fd(struct job_stage *stage);
void stages_close_specs(struct job *job);

/* ---- attempt.c ---- */

struct attempt_key {
	uint32_t vertex, number;
};

struct input_port {
	uint32_t count;
	uint32_t *vertices, *attempts, *nodes; /* behind `channels`, in one block with them */
	uint32_t stream, part, parts;          /* of each producer so many, one after the other */
	enum graph_channel channel;
	bool joined;
	struct attempt_source *sources;  /* instead, for inputs of the job */
	struct input_channel **channels; /* opened ones */
};

/* The part that the channel reads. */
static inline uint32_t input_part(const struct input_port *in, uint32_t producer)
{
	return in->part + producer % in->parts;
}

struct attempt_source {
	char *path;
	uint64_t size, inode, offset, length;
	int64_t mtime_ns;
	bool shared;
};

struct live_stream {
	uint32_t part_count;
	uint32_t trimmed;        /* parts before it are not here any more */
	struct live_part *parts; /* NULL: not a pipe */
};

enum attempt_state { ATTEMPT_QUEUED, ATTEMPT_RUNNING, ATTEMPT_SEALED, ATTEMPT_FAILED };

/* What is of no use any more when the job manager knows that it was sealed. */
struct attempt_run {
	uint32_t width, group, group_size, shares;
	struct attempt *behind,
		*follower; /* behind: the one that it reads, which has not ended; not in the queue */
	dag_instant started, deadline, run_ns;
	struct host_skip *skips; /* bad records, which it does not get to see */
	uint32_t skip_count, argument_len;
	unsigned char *argument;
	struct attempt *followed; /* input_follow: pinned */
	Dagrun__Record **skipped; /* that it met */
	size_t skipped_count, skipped_cap;
	bool at_record; /* it died there: */
	struct host_skip at;
	uint64_t too_much; /* bytes that it had when it was stopped for them */
	/* What is told to the job manager: */
	struct host_done done;
	struct host_counter *counters; /* done.counter_count */
	char *text, *stderr_tail;
	uint64_t stderr_bytes; /* in all */
	uint32_t log_lines;
	struct excerpt log; /* of those beyond LOG_LINES_MAX */
	struct input_port inputs[];
};

struct attempt {
	struct attempt_key key;
	struct job *job;
	struct attempt *same;    /* another one of this vertex */
	struct attempt_run *run; /* NULL: sealed and acknowledged */
	uint32_t stage, index;
	enum attempt_state state;
	struct host *host;
	uint32_t task;
	uint32_t input_count;      /* 0 without `run`, too */
	struct input_port *inputs; /* in `run` */
	struct live_stream *streams;
	struct live_stream stream; /* where it is the only one */
	uint32_t stream_count;
	struct direct *directs; /* parts of them that go on without us */
	uint32_t pins;          /* readers and sends that need it to stay */
	bool discarded, timed_out, lost, acked;
	bool ahead;        /* RUNNING: its host has another one before it */
	struct kept *kept; /* its pipes are, from their first blocks; or NULL */
	/* SEALED: */
	struct block_ref place;    /* of its index */
	unsigned char *index_copy; /* our own copy: the segment can be written to by its host, and damaged */
	uint64_t stored;
	uint32_t segment_count; /* that its data lies in, one reference each: */
	union {
		struct spool_segment *segment; /* the only one */
		struct spool_segment **segments;
	};
};

static inline struct index_view attempt_view(const struct attempt *a)
{
	return index_open(a->index_copy);
}
static inline struct dag_hash attempt_hash(const struct attempt *a)
{
	const struct index_view view = attempt_view(a);

	return index_hash(&view);
}
/* The index lies in the first. */
static inline struct spool_segment *attempt_segment(const struct attempt *a, uint32_t i)
{
	return a->segment_count == 1 ? a->segment : a->segments[i];
}

uint64_t attempt_inputs(const struct attempt *a);
/* The segments that its index names must be its host's own (any, for NULL), and every place within them. */
int attempt_adopt_segments(struct attempt *a, struct host *host, const struct block_ref *index);
struct attempt *attempt_find(struct job *job, uint32_t vertex, uint32_t number);
/* Calls f for each, which may free it. */
void attempt_each(struct job *job, void (*f)(struct attempt *a, void *ctx), void *ctx);
/* The job manager has what a failed attempt had to say; a sealed one stays until its discard. */
void attempt_acknowledge(struct attempt *a);
/* Its host said DONE, and does not know it any more. The attempt may be gone after this. False where the host
 * is not to be believed. */
bool attempt_on_done(struct attempt *a, struct host *host, const struct host_done *done, const char *tail,
	size_t tail_len);
/* Ends without the host's word: code and an allocated text. The attempt may be gone after this. */
void attempt_fail(struct attempt *a, int error, int signal, char *text);
void attempt_kill(struct attempt *a);
/* Takes the attempt out of list[first … *count−1], if it is there. */
void attempt_take_out(struct attempt **list, size_t first, size_t *count, const struct attempt *a);
/* A line that the vertex logged. */
void attempt_log(struct attempt *a, const void *text, size_t len);
/* The job manager was silent for too long: what runs is killed, and that is told when it is heard again. Idle
 * hosts go too. */
void attempt_lose_all(struct job *job);
/* Forgets it, now or when its last pin goes. */
void attempt_discard(struct attempt *a);
/* Frees all attempts of a job, pinned or not: for the daemon's end, when nobody reads any more. */
/* Of all attempts of the job. */
void attempt_close_inputs(struct job *job);
void attempt_free_all(struct job *job);
void attempt_pin(struct attempt *a);
void attempt_unpin(struct attempt *a);

/* ---- start.c ---- */

/* False where its job has no such vertex here: nothing else may be done with it. */
bool start_names_a_vertex(const struct job *job, const Dagrun__Start *start);
/* QUEUED, in no queue. *ret_fault: NULL, or why it can only be failed or discarded. */
struct attempt *attempt_new(struct job *job, const Dagrun__Start *start, const char **ret_fault);
void start_batch(struct job *job, const Dagrun__StartBatch *m);

/* ---- verify.c ---- */

/* Reads all its data again. 0, DAG_EMISSING or DAG_ECORRUPT, through the session. */
void attempt_verify(struct job *job, uint32_t vertex, uint32_t number);
/* The daemon ends: those on their way need nothing of it any more. */
void verify_abandon_all(struct daemon *d);

/* ---- trim.c ---- */

/* Gives back parts that nobody needs any more. */
void trim_job(struct job *job, const Dagrun__Trim *m);
/* Any of its parts. */
bool trim_has(const struct attempt *a);
/* A part of a sealed attempt; NULL where there is none, or it was given back. */
const struct index_part *attempt_part(const struct attempt *a, uint32_t stream, uint32_t part);

/* ---- ahead.c ---- */

/* Gives hosts that are busy what is short and queued. */
void ahead_send(struct job *job);
/* The job manager has other nodes for so many shares of what has not begun here: it ends as cancelled. */
void ahead_recall(struct job *job, uint32_t shares);
/* Puts into the queue again what waits behind long ones while slots are free; false where there is nothing.
 */
bool ahead_take_back(struct job *job);
/* The host's first vertex begins, if it was waiting for the one before. */
void ahead_begin_next(struct host *host);
/* From a start: waits behind what it reads, where that has not ended here. False: it goes into the queue. */
bool chain_link(struct attempt *a);
/* What waits behind an attempt that its host has now gets into the same host. */
void chain_follow(struct attempt *a);
/* The attempt has ended, or is discarded: what waited behind it goes its own way. */
void chain_unlink(struct attempt *a);
/* The host ends: what waits in it goes back to the queue. */
void ahead_give_back(struct host *host);
/* Whether it may wait in the host that the other is in: nothing that runs at the same time waits for either,
 * and the host is held to the same limits for both. */
bool ahead_may_follow(const struct attempt *a, const struct attempt *before);
/* The attempt waits in a host that runs another; false, and it is queued again, where the host cannot be
 * told. */
bool ahead_put(struct host *host, struct attempt *a);

/* ---- tell.c ---- */

/* error: NULL, or why this node cannot take the job. */
void daemon_send_ready(struct daemon *d, struct session *s, const char *error);
void job_send_ready(struct job *job, const char *error);
/* To a job manager that has opened the job: what is here, and what has ended and was not acknowledged. */
void job_tell_all(struct job *job);

/* ---- restore.c ---- */

/* Takes up what an earlier daemon had sealed, and drops the rest of its spool. */
void restore_orphans(struct daemon *d);
/* They become attempts of the job that has opened. */
void restore_job(struct job *job);
/* Drops those of the job; of all for NULL. */
void restore_drop(struct daemon *d, const char *job);

/* ---- host.c ---- */

struct known_segment {
	uint32_t id;
	UT_hash_handle hh;
};

struct host_out {
	unsigned char *bytes;
	size_t len;
	int fd;                        /* −1: none */
	struct spool_segment *segment; /* instead: it is opened when the packet goes, one reference */
	bool writable;
};

struct host {
	struct daemon *daemon;
	struct job *job;
	struct host *next;
	char mark[MARK_LEN];
	pid_t pid; /* of its guard, which ends when nothing of the host runs any more */
	siginfo_t end;
	dag_instant ended; /* the guard has, as `end` says; 0: not yet */
	int sock, pidfd, stderr_fd, bell;
	uv_poll_t sock_poll, pid_poll, stderr_poll;
	int handles;
	struct host_status *status;
	struct attempt **tasks; /* in task_room, from where the first of them lies */
	size_t task_count;
	struct attempt **task_room;
	size_t task_cap;
	uint32_t last_task;
	bool isolate, retiring, dead;
	bool silent;                   /* its socket is closed */
	struct known_segment *known;   /* that the host has mapped to read */
	struct spool_segment **grants; /* that it writes to */
	size_t grant_count, grant_cap;
	struct host_out *out; /* packets that are complete */
	size_t out_count, out_cap;
	struct host_packet *packet, *inbox; /* packet: being filled, behind those */
	struct buffer tail, given;          /* of a message that is made */
	bool full;                          /* its socket has no room */
	char *refused;                      /* why it got no segment, the last time; NULL: it got all */
	const char *misdeed;                /* why it is not believed any more; NULL: it is */
	uint32_t grants_unread, stuck_ticks, silent_ticks;
	uint32_t stuck_at;       /* ring_taken at the last tick, */
	uint64_t stuck_received; /* and received */
	uint64_t received;       /* messages */
	uint32_t ring_taken;
	uint32_t *stages;      /* sent to it: a flag each */
	struct excerpt errors; /* of what is written to stderr */
	uint32_t cpus;         /* that it is bound to; 0: all */
	int told_core;         /* status.daemon_core */
	cpu_set_t cpu_set;
	char *cgroup;    /* NULL: none */
	uint64_t memory; /* that it is held to */
	uint32_t shares;
};

/* An idle host of the job, or a new one. DAG_ENOEXEC, DAG_EBUSY. */
int host_get(struct job *job, bool isolate, struct host **ret_host);
/* Starts hosts ahead of the first vertices. */
void host_prepare(struct job *job, uint32_t count);
/* It does not run this one any more. */
void host_remove_task(struct host *host, struct attempt *a);
/* Gives the host attempts to run together, or one to run after what it has; they get its tasks' numbers. */
int host_run(struct host *host, struct attempt **attempts, size_t n);
/* Holds the host to the memory and the CPUs that its vertices' stages said; to none, where one did not. */
void host_limit(struct host *host, struct attempt **attempts, size_t n);
/* The host is gone: */
void host_free_cpus(struct host *host);
void host_end_group(struct host *host);
/* Removes the groups of hosts that are gone. */
void limits_tick(struct daemon *d);
/* The text of an end by a signal, which it frees, with the reason where the kernel had one. */
char *host_why_killed(struct daemon *d, int signal, char *text);
/* "killed: 612 MiB > memory 512 MiB" */
char *host_memory_text(const struct attempt *a);
/* Ends the hosts whose vertices have more memory than their stages said. */
void host_check_memory(struct job *job);
/* Ends the host; what runs in it ends without a word. */
void host_kill(struct host *host);
/* Buries those that cannot be ended. */
void host_tick(struct daemon *d);
/* Where both its guard has ended and its socket is closed, it is gone. */
void host_hung_up(struct host *host);
/* Kills all hosts and waits for their ends: they must not outlive their daemon. */
void host_end_all(struct daemon *d);
/* The record that its plugin was at; programs read ahead, so theirs is not known. */
void host_note_position(struct host *host, struct attempt *a);

/* ---- talk.c ---- */

void talk_begin(struct host *host);
/* Hears all that the host has said. */
void talk_hear(struct host *host);
/* Each tick: a host that breaks the rules, or does not hear, is ended. */
void talk_check(struct host *host);
/* Hears just what has ended. */
void talk_hear_ends(struct host *host);
/* Sends what it is to be told. */
void talk_flush(struct host *host);
/* Drops what it was to be told. */
void talk_forget(struct host *host);
void host_send_msg(struct host *host, const struct host_msg *msg, const void *tail, size_t tail_len, int fd);
/* With a descriptor of the segment. */
void host_send_segment(
	struct host *host, const struct host_msg *msg, struct spool_segment *segment, bool writable);
/* Makes sure that the host can read the segment. */
int host_show_segment(struct host *host, uint32_t segment);
bool host_has_grant(const struct host *host, uint32_t segment);
/* A segment's file goes: nobody shall keep it mapped. */
void host_forget_segment(struct daemon *d, uint32_t segment);
/* The attempt has ended, and all that its host's stderr holds is its. */
void host_take_stderr(struct host *host, struct attempt *a);

/* ---- input.c ---- */

struct fetched_block {
	struct spool_segment *segment;
	uint64_t end; /* bytes of the channel up to and with it */
};

struct input_channel {
	bool is_remote;  /* false; as the owner of a live reader. Must be the first member. */
	uint64_t number; /* of the fetch; 0: none */
	struct attempt *reader;
	uint32_t port, producer;
	struct attempt *producer_attempt; /* on this node: pinned */
	bool live_local, fetching, source;
	uint64_t window, told; /* fetching: bytes, and those consumed that the mover was told of */
	bool finished;         /* its END was passed on */
	uint64_t bytes;        /* arrived */
	struct fetched_block *blocks;
	size_t first, count, cap;
	/* A remote source: */
	uint64_t position, outstanding, consumed;
	bool source_last, source_failed; /* nothing more comes; is told */
	UT_hash_handle hh;
};

void input_open(struct attempt *a, uint32_t port, uint32_t first, uint32_t count);
/* The producer that a chained attempt was started behind has sealed: it stays as long as it is read. */
void input_follow(struct attempt *a, struct attempt *from);
/*
 * Opens all channels of a port before anybody asks, where the port has at most `most` and all are sealed
 * here: appends where their indexes lie. False, and nothing is open, where the host shall ask.
 */
bool input_give(struct attempt *a, uint32_t port, uint32_t most, struct buffer *tail);
void input_consumed(struct attempt *a, uint32_t port, uint32_t producer, uint64_t bytes);
void input_close(struct attempt *a, uint32_t port, uint32_t producer);
/* The attempt does not read any more. */
void input_close_all(struct attempt *a);
void input_peer_gone(struct job *job, uint32_t peer); /* what is being fetched from there has failed */
void input_on_data(struct daemon *d, const struct data_event *event);
void input_on_source(struct job *job, const Dagrun__SourceData *m);
/* Its bytes up to `end` have their place (none, of length 0), */
void input_on_stashed(struct input_channel *ch, struct spool_segment *segment, const struct block_ref *place,
	uint64_t end, bool last);
/* or do not get one. */
void input_on_not_stashed(struct input_channel *ch, const char *text);
/* Another job manager, or the same one anew: what the last one was asked for will not come. */
void input_ask_again(struct job *job);
void input_segment_wanted(struct daemon *d, uint64_t bytes);
/* For serve.c: a live block, or the end, for a reader on this node. */
void input_push_block(struct input_channel *ch, const struct block_ref *ref);
void input_push_end(struct input_channel *ch, const struct channel_end *end, bool checked);
void input_push_error(struct attempt *a, uint32_t port, uint32_t producer, int error, const char *text);

/* ---- direct.c ---- */

/* A pipe that two hosts of ours go on with by themselves. */
struct direct {
	struct input_channel *channel;
	struct spool_segment **segments; /* that its blocks may lie in, one reference each */
	size_t count, cap;
	struct direct *next;
};

/* Lets the part's one reader and its writer go on without us, if they can. */
void direct_begin(struct attempt *a, uint32_t stream, uint32_t part, struct live_part *lp);
/* A host got a segment to write to: its readers must be able to read it. */
void direct_granted(struct host *host, struct spool_segment *segment);
/* The reader has gone. */
void direct_end(struct attempt *a, const struct input_channel *ch);

/* ---- serve.c ---- */

struct remote_reader {
	bool is_remote; /* true; as the owner of a live reader. Must be the first member. */
	struct data_peer peer;
	struct attempt *attempt; /* pinned */
	uint32_t stream, part;
	bool live;
	uint64_t next, sent, credit; /* sealed: next block; bytes from block 0 */
	bool ended;
	UT_hash_handle hh;
};

struct waiting_reader {
	struct waiting_reader *next;
	struct attempt_key key;
	bool remote;
	struct data_peer peer;
	struct data_open open;
	struct input_channel *channel; /* on this node */
};

void serve_init_streams(struct attempt *a, const uint32_t *readers);
/* The attempt is known here now: readers that waited for it may go on. */
void serve_started(struct attempt *a);
/* A host has written a block of a pipe. False where it lies. */
bool serve_append(struct attempt *a, uint32_t stream, uint32_t part, const struct block_ref *ref);
void serve_sealed(struct attempt *a);
/* A reader on this node. */
void serve_attach_local(
	struct job *job, struct input_channel *ch, struct attempt_key key, uint32_t stream, uint32_t part);
void serve_consumed_local(struct input_channel *ch, uint32_t stream, uint32_t part, uint64_t bytes);
/* failed: another attempt of it may come. */
void serve_detach_local(struct input_channel *ch, uint32_t stream, uint32_t part, bool failed);
void serve_on_data(struct daemon *d, const struct data_event *event);
void serve_forget_job(struct job *job);
void serve_fini_streams(struct attempt *a);

#endif
