/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBMANAGER_OUTPUT_H
#define JOBMANAGER_OUTPUT_H
/* Inside of the outputs: what fetching (outputs.c) and files and publication (publish.c) share. */
#include "shell.h"

#define WRITE_BUFFER (1u << 20)
#define SYNC_BYTES (64u << 20) /* of a file; then what they came from is given back */

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
	struct output_file *files;
	uint32_t file_count;
	char *lock_path;
	int lock_fd;
	bool locked;
	/* What is being fetched: */
	uint64_t channel; /* 0: nothing */
	uint32_t vertex, attempt, node;
	off_t *ends; /* in the only file, of the records of each vertex that was fetched */
	off_t begin; /* of this vertex's records in the file */
	off_t size;  /* written */
	struct buffer pending;
	uint64_t records, bytes, consumed;
	struct hash_state *hash;
	uint64_t bytes_total;
	/* What of the only file is on disk: */
	off_t synced;
	bool syncing;
	uint32_t writes; /* of the file from its begin */
};

/* Memory that fetched blocks are put into. */
struct output_segment {
	struct output_segment *next;
	uint32_t id;
	uint64_t size;
	unsigned char *base;
};

struct outputs_state {
	struct output_segment *segments;
	uint32_t last_segment;
	uint64_t last_channel;
	char **made; /* folders that were made for the job */
	size_t made_count, made_cap;
};

/* Where an output is written before it is published. */
char *output_temporary(const char *path, const char *job);
/* Makes and opens the file that a vertex's records go to before they are published. DAG_EIO with errno. */
int output_open_temporary(const struct manager *m, struct output_file *f);
void outputs_free_segments(struct manager *m);

#endif
