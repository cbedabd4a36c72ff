/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said between the daemon and its hosts. What a host is told goes out once a round of the loop, in
 * packets; what it says comes as messages and as ends in the ring that it shares with us, in one order.
 */
#include "node.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define STUCK_TICKS 5u        /* of the daemon's, that an end may wait for messages before it */
#define SILENT_TICKS 2u       /* that a host may take to end when its socket has */
#define GRANTS_UNREAD 64u     /* segments that a host has asked for and not taken */
#define OUT_MAX (1u << 16)    /* packets for a host that does not read */
#define SKIPPED_LEN_MAX 1024u /* bytes of a bad record that are told */

/* ---- what it says ---- */

/* A host that breaks the rules: what it has is not believed any more. */
static void break_off(struct host *host, const char *misdeed)
{
	if (!host->misdeed)
		host->misdeed = misdeed;
	host_kill(host);
}

static struct attempt *find_task(struct host *host, uint32_t task)
{
	for (size_t i = 0; i < host->task_count; i++)
		if (host->tasks[i]->task == task)
			return host->tasks[i];
	return NULL;
}

static void refuse_segment(struct host *host, int error)
{
	struct host_msg msg = {.kind = HOST_GRANT, .u.segment.error = error};

	if (error != DAG_ELIMIT) {
		free(host->refused);
		host->refused = base_strdup(spool_trouble(host->daemon->spool));
	}
	host_send_msg(host, &msg, NULL, 0, -1);
}

static void on_segment(void *ctx, struct spool_segment *segment, int error)
{
	struct host *host = ctx;
	struct host_msg msg = {.kind = HOST_GRANT};

	if (error) {
		refuse_segment(host, error);
		return;
	}
	msg.u.segment.id = segment->id;
	msg.u.segment.size = segment->size;
	*DAG_APPEND(host->grants, host->grant_count, host->grant_cap) = segment;
	direct_granted(host, segment);
	host_send_segment(host, &msg, segment, true);
}

static void grant_segment(struct host *host, uint64_t size)
{
	if (++host->grants_unread > GRANTS_UNREAD)
		break_off(host, "it asks for segments and does not take them");
	else if (size > BLOCK_LEN_MAX * 2ull)
		refuse_segment(host, DAG_ELIMIT);
	else
		spool_ask(host->daemon->spool, size, on_segment, host);
}

static void retire_segment(struct host *host, uint32_t id)
{
	for (size_t i = 0; i < host->grant_count; i++)
		if (host->grants[i]->id == id) {
			struct spool_segment *segment = host->grants[i];

			host->grants[i] = host->grants[--host->grant_count];
			spool_unref(host->daemon->spool, segment);
			return;
		}
}

bool host_has_grant(const struct host *host, uint32_t segment)
{
	for (size_t i = 0; i < host->grant_count; i++)
		if (host->grants[i]->id == segment)
			return true;
	return false;
}

static void add_task(struct host *host, struct attempt *a)
{
	size_t gone = host->task_room ? (size_t)(host->tasks - host->task_room) : 0;

	if (gone + host->task_count == host->task_cap) {
		if (gone <= host->task_cap / 2) {
			host->task_cap = host->task_cap ? 2 * host->task_cap : 16;
			host->task_room =
				base_realloc(host->task_room, host->task_cap * sizeof(*host->task_room));
		}
		memmove(host->task_room, host->task_room + gone, host->task_count * sizeof(*host->task_room));
		host->tasks = host->task_room;
	}
	host->tasks[host->task_count++] = a;
}

/* It is mostly the first of them. */
void host_remove_task(struct host *host, struct attempt *a)
{
	for (size_t i = 0; i < host->task_count; i++)
		if (host->tasks[i] == a) {
			memmove(host->tasks + 1, host->tasks, i * sizeof(*host->tasks));
			host->tasks++;
			host->task_count--;
			a->host = NULL;
			return;
		}
}

static void on_live(struct host *host, struct attempt *a, const struct host_msg *msg,
	const struct block_ref *refs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!host_has_grant(host, refs[i].segment) ||
			!serve_append(a, msg->u.live.stream, msg->u.live.part, &refs[i])) {
			break_off(host, "it named a block that it has not");
			return;
		}
}

