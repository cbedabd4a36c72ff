/* SPDX-License-Identifier: Apache-2.0 */
#ifndef JOBMANAGER_EXCHANGE_H
#define JOBMANAGER_EXCHANGE_H
/*
 * Files that get their names together or not at all. Each lies whole and synced beside its destination. What
 * stands there changes places with it, so that it can be put back until all have their names; a note says
 * which is which, for who finds them after a crash.
 */
#include "base/base.h"

struct exchange_file {
	char *path, *temporary;
	uint64_t inode; /* of the new file */
	bool new_name;  /* nothing was there before, as far as this run knows */
};

struct exchange {
	struct exchange_file *files;
	size_t count, cap;
	bool noted; /* an earlier run has begun, perhaps */
};

/* The path of the destination itself is meant, no link. */
void exchange_add(struct exchange *x, const char *path, const char *temporary);
void exchange_fini(struct exchange *x);

/* What would keep a file from being put there: NULL, or a text. */
char *exchange_obstacle(const char *path);
/* Looks at the new files, and at what would keep them from their names. Nothing is changed. NULL, or a text.
 */
char *exchange_prepare(struct exchange *x);
/* Makes the note durable. NULL, or a text. */
char *exchange_note(const struct exchange *x, const char *note);
/* Reads a note; false where there is none, or half of one: then nothing was changed. */
bool exchange_read(struct exchange *x, const char *note);
/*
 * Gives all of them their names, durably; some may have theirs from an earlier run. NULL; or a text, and then
 * everything is as it was.
 */
char *exchange_all(struct exchange *x);
/* Puts back what was there before. False where that cannot be done for all of them. */
bool exchange_undo(struct exchange *x);
/* All have their names: removes what was there before. */
void exchange_settle(struct exchange *x);
/* Removes the new files that did not get their names. */
void exchange_drop(struct exchange *x);

#endif
