/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_SOURCE_H
#define VERTEX_SOURCE_H
/*
 * Bytes as files and programs have them, cut into records: a split of an input file, the output of a program,
 * or raw blocks that were fetched. Formats are those of the graph file's table.
 */
#include "base/base.h"
#include "graph/graph.h"

struct source;

/*
 * Reads up to n bytes to buf; 0 at the end, negative for an error. May block.
 */
typedef ssize_t source_fill_fn(void *ctx, void *buf, size_t n);

struct source *source_new(struct graph_format format, source_fill_fn *fill, void *ctx);
/* A split of a file: the records whose first byte lies in offset … offset+length−1. Owns fd. */
struct source *source_new_file(struct graph_format format, int fd, uint64_t offset, uint64_t length);
void source_destroy(struct source **source);

/*
 * Of whoever has fewer descriptors than files: a file that has none (fd −1) is opened when its bytes are
 * wanted, and closed behind a read where `used` says so.
 */
struct source_lender {
	int (*open)(void *ctx);          /* a descriptor of the file, or an error */
	bool (*used)(void *ctx, int fd); /* true: it is to be closed */
	void (*closed)(void *ctx);
};
void source_lend(struct source *source, const struct source_lender *lender, void *ctx);

/* Closes the file, if it is one: nothing more is read of it. What it gave last is valid still. */
void source_close(struct source *source);
/* 1: the next record, valid until the next call; 0: the end; DAG_EFORMAT, DAG_EIO, DAG_ELIMIT or what fill
 * gave. */
int source_next(struct source *source, struct dag_record *r);
/* True where the last record was a line that ended with the bytes, and not with a line feed. */
bool source_is_unended(const struct source *source);
/* True where a file ended before its split did. */
bool source_is_short(const struct source *source);
/* Looks for a NUL byte in what is read from now on; whether there was one. */
void source_watch(struct source *source);
bool source_has_nul(const struct source *source);
/* True where the next record can be had without a call of fill. */
bool source_has_record(struct source *source);
/* Bytes of a file's split that no record came from yet; 0 for other sources. */
uint64_t source_left(const struct source *source);
/* Goes on at the first record that begins so many bytes further on, or behind that; of fixed records whole
 * ones are passed over. Returns how many bytes that were, without the rest of a line. */
uint64_t source_skip(struct source *source, uint64_t bytes);
bool source_is_file(const struct source *source);
/* The file's descriptor; −1 for other sources, and where it is closed just now. */
int source_fd(const struct source *source);

#endif