static void note_skipped(struct attempt *a, const struct host_msg *msg, const void *bytes, size_t len)
{
	Dagrun__Record *r;

	if (a->run->skipped_count == HOST_SKIPS_MAX) {
		break_off(a->host, "it skips more records than it may");
		return;
	}
	len = DAG_MIN(len, (size_t)SKIPPED_LEN_MAX);
	r = base_alloc(sizeof(*r));
	dagrun__record__init(r);
	r->port = msg->u.data.port;
	r->producer = msg->u.data.producer;
	r->number = msg->u.data.bytes;
	r->data.data = base_alloc(len + 1);
	r->data.len = len;
	memcpy(r->data.data, bytes, len);
	*DAG_APPEND(a->run->skipped, a->run->skipped_count, a->run->skipped_cap) = r;
}

/* The record that a plugin was at; programs read ahead, so theirs is not known. */
void host_note_position(struct host *host, struct attempt *a)
{
	if (a->job->stages[a->stage].spec->kind != GRAPH_PLUGIN || a->run->group_size > 1 ||
		!atomic_load(&host->status->reading) || atomic_load(&host->status->vertex) != a->key.vertex)
		return;
	a->run->at_record = true;
	a->run->at = (struct host_skip){atomic_load(&host->status->port),
		atomic_load(&host->status->producer), atomic_load(&host->status->record)};
}

/* The host begins the next one when it knows that all which was written before was read. */
static void say_heard(struct host *host)
{
	struct host_msg msg = {.kind = HOST_HEARD};

	host_send_msg(host, &msg, NULL, 0, -1);
}

static void on_done(
	struct host *host, struct attempt *a, const struct host_done *done, const void *tail, size_t tail_len)
{
	bool alone = a->run->group_size <= 1;

	if (done->errors || done->error)
		host_take_stderr(host, a);
	if (done->errors && alone)
		say_heard(host);
	/* It may be freed at its end: the host must have let go of it. */
	host_remove_task(host, a);
	if (done->error == DAG_EFAILED)
		host_note_position(host, a);
	if (!attempt_on_done(a, host, done, tail, tail_len))
		break_off(host, "the index of its outputs is damaged");
	if (done->error || host->isolate) {
		host->retiring = true;
		ahead_give_back(host);
	}
	ahead_begin_next(host);
	if (host->retiring && !host->task_count)
		host_kill(host);
}

static void on_message(struct host *host, const struct host_msg *msg, const void *tail, size_t tail_len)
{
	struct attempt *a;

	switch (msg->kind) {
	case HOST_READY:
		if (msg->u.ready.version != HOST_PROTO_VERSION)
			break_off(host, "it is of another version than its daemon");
		return;
	case HOST_SPACE:
		grant_segment(host, msg->u.segment.size);
		return;
	case HOST_RETIRE:
		retire_segment(host, msg->u.segment.id);
		return;
	}
	a = find_task(host, msg->task);
	if (!a) {
		if (msg->kind == HOST_DONE && msg->u.done.errors)
			say_heard(host);
		return;
	}
	switch (msg->kind) {
	case HOST_OPEN:
		input_open(a, msg->u.data.port, msg->u.data.producer, msg->u.data.count);
		break;
	case HOST_CONSUMED:
		input_consumed(a, msg->u.data.port, msg->u.data.producer, msg->u.data.bytes);
		break;
	case HOST_CLOSE:
		input_close(a, msg->u.data.port, msg->u.data.producer);
		break;
	case HOST_LIVE:
		on_live(host, a, msg, tail, tail_len / sizeof(struct block_ref));
		break;
	case HOST_SKIPPED:
		note_skipped(a, msg, tail, tail_len);
		break;
	case HOST_LOG:
		if (msg->u.log.note)
			job_log(a->job, a->key.vertex, tail, tail_len, msg->u.log.note);
		else
			attempt_log(a, tail, tail_len);
		break;
	case HOST_DONE:
		spool_look_anew(host->daemon->spool);
		on_done(host, a, &msg->u.done, tail, tail_len);
		job_run(host->job);
		break;
	}
}

/* Only where it changed: the host writes beside it for each record. */
static void tell_core(struct host *host)
{
	int core = host->cpus ? -1 : os_core();

	if (core != host->told_core)
		atomic_store(&host->status->daemon_core, host->told_core = core);
}

