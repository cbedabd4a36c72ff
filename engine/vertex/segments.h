/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_SEGMENTS_H
#define VERTEX_SEGMENTS_H
/* Segments of the spool in a host: those it reads, and the one that it writes to. */
#include "host_proto.h"
#include "base/table.h"

struct host;

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

/* The segment that this host writes to: blocks are taken from its end. Guarded by host.lock. */
struct host_space {
	struct host_segment *segment, *next; /* next: was asked for before this one is full */
	uint64_t used;
	bool asked;
	int error;
};

struct segments {
	struct host_segment *table;
	_Atomic bool has_disk; /* some of them lie on one */
	struct host_space space;
};

/* The bytes of a block in a mapped segment; NULL where it does not lie in one. The caller holds host.lock. */
const unsigned char *segments_locate(struct host *host, const struct block_ref *ref);
/* The block will be read soon: where it lies on a disk, it is fetched from there. Takes host.lock. */
void segments_prefetch(struct host *host, const struct block_ref *ref);
struct host_segment *segments_find(struct host *host, uint32_t id);
/* NULL where it cannot be mapped. The descriptor stays the caller's. */
struct host_segment *segments_map(struct host *host, uint32_t id, uint64_t size, int fd, bool writable);
void segments_drop(struct host *host, uint32_t id);
/* The daemon's answer where space was asked for. */
void segments_on_grant(struct host *host, const struct host_msg *msg, int fd);
/* The daemon has the index now, and keeps what it names. */
void segments_release_kept(struct host *host);

/*
 * Space of at least `size` bytes, aligned to 64, from the host's current segment; `step` is what to ask for
 * at least when a new segment is needed. Takes host.lock. DAG_ENOSPC where the node has none.
 */
int segments_take(struct host *host, uint64_t size, uint64_t step, struct host_segment **ret_segment,
	uint64_t *ret_offset);
/* A block in the segment is complete; `keep`: its place will be named at the seal. */
void segments_close(struct host *host, struct host_segment *segment, bool keep);
/* Gives back what follows `end` where it was the last that was taken, so that blocks lie close together. */
void segments_trim(struct host *host, const struct host_segment *segment, uint64_t taken_end, uint64_t end);

#endif
