/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DAEMON_STASH_H
#define DAEMON_STASH_H
/* Bytes of inputs that come from the submitting machine, and where they are put. */
#include "base/base.h"

struct daemon;
struct input_channel;

struct stash {
	struct spool_segment *segment; /* that has room */
	uint64_t used;
	struct stashed *first, **last; /* without a place */
	uint32_t writing;              /* to the disk, just now */
	bool asked, asking;            /* for a segment; this very moment */
};

/* Then input_on_stashed or input_on_not_stashed, if the channel is still there. ch->bytes: with these. */
void stash_put(struct daemon *d, const struct input_channel *ch, const void *data, uint32_t len, bool last);
void stash_fini(struct daemon *d);

#endif
