/* SPDX-License-Identifier: Apache-2.0 */
/* A window of unacknowledged messages, kept as they were sent. */
#include "link.h"

void link_init(struct link *link, uint64_t session, dag_instant now)
{
	*link = (struct link){.session = session, .last_heard = now, .last_sent = now, .last_progress = now};
}

void link_fini(struct link *link)
{
	for (size_t i = link->first; i < link->count; i++)
		free(link->unacked[i].data);
	free(link->unacked);
	*link = (struct link){0};
}

uint64_t link_next(const struct link *link)
{
	return link->sent + 1;
}

void link_sent(struct link *link, unsigned char *data, size_t len, dag_instant now)
{
	if (link->first == link->count) {
		link->first = link->count = 0;
		link->last_progress = now;
	}
	*DAG_APPEND(link->unacked, link->count, link->cap) = (struct link_message){++link->sent, data, len};
	link->unacked_bytes += len;
	link_acked(link, now);
}

void link_acked(struct link *link, dag_instant now)
{
	link->ack_sent = link->received;
	link->last_sent = now;
}

static void drop_acknowledged(struct link *link, uint64_t ack, dag_instant now)
{
	if (ack > link->sent)
		return; /* of another session, or nonsense */
	while (link->first < link->count && link->unacked[link->first].seq <= ack) {
		link->unacked_bytes -= link->unacked[link->first].len;
		free(link->unacked[link->first++].data);
		link->last_progress = now;
	}
	if (link->first > 1024 && link->first * 2 > link->count) {
		memmove(link->unacked, link->unacked + link->first,
			(link->count - link->first) * sizeof(*link->unacked));
		link->count -= link->first;
		link->first = 0;
	}
}

enum link_verdict link_receive(struct link *link, uint64_t seq, uint64_t ack, dag_instant now)
{
	link->last_heard = now;
	link->cut = 0;
	drop_acknowledged(link, ack, now);
	if (seq == link->received + 1) {
		link->received = seq;
		return LINK_DELIVER;
	}
	return seq <= link->received ? LINK_DUPLICATE : LINK_GAP;
}

size_t link_repeat(struct link *link, dag_instant now, const struct link_message **ret_first)
{
	if (link->first == link->count || now - link->last_progress < LINK_REPEAT)
		return 0;
	link->last_progress = now;
	*ret_first = &link->unacked[link->first];
	return DAG_MIN(link->count - link->first, (size_t)LINK_REPEAT_BATCH);
}

void link_dialled(struct link *link, dag_instant now)
{
	link->last_progress = now - LINK_REPEAT;
	link->last_sent = now - LINK_HEARTBEAT;
}

void link_closed(struct link *link, dag_instant now)
{
	if (!link->cut && now - link->last_heard < LINK_FRESH)
		link->cut = 1;
}

void link_look(struct link *link)
{
	if (link->cut && !link_is_cut(link))
		link->cut++;
}

bool link_owes_ack(const struct link *link)
{
	return link->received - link->ack_sent >= LINK_ACK_EVERY;
}
