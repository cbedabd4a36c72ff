/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DAEMON_FILES_H
#define DAEMON_FILES_H
/* The files that are shipped for a job. */
#include "base/base.h"
#include "wire/session.h"

struct job;

struct job_file {
	char *hash, *path, *temporary;
	uint64_t size;
	bool there;
	uint64_t coming; /* bytes that wait for the disk */
	/* The disk's: */
	int fd; /* while it comes in */
	bool kept, broken;
};

/* Of at most `max` letters, as a file may be called. */
bool files_is_name(const char *name, size_t max);
/* The path of a shipped file, before files_open. NULL for a name that is none. */
const char *files_add(struct job *job, const Dagrun__File *m);
/* All were added. The job is ready when they are in the cache; those that are not are asked for. */
void files_open(struct job *job);
/* Whoever was asked is gone. */
void files_ask_again(struct job *job);
void files_take(struct job *job, const Dagrun__FileChunk *m);
/* The job ends: it stays until files_busy is 0. */
void files_drop(struct job *job);

#endif
