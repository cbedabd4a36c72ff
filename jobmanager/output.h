/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBMANAGER_OUTPUT_H
#define JOBMANAGER_OUTPUT_H
/* Inside of the outputs: what fetching (outputs.c) and files and publication (publish.c) share. */
#include "shell.h"

#define SYNC_BYTES (64u << 20) /* of a file; then what they came from is given back */

/* What came of a vertex's records, to be compared with what it said it wrote. */
struct arrival {
	uint64_t records, bytes;
	struct hash_state *hash; /* NULL before the first reset */
};

/* One file of an output: the only one, or that of one vertex. */
struct output_file {
	char *path, *temporary;
	int fd;
};

struct output {
	const struct graph_output *spec;
	struct graph_format format;
	uint32_t number;
	bool to_stdout;
	bool on_disk; /* of this machine, as far as is known */
	struct output_file *files;
	uint32_t file_count;
	char *lock_path;
	int lock_fd;
	bool locked;
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
	bool held; /* a fetch begins when that has ended: */
	uint32_t held_vertex, held_attempt, held_node;
	uint64_t bytes_total;
	/* What of the only file is on disk: */
	off_t synced;
	bool syncing;
};

struct outputs_state {
	uint64_t last_channel;
	char **made; /* folders that were made for the job */
	size_t made_count, made_cap;
};

/* Where an output is written before it is published. */
char *output_temporary(const char *path, const char *job);
/* Makes and opens the file that a vertex's records go to before they are published. DAG_EIO with errno. */
int output_open_temporary(const struct manager *m, struct output_file *f);

/* ---- output_disk.c ---- */
/* The file that the vertex which is fetched is written to. */
struct output_file *output_file(const struct manager *m, const struct output *o);
/* Where a vertex's records begin; what a fetch that failed has left there goes. False with errno. */
bool output_begin(const struct manager *m, struct output *o);
/* Writes what is pending, by another thread; then outputs_on_written. Not while another is under way. */
void output_write(struct manager *m, struct output *o);
/* At once. DAG_ENOSPC or DAG_EIO with errno. */
int output_write_now(struct manager *m, struct output *o);
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

#endif