/* Those that were there when we looked: what they say of, had been written by then. */
static bool take_written(struct host *host, uint64_t received)
{
	uint32_t written = host_ring_written(host->status);
	struct host_ended ended;
	struct attempt *a;
	bool any = false;

	if (written - host->ring_taken > HOST_RING_SIZE) {
		break_off(host, "its ring of ends is damaged");
		return false;
	}
	spool_look_anew(host->daemon->spool);
	while (host->ring_taken != written && !host->misdeed &&
		host_ring_take(host->status, &host->ring_taken, received, &ended)) {
		a = find_task(host, ended.task);
		ended.done.error = 0;
		ended.done.counter_count = ended.done.errors = 0;
		if (a)
			on_done(host, a, &ended.done, NULL, 0);
		any = any || a;
	}
	return any;
}

/* Every end that the host had written before it sent the next message. */
static void take_ends(struct host *host, uint64_t received)
{
	bool any = false;

	tell_core(host);
	if (host->misdeed)
		return;
	while (take_written(host, received))
		any = true;
	if (!any)
		return;
	host->daemon->spoken = true;
	job_run(host->job);
}

void talk_hear_ends(struct host *host)
{
	if (!host->dead)
		take_ends(host, host->received);
}

void talk_hear(struct host *host)
{
	struct host_msg msg;
	const void *tail;
	size_t tail_len;
	int fd, r = 0;

	/* Bounded, so that one host does not keep the loop from the others; the poll is level-triggered. */
	for (int i = 0; i < 256 || host_packet_has_more(host->inbox); i++) {
		r = host_msg_recv(host->sock, host->inbox, &msg, &tail, &tail_len, &fd);
		if (r <= 0)
			break;
		if (fd >= 0)
			close(fd);
		if (host->misdeed)
			continue; /* until its end */
		host->daemon->spoken = true;
		take_ends(host, host->received++);
		on_message(host, &msg, tail, tail_len);
	}
	take_ends(host, host->received);
	host->silent = host->silent || r == DAG_ELOST;
	if (r == DAG_EPROTO)
		break_off(host, "what it says breaks the protocol");
}

/* An end that waits for messages before it, and none of them comes. */
static bool is_stuck(struct host *host)
{
	struct host_ended ended;
	uint32_t taken = host->ring_taken;

	return taken != host_ring_written(host->status) && taken == host->stuck_at &&
	       host->received == host->stuck_received &&
	       !host_ring_look(host->status, taken, host->received, &ended);
}

void talk_check(struct host *host)
{
	if (host->misdeed)
		return;
	host->stuck_ticks = is_stuck(host) ? host->stuck_ticks + 1 : 0;
	host->silent_ticks += host->silent && !host->ended;
	host->stuck_at = host->ring_taken;
	host->stuck_received = host->received;
	if (host->stuck_ticks > STUCK_TICKS)
		break_off(host, "an end waits for messages that do not come");
	else if (host->silent_ticks > SILENT_TICKS)
		break_off(host, "it has closed the connection to its daemon");
	else if (host->out_count > OUT_MAX)
		break_off(host, "it does not hear what its daemon says");
}

/* ---- what it is told ---- */

static void on_sock(uv_poll_t *poll, int status, int events);

static struct host_out *close_packet(struct host *host, int fd)
{
	struct host_out *o = DAG_APPEND(host->out, host->out_count, host->out_cap);

	o->len = host->packet->len;
	o->fd = fd;
	o->segment = NULL;
	o->bytes = base_alloc(o->len);
	memcpy(o->bytes, host->packet->bytes, o->len);
	host->packet->len = 0;
	return o;
}

void host_send_msg(struct host *host, const struct host_msg *msg, const void *tail, size_t tail_len, int fd)
{
	if (host->dead || host->silent || host->misdeed) {
		if (fd >= 0)
			close(fd);
		return;
	}
	host->daemon->spoken = true;
	if (!host_packet_add(host->packet, msg, tail, tail_len)) {
		talk_flush(host);
		if (host->packet->len)
			close_packet(host, -1);
		host_packet_add(host->packet, msg, tail, tail_len);
	}
	if (fd >= 0)
		close_packet(host, fd);
}

void host_send_segment(
	struct host *host, const struct host_msg *msg, struct spool_segment *segment, bool writable)
{
	struct host_out *o;

