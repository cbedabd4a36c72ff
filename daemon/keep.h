/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DAEMON_KEEP_H
#define DAEMON_KEEP_H
/*
 * Which sealed attempts lie in the spool, in a file beside it, so that a daemon that is started again still
 * has them. A thread appends the records, some milliseconds after they were noted, and syncs nothing: what is
 * not there after a crash, or does not verify, is a lost output. The file is written anew when the daemon
 * starts.
 */
#include "base/base.h"
#include "channel/block.h"

enum keep_kind { KEEP_SEALED = 1, KEEP_ACKED, KEEP_GONE, KEEP_JOB_GONE };

/* As tests/chaos reads it too. */
struct keep_record {
	uint64_t check;  /* XXH3 of what follows */
	uint64_t job;    /* keep_job_number */
	uint64_t offset; /* of its index, in the segment: SEALED */
	uint32_t segment, length;
	uint32_t vertex, attempt;
	uint32_t more; /* SEALED: keep_index_hash. Else vertices behind this one, which are acked or gone with
			  it */
	uint16_t kind;
	uint16_t acked; /* after keep_load */
};

struct keep;

uint64_t keep_job_number(const char *job);
static inline struct block_ref keep_index(const struct keep_record *r)
{
	return (struct block_ref){.segment = r->segment, .offset = r->offset, .length = r->length};
}

/* The sealed attempts of an earlier daemon, in an array that the caller frees; torn records end the file. */
struct keep_record *keep_load(const char *folder, size_t *ret_count);
/* Begins the file anew with these. NULL with errno. */
struct keep *keep_new(const char *folder, const struct keep_record *records, size_t n);
/* Removes the file: the daemon ends, and its spool with it. */
void keep_destroy(struct keep **keep);
/* Of an index as it lies in its segment: what is found there later may be another's. */
uint32_t keep_index_hash(const void *index, size_t len);
/* index, and its hash: SEALED. Handed to the writer by the next keep_flush. */
void keep_note(struct keep *keep, enum keep_kind kind, uint64_t job, uint32_t vertex, uint32_t attempt,
	const struct block_ref *index, uint32_t index_hash);
void keep_flush(struct keep *keep);
/* Waits until all that was noted is written, or could not be. */
void keep_settle(struct keep *keep);

#endif
