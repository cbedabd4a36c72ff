/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of what the owner is told, with the bell that wakes its loop; and the mover's last reference. */
#include "data_internal.h"
#include "os/os.h"

#include <unistd.h>

static void free_message(const struct data_event *event)
{
	if (event->message)
		zmq_msg_close(event->message);
	free(event->message);
}

/* One that nobody handles. */
static void drop_event(const struct data_event *event)
{
	free(event->text);
	free_message(event);
}

/* That a block was sent nobody waits for: while others are being sent, the owner is not woken for it. */
static bool rings(struct event_queue *q, const struct data_event *event)
{
	if (q->rung || q->closed)
		return false;
	q->rung = event->kind != DATA_SENT || !q->sending;
	return q->rung;
}

void data_post_event(struct data *d, const struct data_event *event)
{
	struct event_queue *q = &d->events;
	bool closed, ring;

	pthread_mutex_lock(&q->lock);
	closed = q->closed;
	if (!closed)
		*DAG_APPEND(q->items, q->count, q->cap) = *event;
	if (event->kind == DATA_SENT)
		q->sending--;
	ring = rings(q, event);
	pthread_mutex_unlock(&q->lock);
	if (closed)
		drop_event(event);
	if (ring)
		os_bell_ring(q->bell.fd);
}

void data_count_sending(struct data *d)
{
	struct event_queue *q = &d->events;

	pthread_mutex_lock(&q->lock);
	q->sending++;
	pthread_mutex_unlock(&q->lock);
}

void data_on_events(uv_poll_t *poll, int status, int events)
{
	struct data *d = poll->data;
	struct data_event *items;
	size_t count;

	(void)status;
	(void)events;
	os_bell_hush(d->events.bell.fd);
	pthread_mutex_lock(&d->events.lock);
	items = d->events.items;
	count = d->events.count;
	d->events.items = NULL;
	d->events.count = d->events.cap = 0;
	d->events.rung = false;
	pthread_mutex_unlock(&d->events.lock);
	for (size_t i = 0; i < count; i++) {
		d->on_event(d->ctx, &items[i]);
		free_message(&items[i]);
	}
	free(items);
}

/* Of blocks that were sent while others cannot be, since their reader takes none, the owner hears now. */
void data_ring_late(struct data *d)
{
	struct event_queue *q = &d->events;
	bool late;

	pthread_mutex_lock(&q->lock);
	late = q->count && !q->rung && !q->closed;
	q->rung = q->rung || late;
	pthread_mutex_unlock(&q->lock);
	if (late)
		os_bell_ring(q->bell.fd);
}

void data_unref(struct data *d)
{
	if (__atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL))
		return;
	free(d->commands.items);
	for (size_t i = 0; i < d->events.count; i++)
		drop_event(&d->events.items[i]);
	free(d->events.items);
	buffer_fini(&d->outbox.frame);
	hash_state_destroy(&d->before);
	seal_destroy(&d->seal);
	if (d->commands.bell.fd >= 0)
		close(d->commands.bell.fd);
	close(d->events.bell.fd);
	pthread_mutex_destroy(&d->commands.lock);
	pthread_mutex_destroy(&d->events.lock);
	free(d);
}
