/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBMANAGER_OUTPUT_H
#define JOBMANAGER_OUTPUT_H
/* Inside of the outputs: what fetching (outputs.c), files (output_disk.c), places (output_path.c,
 * output_lock.c) and publication (publish.c) share. */
#include "exchange.h"
#include "shell.h"

#include <sys/types.h>

#define SYNC_BYTES (64u << 20) /* of a file; then what they came from is given back */

/* What came of a vertex's records, to be compared with what it said it wrote. */
struct arrival {
	uint64_t records, bytes;
	struct hash_state *hash; /* NULL before the first reset */
};

/* One file of an output: the only one, or that of one vertex. */
struct output_file {
	char *path;      /* where it will stand; no link */
	char *temporary; /* where it is written; NULL: nothing is there yet */
	ino_t inode;     /* of that */
	bool exists;     /* something stood there when the job began */
	mode_t mode;     /* 0, or what the file had that it replaces */
};

struct output {
	const struct graph_output *spec;
	struct graph_format format;
	uint32_t number;
	char *path;      /* the spec's, perhaps with {index}; where that is a link, what it leads to */
	size_t index_at; /* where in it {index} stands */
	bool is_stream;  /* stdout, or a device or fifo: nothing is replaced there */
	int stream_fd;
	struct output_file *files;
	uint32_t file_count;
	char *lock_path;
	ino_t lock_inode;
	bool locked;
	int fd; /* of the file that the vertex which is fetched is written to; -1 */
	uint32_t open_file;
	off_t *ends;     /* in the only file, of the records of each vertex that was fetched */
	off_t size;      /* of the file that is written, with what is on its way there */
	uint32_t rounds; /* of writing it from its begin */
	/* What is being fetched: */
	uint64_t channel; /* 0: nothing */
	uint32_t vertex, attempt, node;
	bool ended; /* all of it came */
	struct arrival arrival;
	/* What is being written: */
	struct buffer pending, spare;
	bool writing;
	bool held; /* a fetch begins when that has ended, or another output's file is closed: */
	uint32_t held_vertex, held_attempt, held_node;
	bool queued; /* in outputs_state.waiting */
	uint64_t bytes_total;
	/* What of the only file is on disk: */
	off_t synced;
	bool syncing;
};

struct outputs_state {
	uint64_t last_channel;
	char **made; /* folders that were made for the job */
	size_t made_count, made_cap;
	struct held_lock *locks;
	size_t lock_count, lock_cap;
	/* Outputs whose file is open; the others wait for one of them, in their order. */
	struct output **open;
	size_t open_count, open_max;
	uint32_t *waiting;
	size_t waiting_first, waiting_count, waiting_cap;
	bool going_on;
	struct sync *syncs; /* to be begun, the last one first */
	uint32_t sync_workers;
	uint32_t workers; /* threads that use what is here */
	struct exchange exchange;
	bool decided;          /* what is not published yet may be needed by who resumes the job */
	bool begun;            /* what was decided may have been done in part */
	bool publishing;       /* by a thread, just now */
	bool nothing;          /* is to be published, and that is to be told */
	bool published;        /* all of it */
	bool torn;             /* something could not be put back: the note stays, and what it names */
	_Atomic bool canceled; /* a stream is given up */
};

/* In the job's folder: which file changes places with which, and what was or is locked and written. */
#define OUTPUTS_NOTE "publication"
#define OUTPUTS_LIST "outputs"

/* ---- output_path.c: where outputs are ---- */
/* The folder of a path; caller frees. */
char *output_folder(const char *path);
/* The path with its folder as the kernel knows it, or will when that is made. Caller frees. */
char *output_canonical(const char *path);
/* stdout, a device or a fifo: written to, not replaced. */
bool output_is_stream(const char *path);
/* Follows a link at the end of a path; NULL with errno (ELOOP). Caller frees. */
char *output_follow(const char *path);
char *output_path_of_vertex(const struct output *o, uint32_t index);
/* Sets the output's path, its files' and whether it is a stream. DAG_EIO. */
int output_find(struct output *o, uint32_t width, struct dag_diag *diag);
/* Notes where all are, before anything is written there. DAG_EIO. */
int outputs_list(struct manager *m, struct dag_diag *diag);
/* Reports paths that cannot be written to. */
void outputs_check_paths(const struct graph *graph, struct dag_diag *diag);

