/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where bytes of inputs are put that only the submitting machine has: segments that they share, one piece
 * after the other, told in the order in which they came. What goes to the disk is written by its thread, and
 * all that comes behind waits: not more than was asked for.
 */
#include "node.h"
#include "os/os.h"

#include <errno.h>

#define SEGMENT_MIN (4ull << 20)

struct stashed {
	struct stashed *next;
	struct daemon *daemon;
	uint64_t channel;
	uint64_t end; /* of it, in the channel */
	bool last;
	struct spool_segment *segment; /* one reference, once it has its place */
	struct block_ref place;
	int error; /* an errno */
	unsigned char data[];
};

static struct input_channel *find_channel(struct daemon *d, uint64_t number)
{
	struct input_channel *ch;

	HASH_FIND(hh, d->fetches, &number, sizeof(number), ch);
	return ch;
}

static void tell(struct daemon *d, struct spool_segment *segment, const struct stashed *s)
{
	struct input_channel *ch = find_channel(d, s->channel);

	if (ch)
		input_on_stashed(ch, segment, &s->place, s->end, s->last);
}

static void tell_failed(struct daemon *d, const struct stashed *s)
{
	struct input_channel *ch = find_channel(d, s->channel);

	if (ch)
		input_on_not_stashed(ch, spool_trouble(d->spool));
}

static bool has_room(const struct stash *stash, uint64_t size)
{
	return stash->segment && stash->segment->size - stash->used >= size;
}

static void go_on(struct daemon *d);

static void on_segment(void *ctx, struct spool_segment *segment, int error)
{
	struct daemon *d = ctx;
	struct stash *stash = &d->stash;
	struct stashed *s;

	stash->asked = false;
	if (segment && segment->in_memory && !spool_map(d->spool, segment)) {
		spool_unref(d->spool, segment);
		error = spool_say_trouble(d->spool, true, errno);
	}
	if (!error)
		stash->segment = segment;
	while (error && stash->first) {
		s = stash->first;
		stash->first = s->next;
		tell_failed(d, s);
		free(s);
	}
	if (!stash->asking)
		go_on(d);
}

/* True where there is one now. */
static bool get_room(struct daemon *d, uint64_t size)
{
	struct stash *stash = &d->stash;

	if (has_room(stash, size))
		return true;
	if (stash->asked)
		return false;
	if (stash->segment)
		spool_unref(d->spool, stash->segment);
	stash->segment = NULL;
	stash->used = 0;
	stash->asked = stash->asking = true;
	spool_ask(d->spool, DAG_MAX(size, SEGMENT_MIN), on_segment, d);
	stash->asking = false;
	return stash->segment != NULL;
}

static void place(struct stash *stash, struct stashed *s)
{
	s->place.segment = stash->segment->id;
	s->place.offset = stash->used;
	stash->used += block_room(s->place.length);
}

static void write_piece(void *ctx)
{
	struct stashed *s = ctx;

	s->error = os_write_at(s->segment->fd, s->data, s->place.length, s->place.offset);
}

static void on_written(void *ctx, bool abandoned)
{
	struct stashed *s = ctx;
	struct daemon *d = s->daemon;

	d->stash.writing--;
	if (s->error)
		spool_say_trouble(d->spool, false, s->error);
	if (s->error && !abandoned)
		tell_failed(d, s);
	else if (!abandoned)
		tell(d, s->segment, s);
	if (!abandoned) {
		spool_unref(d->spool, s->segment);
		go_on(d);
	}
	free(s);
}

/* False where it must wait for what is being written. */
static bool put_first(struct daemon *d)
{
	struct stash *stash = &d->stash;
	struct stashed *s = stash->first;

	if (stash->segment->in_memory && stash->writing)
		return false;
	stash->first = s->next;
	place(stash, s);
	if (stash->segment->in_memory) {
		memcpy(stash->segment->base + s->place.offset, s->data, s->place.length);
		tell(d, stash->segment, s);
		free(s);
		return true;
	}
	s->segment = stash->segment;
	spool_ref(s->segment);
	stash->writing++;
	disk_do(d->disk, write_piece, on_written, s);
	return true;
}

static void go_on(struct daemon *d)
{
	while (d->stash.first && get_room(d, block_room(d->stash.first->place.length)) && put_first(d))
		;
}

void stash_put(struct daemon *d, const struct input_channel *ch, const void *data, uint32_t len, bool last)
{
	struct stash *stash = &d->stash;
	struct stashed now = {.channel = ch->number,
			       .end = ch->bytes,
			       .last = last,
			       .place = {.length = len, .kind = BLOCK_RAW}},
		       *s;

	if (!stash->first && !stash->writing && !len) {
		tell(d, NULL, &now);
		return;
	}
	if (!stash->first && !stash->writing && get_room(d, block_room(len)) && stash->segment->in_memory) {
		place(stash, &now);
		memcpy(stash->segment->base + now.place.offset, data, len);
		tell(d, stash->segment, &now);
		return;
	}
	s = base_alloc(sizeof(*s) + len);
	*s = now;
	s->daemon = d;
	base_copy(s->data, data, len);
	if (!stash->first)
		stash->last = &stash->first;
	*stash->last = s;
	stash->last = &s->next;
	go_on(d);
}

void stash_fini(struct daemon *d)
{
	while (d->stash.first) {
		struct stashed *s = d->stash.first;

		d->stash.first = s->next;
		free(s);
	}
}
