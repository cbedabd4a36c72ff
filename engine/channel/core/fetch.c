/* SPDX-License-Identifier: Apache-2.0 */
/* Counting, and a clock that is passed in. */
#include "channel/core/fetch.h"

void fetch_init(struct fetch *f, uint64_t window, bool live, dag_instant now)
{
	*f = (struct fetch){.window = window, .credit = window, .live = live, .last_progress = now};
}

static void progress(struct fetch *f, dag_instant now)
{
	f->last_progress = now;
	f->tries = 0;
}

enum fetch_verdict fetch_on_block(struct fetch *f, uint64_t seq, uint32_t len, dag_instant now)
{
	if (f->ended || seq < f->next || f->bytes >= f->credit) /* what has no credit is not for us to keep */
		return FETCH_IGNORE;
	if (seq > f->next)
		return FETCH_ASK_AGAIN;
	progress(f, now);
	f->next++;
	f->bytes += len;
	return FETCH_TAKE;
}

enum fetch_verdict fetch_on_end(struct fetch *f, uint64_t blocks, dag_instant now)
{
	if (f->ended)
		return FETCH_IGNORE;
	if (blocks != f->next)
		return FETCH_ASK_AGAIN;
	progress(f, now);
	f->ended = true;
	return FETCH_TAKE;
}

enum fetch_action fetch_consumed(struct fetch *f, uint64_t bytes)
{
	f->consumed = DAG_MAX(f->consumed, DAG_MIN(bytes, f->bytes));
	if (f->ended || !fetch_is_due(f->window, f->credit - f->window, f->consumed))
		return FETCH_NOTHING;
	f->credit = f->consumed + f->window;
	return FETCH_CREDIT;
}

enum fetch_action fetch_tick(struct fetch *f, dag_instant now)
{
	/* With no credit left the silence is ours: the consumer has blocks that it has not read. */
	if (f->ended || f->bytes >= f->credit || now - f->last_progress < FETCH_SILENCE) {
		if (!f->ended && f->bytes >= f->credit)
			f->last_progress = now;
		return FETCH_NOTHING;
	}
	f->last_progress = now;
	/* A pipe may be silent because its producer is: its node's life is the job manager's to judge. */
	if (f->live)
		return FETCH_OPEN;
	if (++f->tries > FETCH_TRIES)
		return FETCH_UNREACHABLE;
	return FETCH_OPEN;
}
