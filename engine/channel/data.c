/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mover's life, its loop, and the queue of what its owner wants of it. Behind that what serves
 * (data_serve.c) and what is read (data_read.c).
 */
#include "data_internal.h"
#include "os/os.h"

#include <errno.h>
#include <unistd.h>

#define DATA_TICK_MS 500

/* Of a bell that there is. */
static void bell_hang(struct bell *bell, uv_loop_t *loop, uv_poll_cb on_ring, void *data)
{
	DAG_ASSERT(uv_poll_init(loop, &bell->poll, bell->fd) == 0);
	bell->poll.data = data;
	uv_poll_start(&bell->poll, UV_READABLE, on_ring);
}

/* ---- commands ---- */

static void on_turn(uv_idle_t *turn);

static void post_command(struct data *d, const struct command *command)
{
	bool awake;

	pthread_mutex_lock(&d->commands.lock);
	awake = d->commands.count;
	*DAG_APPEND(d->commands.items, d->commands.count, d->commands.cap) = *command;
	pthread_mutex_unlock(&d->commands.lock);
	if (!d->threaded)
		uv_idle_start(&d->commands.turn, on_turn);
	else if (!awake)
		os_bell_ring(d->commands.bell.fd);
}

/* ---- the loop ---- */

static void close_sockets(struct data *d)
{
	data_flush(d, NULL, 0);
	data_read_close(d);
	data_serve_close(d);
	wire_loop_destroy(&d->wire);
}

static void on_tick(uv_timer_t *tick)
{
	struct data *d = tick->data;

	data_read_tick(d);
	data_serve_tick(d);
	data_flush(d, NULL, 0);
	data_ring_late(d);
}

static void drop_ref(uv_handle_t *handle)
{
	data_unref(handle->data);
}

static void run_command(struct data *d, struct command *c)
{
	switch (c->kind) {
	case COMMAND_SEND_BLOCK:
		data_serve_block(d, c);
		break;
	case COMMAND_SEND_END:
		data_serve_end(d, c);
		break;
	case COMMAND_SEND_ERROR:
		data_serve_error(d, c);
		break;
	case COMMAND_FETCH:
		data_read_start(d, c);
		break;
	case COMMAND_CONSUMED:
		data_read_consumed(d, c->channel, c->count);
		break;
	case COMMAND_STOP:
		data_read_stop(d, c->channel, c->error);
		break;
	case COMMAND_GIVE:
		data_read_give(d, c);
		break;
	case COMMAND_QUIT:
		close_sockets(d);
		uv_close((uv_handle_t *)&d->tick, d->threaded ? NULL : drop_ref);
		if (d->threaded)
			uv_close((uv_handle_t *)&d->commands.bell.poll, NULL);
		else
			uv_close((uv_handle_t *)&d->commands.turn, drop_ref);
		break;
	}
	free(c->text);
}

static void run_commands(struct data *d)
{
	struct command *items;
	size_t count;

	pthread_mutex_lock(&d->commands.lock);
	items = d->commands.items;
	count = d->commands.count;
	d->commands.items = NULL;
	d->commands.count = d->commands.cap = 0;
	pthread_mutex_unlock(&d->commands.lock);
	for (size_t i = 0; i < count; i++)
		run_command(d, &items[i]);
	data_flush(d, NULL, 0);
	free(items);
}

static void on_commands(uv_poll_t *poll, int status, int events)
{
	struct data *d = poll->data;

	(void)status;
	(void)events;
	os_bell_hush(d->commands.bell.fd);
	run_commands(d);
}

static void on_turn(uv_idle_t *turn)
{
	uv_idle_stop(turn);
	run_commands(turn->data);
}

static void *run_thread(void *arg)
{
	struct data *d = arg;

	uv_run(&d->own_loop, UV_RUN_DEFAULT);
	uv_loop_close(&d->own_loop);
	return NULL;
}

/* What of it there may be too few descriptors for; DAG_ELIMIT with errno. */
static int open_bells(struct data *d, bool threaded)
{
	d->commands.bell.fd = threaded ? os_bell_new() : -1;
	d->events.bell.fd = os_bell_new();
	if (d->events.bell.fd >= 0 && (!threaded || d->commands.bell.fd >= 0) &&
		(!threaded || uv_loop_init(&d->own_loop) == 0))
		return 0;
	if (d->commands.bell.fd >= 0)
		close(d->commands.bell.fd);
	if (d->events.bell.fd >= 0)
		close(d->events.bell.fd);
	return DAG_ELIMIT;
}

