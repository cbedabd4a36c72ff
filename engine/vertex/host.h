/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_HOST_H
#define VERTEX_HOST_H
/*
 * Inside of a vertex host: the process that runs vertices, one after the other, or those of a fifo group in
 * threads beside each other.
 *
 * Threads that wait for something from the daemon or from each other call host_wait: one of them, the leader,
 * reads the socket; the others sleep on a condition. With one thread there is no switch between threads at
 * all. host.lock guards everything that dispatch touches: channels' queues, credit, segments.
 */
#include "host_proto.h"
#include "spec.h"
#include "base/table.h"

#include <pthread.h>
#include <sys/stat.h>

struct host_segment {
	uint32_t id;
	unsigned char *base;
	uint64_t size;
	bool writable;
	bool on_disk;
	bool granted;  /* ours to write to until it is retired */
	bool kept;     /* blocks of the running attempt lie in it, which its index will name */
	uint32_t open; /* blocks that are being filled */
	int fd;        /* granted: of its file */
	UT_hash_handle hh;
};

struct host_plugin {
	const char *path;
	const struct dag_plugin *plugin;
	struct host_plugin *next;
};

/* What stages that are alike share. */
struct host_stage {
	struct arena arena;
	struct stage_spec spec;
	const struct dag_entry *entry;
	char *error; /* why the plugin cannot be used */
	char *found; /* the program in PATH; or NULL */
};

/* A stage under its own name. */
struct host_named {
	char *name;
	struct host_stage *stage; /* NULL: the daemon has not told us */
	uint32_t noted;           /* bits of enum host_note that were said. Guarded by host.lock. */
};

/* The segment that this host writes to: blocks are taken from its end. Guarded by host.lock. */
struct host_space {
	struct host_segment *segment, *next; /* next: was asked for before this one is full */
	uint64_t used;
	bool asked;
	int error;
};

struct host_start {
	struct host_msg msg;
	unsigned char *tail;
};

struct host {
	int sock;
	/* Where messages go. The caller holds host.lock; the descriptor, or −1, is passed on. */
	void (*dispatch)(
		struct host *host, const struct host_msg *msg, const void *tail, size_t tail_len, int fd);
	pid_t guard;
	struct host_status *status;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int threads;                    /* that may be in host_wait */
	atomic_uint running;            /* tasks */
	pid_t programs[HOST_TASKS_MAX]; /* that run now */
	size_t program_count;
	bool leader; /* one of them is reading the socket */
	int bell;    /* makes the leader look up */
	bool piped;  /* other hosts may ring it */
	bool exiting;
	struct stat errors;    /* of the pipe that is stderr */
	bool heard;            /* HEARD came */
	uint32_t errors_looks; /* of the daemon at our stderr, when it had read all */
	_Atomic bool spoiled;  /* a vertex failed: nothing more is begun, and the daemon ends us */
	struct host_segment *segments;
	_Atomic bool has_disk; /* some of them lie on one */
	struct host_plugin *plugins;
	struct host_named *stages; /* by their numbers */
	size_t stage_room;
	struct arena names;
	struct host_space space;
	struct host_start *starts; /* starts[start_first … start_count−1] came and have not begun */
	size_t start_first, start_count, start_cap;
	struct host_packet inbox;
	_Atomic uint64_t sent; /* messages */
	uint32_t untold;       /* ends in the ring that the daemon was not nudged for */
	dag_instant nudged;
	struct dag_vertex *tasks[HOST_TASKS_MAX];
	uint32_t task_count;
	struct dag_vertex *spare;
	char *kept_scratch;          /* an empty folder that the next one to want it gets; or NULL */
	uint32_t stage;              /* of what ran last */
	uint32_t last_good;          /* the task that ended well just before; 0: it did not */
	struct block_ref last_index; /* of that one */
	uint32_t files_max;          /* input files that may be open */
	atomic_uint file_count;      /* that are */
	atomic_bool ran_long;        /* something of that stage did */
};

/*
 * Waits until something may have changed; the caller holds host.lock and looks at its own condition in a
 * loop. Ends the process where the daemon is gone.
 */
void host_wait(struct host *host);
/* Takes what has come, without waiting; the caller holds host.lock. */
void host_look(struct host *host);
/* Tells other threads of this host that something changed; the caller holds host.lock. */
void host_changed(struct host *host);
void host_send(struct host *host, const struct host_msg *msg, const void *tail, size_t tail_len);
/* An end that was good goes into the ring; true where it did. */
bool host_put_end(struct host *host, uint32_t task, const struct host_done *done);
/* As host_wait, of a host that has nothing to do: the daemon is to know of all ends. */
void host_rest(struct host *host);
/* The daemon has told of it. */
const struct host_named *host_find_stage(const struct host *host, uint32_t id);
void host_on_stage(struct host *host, const struct host_msg *msg, const char *tail, int fd);
/* The bytes of a block in a mapped segment; NULL where it does not lie in one. The caller holds host.lock. */
const unsigned char *host_locate(struct host *host, const struct block_ref *ref);
/* The block will be read soon: where it lies on a disk, it is fetched from there. Takes host.lock. */
void host_prefetch(struct host *host, const struct block_ref *ref);
struct host_segment *host_find_segment(struct host *host, uint32_t id);
/* NULL where it cannot be mapped. The descriptor stays the caller's. */
struct host_segment *host_map_segment(struct host *host, uint32_t id, uint64_t size, int fd, bool writable);
void host_drop_segment(struct host *host, uint32_t id);
/* The daemon's answer where space was asked for. */
void host_on_grant(struct host *host, const struct host_msg *msg, int fd);
/* The daemon has the index now, and keeps what it names. */
void host_release_kept(struct host *host);

/*
 * Space of at least `size` bytes, aligned to 64, from the host's current segment; `step` is what to ask for
 * at least when a new segment is needed. Takes host.lock. DAG_ENOSPC where the node has none.
 */
int host_space_take(struct host *host, uint64_t size, uint64_t step, struct host_segment **ret_segment,
	uint64_t *ret_offset);
/* A block in the segment is complete; `keep`: its place will be named at the seal. */
void host_space_close(struct host *host, struct host_segment *segment, bool keep);
/* Gives back what follows `end` where it was the last that was taken, so that blocks lie close together. */
void host_space_trim(struct host *host, const struct host_segment *segment, uint64_t taken_end, uint64_t end);

/* stderr.c */
/* What vertices write to goes to the daemon by this, whatever they do to descriptors 1 and 2. */
#define HOST_ERRORS_FD 6
void errors_begin(struct host *host);
/* True where something was written to it since the daemon had read all; descriptors 1 and 2 are it again. */
bool errors_said(struct host *host, dag_instant ran);
/* Waits until the daemon has read all, so that what the next vertex writes is not taken for this one's. */
void errors_wait(struct host *host);

/* plugin.c */
int plugin_open(const char *path, void **ret_library, const struct dag_plugin **ret_plugin, char **ret_error);
const struct dag_entry *plugin_entry(const struct dag_plugin *plugin, uint32_t i);
int plugin_describe(const char *path);
/*
 * What the entries themselves find wrong with parameters. Asked on stdin, as texts that NULs end: an entry,
 * how many parameters, and their names and values; answered by a line each, "ok" or what is wrong.
 */
int plugin_check(const char *path);

/* program.c: runs a program vertex; the code for DONE. */
int program_run(struct dag_vertex *v);

#endif