	if (host->dead || host->silent || host->misdeed)
		return;
	host_send_msg(host, msg, NULL, 0, -1);
	o = close_packet(host, -1);
	o->segment = segment;
	o->writable = writable;
	spool_ref(segment);
}

/* What goes with a segment's last reference may be told to hosts, this one too. */
static void free_out(struct host *host, size_t n)
{
	struct host_out *gone = n ? base_alloc(n * sizeof(*gone)) : NULL;

	if (!n)
		return;
	memcpy(gone, host->out, n * sizeof(*gone));
	host->out_count -= n;
	if (host->out_count)
		memmove(host->out, host->out + n, host->out_count * sizeof(*host->out));
	for (size_t i = 0; i < n; i++) {
		if (gone[i].fd >= 0)
			close(gone[i].fd);
		if (gone[i].segment)
			spool_unref(host->daemon->spool, gone[i].segment);
		free(gone[i].bytes);
	}
	free(gone);
}

/* Where many wait, they do not wait with as many descriptors. */
static int send_out(struct host *host, const struct host_out *o)
{
	int fd = o->segment ? spool_open(host->daemon->spool, o->segment, o->writable) : o->fd,
	    r = host_packet_send(host->sock, o->bytes, o->len, fd);

	if (o->segment && fd >= 0)
		close(fd);
	return r;
}

void talk_flush(struct host *host)
{
	size_t done = 0;

	if (host->silent || host->misdeed)
		return;
	/* What is left of a host that is gone, its end will show. */
	while (done < host->out_count && send_out(host, &host->out[done]) != DAG_EBUSY)
		done++;
	free_out(host, done);
	if (!host->out_count && host->packet->len &&
		host_packet_send(host->sock, host->packet->bytes, host->packet->len, -1) != DAG_EBUSY)
		host->packet->len = 0;
	if (!host->out_count && !host->packet->len)
		host->grants_unread = 0;
	if (host->silent || host->full == (host->out_count || host->packet->len))
		return;
	host->full = !host->full;
	uv_poll_start(&host->sock_poll, UV_READABLE | (host->full ? UV_WRITABLE : 0), on_sock);
}

void talk_forget(struct host *host)
{
	free_out(host, host->out_count);
	host->packet->len = 0;
}

/* Everything that is to be told goes before the loop sleeps. */
static void on_sock(uv_poll_t *poll, int status, int events)
{
	struct host *host = poll->data;

	if (status == 0 && (events & UV_READABLE))
		talk_hear(host);
	if (host->silent && !host->dead)
		uv_poll_stop(poll);
	host_hung_up(host);
}

void talk_begin(struct host *host)
{
	host->packet = base_alloc(sizeof(*host->packet));
	host->inbox = base_alloc(sizeof(*host->inbox));
	host->inbox->fd = -1;
	uv_poll_start(&host->sock_poll, UV_READABLE, on_sock);
}

/* ---- work ---- */

/* Most descriptions fit into a message; a longer one goes by a descriptor, which is kept for other hosts. */
static int send_stage(struct host *host, uint32_t id)
{
	const struct job_stage *stage = &host->job->stages[id];
	struct host_msg msg = {.kind = HOST_STAGE};
	struct buffer *tail = &host->tail;
	int fd = -1;

	if (host->stages[id])
		return 0;
	if (stage->like != id && send_stage(host, stage->like) < 0)
		return DAG_EBUSY;
	msg.u.stage.stage = id;
	msg.u.stage.like = stage->like;
	msg.u.stage.name_len = (uint32_t)strlen(stage->name);
	tail->len = 0;
	buffer_append(tail, stage->name, msg.u.stage.name_len);
	if (stage->like == id)
		stage_spec_encode(stage->spec, tail);
	msg.u.stage.size = tail->len - msg.u.stage.name_len;
	if (tail->len > HOST_TAIL_MAX) {
		tail->len = msg.u.stage.name_len;
		fd = stage_spec_fd(&host->job->stages[id]);
		fd = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (fd < 0)
			return DAG_EBUSY;
	}
	host_send_msg(host, &msg, tail->data, tail->len, fd);
	host->stages[id] = 1;
	return 0;
}

