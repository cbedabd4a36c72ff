/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHANNEL_BLOCK_H
#define CHANNEL_BLOCK_H
/*
 * How records lie in blocks, blocks in segments, and the index that an attempt writes at its seal.
 *
 *   block     header of 64 bytes, then whole records; starts at a multiple of 64. Of the format bytes there
 * is nothing but the bytes, cut anywhere, and no records are counted: so the hash of a part is that of the
 * bytes, whenever they came record    u32 length, bytes; key-value: u32 key length, u32 value length, key,
 * value. The length of a line has RECORD_UNENDED where it was the last that was written, without a line feed
 * behind it index     struct index_header, a struct index_stream each, a struct index_part each part of each
 * stream, then struct block_ref for all blocks
 *
 * All numbers are little-endian, as every processor here is. An index is written by a process that runs
 * users' code, so index_check believes nothing of it.
 */
#include "base/base.h"
#include "base/hash.h"

#define BLOCK_VERSION 1
#define BLOCK_HEADER_SIZE 64u
#define BLOCK_ALIGN 64u
#define BLOCK_SIZE_MIN 4096u
#define BLOCK_SIZE_MAX (1u << 20)
#define RECORD_LEN_MAX (1u << 30)
#define RECORD_UNENDED (1u << 31)
#define BLOCK_LEN_MAX (RECORD_LEN_MAX + 8u)

/* What a block of so many bytes takes up in its segment: the next begins on a line of its own. */
static inline uint64_t block_room(uint64_t bytes)
{
	return (bytes + BLOCK_ALIGN - 1) & ~(uint64_t)(BLOCK_ALIGN - 1);
}

enum block_kind {
	BLOCK_DATA = 1, /* records */
	BLOCK_MARK = 2, /* reserved: a position in a continuous input */
	BLOCK_END = 3,  /* the channel's end */
	BLOCK_RAW = 4,  /* a source input's own bytes, as the file has them */
	BLOCK_LZ4 = 5,  /* records, packed: see codec.h */
	BLOCK_ZSTD = 6
};

struct block_header {
	uint8_t version, kind, running, reserved;
	uint32_t epoch, vertex, attempt;
	uint32_t stream, part;
	uint64_t seq; /* of the block among those of its part, from 0 */
	uint32_t records;
	uint32_t length; /* bytes behind the header */
	uint32_t pad[2];
	/* `running`: the low half of the part's hash up to the end of this block, as its writer found it.
	 * Else XXH3-64 of the bytes behind the header; 0: not known. */
	uint64_t checksum;
	uint64_t zero;
};
_Static_assert(sizeof(struct block_header) == BLOCK_HEADER_SIZE, "the header is the wire format");

/* DAG_EPROTO or DAG_EVERSION where the header cannot be one of ours. */
int block_header_check(const struct block_header *header);

/* Where a block's payload lies. */
struct block_ref {
	uint32_t segment;
	uint32_t records;
	uint64_t offset; /* of the payload, behind the header */
	uint32_t length;
	uint16_t kind;    /* enum block_kind */
	uint16_t checked; /* said by a daemon: its bytes are those that the producer wrote */
};

struct index_header {
	uint32_t magic, version;
	uint32_t streams, parts, blocks;
	uint32_t reserved;
};

struct index_stream {
	uint32_t parts;
	uint32_t closed_early; /* its readers went before the end: it has no hash and is never compared */
};

struct index_part {
	uint64_t records, bytes; /* bytes of records with their lengths */
	struct dag_hash hash;
	uint32_t first_block, block_count;
};

#define INDEX_MAGIC 0x64616769u

/* An index as it lies in memory. */
struct index_view {
	const struct index_header *header;
	const struct index_stream *streams;
	const struct index_part *parts; /* of stream 0, then of stream 1, … */
	const struct block_ref *blocks;
};

/* Of one that was checked. */
struct index_view index_open(const void *data);
/* Checks that `data` is as large as its header says. DAG_ECORRUPT otherwise. */
int index_look(const void *data, size_t len, struct index_view *ret_view);
/* And that all its parts name blocks that are there. */
int index_check(const void *data, size_t len, struct index_view *ret_view);
/* A part of a stream; NULL where there is none, or it names blocks that are not there. */
const struct index_part *index_part(const struct index_view *view, uint32_t stream, uint32_t part);
size_t index_size(uint32_t streams, uint32_t parts, uint32_t blocks);
/* The attempt's hash: the hash of its parts' hashes and counts. */
struct dag_hash index_hash(const struct index_view *view);

/* What a reader knows of a channel's end, and checks against what it read. */
struct channel_end {
	uint64_t records, bytes;
	struct dag_hash hash;
};

#endif