/* ---- output_lock.c ---- */
/* Where an output is written before it is published; with {index} in the path that of one vertex. */
char *output_temporary(const char *path, const char *job);
char *output_lock_path(const char *path);
char *output_temporary_of(const char *pattern, uint32_t index, const char *job);
/* DAG_EBUSY where another job or user has it. */
int output_lock(struct manager *m, struct output *o, struct dag_diag *diag);
void output_unlock(struct output *o);
void outputs_close_locks(struct outputs_state *s);
/* Removes what jobs that died left beside the outputs, all of which are locked. DAG_EBUSY where one of them
 * was published in part. */
int outputs_sweep(struct manager *m, struct dag_diag *diag);

/* ---- output_inputs.c ---- */
/* Reports outputs that are the graph file or an input. */
void outputs_check_inputs(const struct graph *graph, struct dag_diag *diag);

/* ---- output_earlier.c ---- */
/* A sentence about files beside an output of that width which an earlier, wider run left; NULL: there are
 * none. */
char *output_earlier(const struct output *o, uint32_t width);
/* The indices of an output's files that are there, in no order; caller frees *ret. */
size_t output_there(const struct graph_output *o, uint32_t width, uint32_t **ret);

/* ---- stream.c ---- */
/* Copies a file to a stream. NULL or a text; closed: whoever read it does not any more. */
char *stream_write(int from, int to, const _Atomic bool *canceled, bool *ret_closed);

/* ---- output_disk.c ---- */
/* The file that the vertex which is fetched is written to. */
struct output_file *output_file(const struct manager *m, const struct output *o);
/* Where one of its files is written; caller frees. */
char *output_file_temporary(const struct manager *m, const struct output *o, uint32_t index);
/* Opens it. DAG_ELIMIT: too many are open; DAG_EIO with errno. */
int output_open(struct manager *m, struct output *o);
void output_close(struct manager *m, struct output *o);
/* Where a vertex's records begin; what a fetch that failed has left there goes. False with errno. */
bool output_begin(const struct manager *m, struct output *o);
/* Writes what is pending, by another thread; then outputs_on_written. Not while another is under way. */
void output_write(struct manager *m, struct output *o);
/* At once. DAG_ENOSPC or DAG_EIO with errno. */
int output_write_now(struct output *o);
/* Syncs the file, and tells how far it is on disk; whole: and then only that the vertex is fetched. */
void output_sync(struct manager *m, struct output *o, bool whole);
void output_tell(struct manager *m, const struct output *o, bool synced);

/* ---- outputs.c ---- */
/* Asks the node for what a vertex wrote to a stream; returns the channel that it comes over. */
uint64_t output_ask(
	struct manager *m, const struct node *node, uint32_t vertex, uint32_t attempt, uint32_t stream);
void arrival_reset(struct arrival *a);
/* A block came: its records go to the buffer as a file shall have them. DAG_ECORRUPT, DAG_EFORMAT. */
int arrival_block(
	struct arrival *a, const struct data_event *event, struct graph_format format, struct buffer *to);
/* The end came: false where something else was written. */
bool arrival_is_whole(const struct arrival *a, const struct data_event *event);
/* A block's records as a file shall have them. DAG_ECORRUPT, DAG_EFORMAT. */
int output_put_records(
	struct buffer *to, struct graph_format format, const unsigned char *at, const unsigned char *end);
void outputs_on_written(struct manager *m, struct output *o, int r, int error);
/* A file was closed: what waited for that begins. */
void outputs_go_on(struct manager *m);

#endif