static void send_start(struct host *host, struct attempt *a, size_t group_size)
{
	struct host_msg msg = {.kind = HOST_START, .task = a->task};
	struct buffer *tail = &host->tail, *given = &host->given;
	uint32_t room = group_size == 1 ? HOST_GIVEN_MAX : 0;

	tail->len = given->len = 0;
	msg.u.start.stage = a->stage;
	msg.u.start.index = a->index;
	msg.u.start.width = a->run->width;
	msg.u.start.attempt = a->key.number;
	msg.u.start.epoch = host->job->epoch;
	msg.u.start.vertex = a->key.vertex;
	msg.u.start.group_size = (uint32_t)group_size;
	msg.u.start.in_ports = a->input_count;
	msg.u.start.skip_count = a->run->skip_count;
	msg.u.start.argument_len = a->run->argument_len;
	for (uint32_t p = 0; p < a->input_count; p++) {
		const struct input_port *in = &a->inputs[p];
		struct host_port port = {in->count, 0, in->stream, in->part};

		port.flags = in->channel == GRAPH_PIPE   ? HOST_PORT_LIVE
			     : in->channel == GRAPH_FIFO ? HOST_PORT_FIFO
			     : in->sources               ? HOST_PORT_FILES
							 : 0;
		if (a->run->behind && a->run->behind->host == host && in->count == 1 && !in->sources &&
			in->vertices[0] == a->run->behind->key.vertex) {
			port.flags = HOST_PORT_CHAINED;
			buffer_append(given, &(struct block_ref){.segment = a->run->behind->task},
				sizeof(struct block_ref));
		} else if (in->count && input_give(a, p, room, given)) {
			port.flags = HOST_PORT_GIVEN;
			room -= in->count;
		}
		buffer_append(tail, &port, sizeof(port));
	}
	buffer_append(tail, a->run->skips, a->run->skip_count * sizeof(*a->run->skips));
	buffer_append(tail, a->run->argument, a->run->argument_len);
	buffer_append(tail, (char[8]){0}, host_padding(a->run->argument_len));
	for (uint32_t p = 0; p < a->input_count; p++)
		if (a->inputs[p].channel == GRAPH_FIFO)
			buffer_append(tail, a->inputs[p].vertices, a->inputs[p].count * sizeof(uint32_t));
	buffer_append(tail, given->data, given->len);
	host_send_msg(host, &msg, tail->data, tail->len, -1);
}

int host_run(struct host *host, struct attempt **attempts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (send_stage(host, attempts[i]->stage) < 0)
			return DAG_EBUSY;
	if (!attempts[0]->ahead) {
		if (n > 1)
			excerpt_clear(&host->errors);
		host_limit(host, attempts, n);
	}
	for (size_t i = 0; i < n; i++) {
		struct attempt *a = attempts[i];

		a->host = host;
		a->task = ++host->last_task;
		add_task(host, a);
		send_start(host, a, n);
	}
	if (n == 1)
		chain_follow(attempts[0]);
	return 0;
}

int host_show_segment(struct host *host, uint32_t id)
{
	struct host_msg msg = {.kind = HOST_SEGMENT};
	struct known_segment *k;
	struct spool_segment *segment;

	HASH_FIND(hh, host->known, &id, sizeof(id), k);
	if (k || host_has_grant(host, id))
		return 0;
	segment = spool_find(host->daemon->spool, id);
	if (!segment || !spool_is_there(host->daemon->spool, segment))
		return DAG_EMISSING;
	msg.u.segment.id = id;
	msg.u.segment.size = segment->size;
	host_send_segment(host, &msg, segment, false);
	k = base_alloc(sizeof(*k));
	k->id = id;
	HASH_ADD(hh, host->known, id, sizeof(k->id), k);
	return 0;
}

void host_forget_segment(struct daemon *d, uint32_t segment)
{
	struct host_msg msg = {.kind = HOST_DROP};

	msg.u.segment.id = segment;
	for (struct host *h = d->hosts; h; h = h->next) {
		struct known_segment *k;

		HASH_FIND(hh, h->known, &segment, sizeof(segment), k);
		if (k) {
			HASH_DEL(h->known, k);
			free(k);
		}
		/* It may have been granted and retired, which also left it mapped. */
		host_send_msg(h, &msg, NULL, 0, -1);
	}
}