static int start_thread(struct data *d)
{
	errno = pthread_create(&d->thread, NULL, run_thread, d);
	d->started = errno == 0;
	return d->started ? 0 : DAG_ELIMIT;
}

int data_new(uv_loop_t *loop, const struct wire_keys *keys, const char *endpoint, bool threaded,
	data_event_fn *on_event, void *ctx, struct data **ret_data, char **ret_endpoint)
{
	struct data *d = base_alloc(sizeof(*d));
	int r = open_bells(d, threaded);

	if (r < 0) {
		free(d);
		return r;
	}
	d->owner_loop = loop;
	d->before = hash_state_new();
	d->threaded = threaded;
	d->loop = threaded ? &d->own_loop : loop;
	d->keys = keys;
	d->on_event = on_event;
	d->ctx = ctx;
	pthread_mutex_init(&d->commands.lock, NULL);
	pthread_mutex_init(&d->events.lock, NULL);
	if (threaded) {
		bell_hang(&d->commands.bell, d->loop, on_commands, d);
	} else {
		uv_idle_init(loop, &d->commands.turn);
		d->commands.turn.data = d;
	}
	bell_hang(&d->events.bell, loop, data_on_events, d);
	uv_timer_init(d->loop, &d->tick);
	d->tick.data = d;
	d->refs = threaded ? 1 : 3;
	uv_timer_start(&d->tick, on_tick, DATA_TICK_MS, DATA_TICK_MS);
	wire_loop_new(&d->wire, d->loop);
	d->local = endpoint && wire_is_inproc(endpoint);
	if (keys && !d->local)
		seal_new(&d->seal);
	if (endpoint)
		r = data_serve_at(d, endpoint, ret_endpoint);
	if (r == 0 && threaded)
		r = start_thread(d);
	if (r < 0) {
		int error = errno;

		data_destroy(&d);
		errno = error;
		return r;
	}
	*ret_data = d;
	return 0;
}

void data_destroy(struct data **data)
{
	struct data *d = *data;

	if (!d)
		return;
	pthread_mutex_lock(&d->events.lock);
	d->events.closed = true;
	pthread_mutex_unlock(&d->events.lock);
	if (d->started) {
		post_command(d, &(struct command){.kind = COMMAND_QUIT});
		pthread_join(d->thread, NULL);
	} else if (d->threaded) { /* it has a loop, and no thread came to run it */
		run_command(d, &(struct command){.kind = COMMAND_QUIT});
		run_thread(d);
	} else {
		run_commands(d);
		run_command(d, &(struct command){.kind = COMMAND_QUIT});
	}
	uv_close((uv_handle_t *)&d->events.bell.poll, drop_ref);
	*data = NULL;
}

void data_lend(struct data *d)
{
	d->lends = true;
}

void data_send_block(struct data *d, const struct data_peer *peer, const struct block_header *header,
	const void *bytes, void *pin)
{
	post_command(d, &(struct command){.kind = COMMAND_SEND_BLOCK,
				.peer = *peer,
				.header = *header,
				.bytes = bytes,
				.pin = pin});
}

void data_send_end(struct data *d, const struct data_peer *peer, uint64_t blocks,
	const struct channel_end *end, bool checked)
{
	post_command(d, &(struct command){.kind = COMMAND_SEND_END,
				.peer = *peer,
				.count = blocks,
				.end = *end,
				.checked = checked});
}

void data_send_error(struct data *d, const struct data_peer *peer, int error, const char *text)
{
	post_command(d, &(struct command){.kind = COMMAND_SEND_ERROR,
				.peer = *peer,
				.error = error,
				.text = base_strdup(text)});
}

void data_fetch(struct data *d, uint64_t channel, const char *endpoint, const struct data_open *open)
{
	post_command(d, &(struct command){.kind = COMMAND_FETCH,
				.channel = channel,
				.open = *open,
				.text = base_strdup(endpoint)});
}

void data_consumed(struct data *d, uint64_t channel, uint64_t bytes)
{
	post_command(d, &(struct command){.kind = COMMAND_CONSUMED, .channel = channel, .count = bytes});
}

void data_stop(struct data *d, uint64_t channel, bool failed)
{
	post_command(d, &(struct command){
				.kind = COMMAND_STOP, .channel = channel, .error = failed ? DAG_EFAILED : 0});
}

void data_give_segment(struct data *d, uint32_t segment, void *base, uint64_t size)
{
	post_command(
		d, &(struct command){.kind = COMMAND_GIVE, .segment = segment, .base = base, .count = size});
}
