/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channels that attempts on this node read. Whatever the other end is, the host is told one of three
 * things: read this sealed part, read these blocks as they come, or read this file.
 */
#include "node.h"
#include "channel/core/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOURCE_REQUEST (256u << 10)
#define SOURCE_WINDOW (2u << 20)
#define SOURCES 16u /* of a port, which may each bring so much before it is read */

static void send_channel(struct attempt *a, struct host_msg *msg, uint32_t port, uint32_t producer, int fd)
{
	msg->kind = HOST_CHANNEL;
	msg->task = a->task;
	msg->u.channel.port = port;
	msg->u.channel.producer = producer;
	if (a->host)
		host_send_msg(a->host, msg, NULL, 0, fd);
	else if (fd >= 0)
		close(fd);
}

static struct input_channel *new_channel(struct attempt *a, uint32_t port, uint32_t producer)
{
	struct input_channel *ch = base_alloc(sizeof(*ch));

	ch->reader = a;
	ch->port = port;
	ch->producer = producer;
	a->inputs[port].channels[producer] = ch;
	return ch;
}

/* One whose data comes from elsewhere, and says by this number what it is for. */
static struct input_channel *new_fetch(struct attempt *a, uint32_t port, uint32_t producer)
{
	struct daemon *d = a->job->daemon;
	struct input_channel *ch = new_channel(a, port, producer);

	ch->number = ++d->last_fetch;
	HASH_ADD(hh, d->fetches, number, sizeof(ch->number), ch);
	return ch;
}

void input_push_error(struct attempt *a, uint32_t port, uint32_t producer, int error, const char *text)
{
	struct host_msg msg = {.kind = HOST_CHANNEL, .task = a->task};

	msg.u.channel.port = port;
	msg.u.channel.producer = producer;
	msg.u.channel.kind = HOST_CHANNEL_ERROR;
	msg.u.channel.error = error;
	if (a->host)
		host_send_msg(a->host, &msg, text, strlen(text), -1);
}

void input_push_block(struct input_channel *ch, const struct block_ref *ref)
{
	struct attempt *a = ch->reader;
	struct host_msg msg = {.kind = HOST_BLOCKS, .task = a->task};

	if (!a->host)
		return;
	if (host_show_segment(a->host, ref->segment) < 0) {
		input_push_error(a, ch->port, ch->producer, DAG_EMISSING, "a segment of the channel is gone");
		return;
	}
	msg.u.data.port = ch->port;
	msg.u.data.producer = ch->producer;
	msg.u.data.count = 1;
	host_send_msg(a->host, &msg, ref, sizeof(*ref), -1);
}

void input_push_end(struct input_channel *ch, const struct channel_end *end, bool checked)
{
	struct host_msg msg = {.kind = HOST_END, .task = ch->reader->task};

	msg.u.data.port = ch->port;
	msg.u.data.producer = ch->producer;
	msg.u.data.end = *end;
	msg.u.data.checked = checked;
	if (ch->reader->host)
		host_send_msg(ch->reader->host, &msg, NULL, 0, -1);
}

/* ---- inputs of the job ---- */

/* What each of many may bring before it is read shrinks with their number. */
static uint64_t source_window(const struct input_port *in)
{
	return SOURCE_WINDOW / DAG_MIN(DAG_MAX(in->count / SOURCES, 1u), SOURCE_WINDOW / SOURCE_REQUEST);
}

/* Behind the split's length there is nothing more than the rest of a record, which is asked for last. */
static bool wants_source(const struct input_channel *ch)
{
	const struct input_port *in = &ch->reader->inputs[ch->port];

	return !ch->source_last && ch->outstanding + ch->bytes - ch->consumed < ch->window &&
	       (!ch->outstanding || ch->position < in->sources[ch->producer].length);
}

static void request_source(struct input_channel *ch)
{
	struct attempt *a = ch->reader;

	while (wants_source(ch)) {
		Dagrun__SourceRequest m = DAGRUN__SOURCE_REQUEST__INIT;
		SESSION_ENVELOPE(e, SOURCE_REQUEST);

		if (!a->job->manager)
			return;
		m.channel = ch->number;
		m.vertex = a->inputs[ch->port].vertices[ch->producer];
		m.position = ch->position;
		m.length = SOURCE_REQUEST;
		e.source_request = &m;
		session_send(a->job->manager, &e);
		ch->position += SOURCE_REQUEST;
		ch->outstanding += SOURCE_REQUEST;
	}
}

static void open_source(struct attempt *a, uint32_t port, uint32_t producer)
{
	const struct attempt_source *s = &a->inputs[port].sources[producer];
	struct host_msg msg = {0};
	struct stat st;
	/* Without waiting, where a named pipe stands in its place now. */
	int fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool same;

	if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
		input_push_error(a, port, producer, DAG_EBUSY,
			"the node's daemon has no descriptor left to open the input file; raise its limit "
			"with: ulimit -n");
		return;
	}
	same = fd >= 0 && fstat(fd, &st) == 0 && (uint64_t)st.st_size == s->size &&
	       st.st_mtim.tv_sec * DAG_SECOND + st.st_mtim.tv_nsec == s->mtime_ns &&
	       (s->shared || st.st_ino == s->inode);
	if (same) {
		msg.u.channel.kind = HOST_CHANNEL_SOURCE;
		msg.u.channel.offset = s->offset;
		msg.u.channel.length = s->length;
		msg.u.channel.size = s->size;
		msg.u.channel.mtime_ns = s->mtime_ns;
		send_channel(a, &msg, port, producer, fd);
		return;
	}
	if (fd >= 0)
		close(fd);
	/* Not at hand here, or another file of that name: the submitting machine has it, or says what is
	 * wrong. */
	msg.u.channel.kind = HOST_CHANNEL_LIVE;
	msg.u.channel.raw = 1;
	msg.u.channel.step = host_consumed_step(source_window(&a->inputs[port]));
	send_channel(a, &msg, port, producer, -1);
	struct input_channel *ch = new_fetch(a, port, producer);

	ch->source = true;
	ch->window = source_window(&a->inputs[port]);
	request_source(ch);
}

/* end: bytes of the channel up to and with it. */
static void keep_block(struct input_channel *ch, struct spool_segment *segment, uint64_t end)
{
	spool_ref(segment);
	*DAG_APPEND(ch->blocks, ch->count, ch->cap) = (struct fetched_block){segment, end};
}

void input_ask_again(struct job *job)
{
	struct input_channel *ch, *next;

	HASH_ITER(hh, job->daemon->fetches, ch, next) {
		if (!ch->source || ch->reader->job != job)
			continue;
		ch->outstanding = 0;
		ch->position = ch->bytes;
		request_source(ch);
	}
}

/* Nothing more of it is told. */
static void fail_source(struct input_channel *ch, int error, const char *text)
{
	ch->source_last = ch->source_failed = true;
	input_push_error(ch->reader, ch->port, ch->producer, error, text);
}

void input_on_source(struct job *job, const Dagrun__SourceData *m)
{
	struct daemon *d = job->daemon;
	uint64_t number = m->channel;
	struct input_channel *ch;

	HASH_FIND(hh, d->fetches, &number, sizeof(number), ch);
	if (!ch || !ch->source || ch->source_last || ch->reader->job != job)
		return;
	if (m->error) {
		fail_source(ch, m->error, m->text);
		return;
	}
	/* They come in their order. What goes beyond was asked for by nobody: the reader must not wait. */
	if (!ch->outstanding || m->position != ch->bytes || m->data.len > SOURCE_REQUEST ||
		(m->data.len < SOURCE_REQUEST && !m->last)) {
		fail_source(ch, DAG_EPROTO,
			"the submitting machine sent other bytes of an input than were asked for");
		return;
	}
	ch->outstanding -= DAG_MIN(ch->outstanding, (uint64_t)SOURCE_REQUEST);
	ch->bytes += m->data.len;
	ch->source_last = m->last;
	stash_put(d, ch, m->data.data, (uint32_t)m->data.len, m->last);
}

void input_on_stashed(struct input_channel *ch, struct spool_segment *segment, const struct block_ref *place,
	uint64_t end, bool last)
{
	if (ch->source_failed)
		return;
	if (place->length) {
		keep_block(ch, segment, end);
		input_push_block(ch, place);
	}
	if (last)
		input_push_end(ch, &(struct channel_end){0}, false);
	else
		request_source(ch);
}

void input_on_not_stashed(struct input_channel *ch, const char *text)
{
	if (!ch->source_failed)
		fail_source(ch, DAG_ENOSPC, text);
}

/* ---- channels ---- */

static void release_consumed(struct input_channel *ch, uint64_t bytes)
{
	struct spool *spool = ch->reader->job->daemon->spool;

	while (ch->first < ch->count && ch->blocks[ch->first].end <= bytes)
		spool_unref(spool, ch->blocks[ch->first++].segment);
	if (ch->first == ch->count)
		ch->first = ch->count = 0;
}

/* failed: it may come again, in another attempt. */
static void stop_reading(struct input_channel *ch, bool failed)
{
	const struct input_port *in = &ch->reader->inputs[ch->port];

	if (ch->live_local)
		serve_detach_local(ch, in->stream, input_part(in, ch->producer), failed);
	if (ch->fetching)
		data_stop(ch->reader->job->daemon->data, ch->number, failed);
	ch->live_local = ch->fetching = false;
}

static void free_channel(struct input_channel *ch)
{
	struct attempt *a = ch->reader;
	struct input_port *in = &a->inputs[ch->port];

	stop_reading(ch, a->state != ATTEMPT_SEALED);
	release_consumed(ch, UINT64_MAX);
	free(ch->blocks);
	if (ch->number)
		HASH_DEL(a->job->daemon->fetches, ch);
	in->channels[ch->producer] = NULL;
	if (ch->producer_attempt)
		attempt_unpin(ch->producer_attempt);
	free(ch);
}

static void close_port(struct input_port *in)
{
	for (uint32_t i = 0; i < in->count; i++)
		if (in->channels && in->channels[i])
			free_channel(in->channels[i]);
}

/* The host gets all segments that the part lies in; the producer stays as long as it is read. */
static int show_sealed(struct attempt *a, uint32_t port, uint32_t producer, struct attempt *from)
{
	struct input_port *in = &a->inputs[port];
	const struct index_part *part = attempt_part(from, in->stream, input_part(in, producer));
	const struct block_ref *blocks = attempt_view(from).blocks;
	struct input_channel *ch;
	uint32_t last = 0;
	int r = part ? 0 : DAG_EMISSING;

	if (r == 0)
		r = host_show_segment(a->host, attempt_segment(from, 0)->id);
	for (uint32_t i = 0; r == 0 && i < part->block_count; i++) {
		uint32_t id = blocks[part->first_block + i].segment;

		if (id != last)
			r = host_show_segment(a->host, id);
		last = id;
	}
	if (r < 0)
		return r;
	ch = new_channel(a, port, producer);
	ch->producer_attempt = from;
	attempt_pin(from);
	return 0;
}

static struct attempt *find_sealed(const struct attempt *a, const struct input_port *in, uint32_t producer)
{
	struct attempt *from = attempt_find(a->job, in->vertices[producer], in->attempts[producer]);

	return from && from->state == ATTEMPT_SEALED && !from->discarded ? from : NULL;
}

static void open_sealed(struct attempt *a, uint32_t port, uint32_t producer, struct attempt *from)
{
	struct input_port *in = &a->inputs[port];
	struct host_msg msg = {0};

	if (show_sealed(a, port, producer, from) < 0) {
		input_push_error(a, port, producer, DAG_EMISSING, "the producer's segments are gone");
		return;
	}
	msg.u.channel.kind = HOST_CHANNEL_SEALED;
	msg.u.channel.index = from->place;
	msg.u.channel.stream = in->stream;
	msg.u.channel.part = input_part(in, producer);
	send_channel(a, &msg, port, producer, -1);
}

bool input_give(struct attempt *a, uint32_t port, uint32_t most, struct buffer *tail)
{
	struct input_port *in = &a->inputs[port];
	struct attempt *from[HOST_GIVEN_MAX];

	if (in->sources || in->channel != GRAPH_FILE || in->parts > 1 ||
		in->count > DAG_MIN(most, HOST_GIVEN_MAX))
		return false;
	for (uint32_t i = 0; i < in->count; i++) {
		from[i] = in->nodes[i] == a->job->own_node ? find_sealed(a, in, i) : NULL;
		if (!from[i] || in->channels[i])
			return false;
	}
	/* Where one fails, the host asks, and is told what is wrong. */
	for (uint32_t i = 0; i < in->count; i++)
		if (show_sealed(a, port, i, from[i]) < 0) {
			close_port(in);
			return false;
		}
	for (uint32_t i = 0; i < in->count; i++)
		buffer_append(tail, &from[i]->place, sizeof(from[i]->place));
	return true;
}

void input_follow(struct attempt *a, struct attempt *from)
{
	DAG_ASSERT(!a->run->followed);
	a->run->followed = from;
	attempt_pin(from);
}

static void open_remote(struct attempt *a, uint32_t port, uint32_t producer, const struct job_peer *peer)
{
	struct input_port *in = &a->inputs[port];
	struct data_open open = {.vertex = in->vertices[producer],
		.attempt = in->attempts[producer],
		.stream = in->stream,
		.part = input_part(in, producer),
		.reader = a->key.vertex,
		.reader_port = port,
		.live = in->channel == GRAPH_PIPE,
		.credit = a->job->daemon->fetch_window /
			  DAG_MIN(DAG_MAX(in->count / FETCHES, 1u), HOST_OPEN_AHEAD / FETCHES)};
	struct host_msg msg = {0};
	struct input_channel *ch = new_fetch(a, port, producer);

	ch->fetching = true;
	ch->window = open.credit;
	strncpy(open.job, a->job->id, sizeof(open.job) - 1);
	msg.u.channel.kind = HOST_CHANNEL_LIVE;
	msg.u.channel.step = host_consumed_step(open.credit);
	send_channel(a, &msg, port, producer, -1);
	data_fetch(a->job->daemon->data, ch->number, peer->data, &open);
}

static void open_one(struct attempt *a, uint32_t port, uint32_t producer)
{
	struct job *job = a->job;
	struct input_port *in = &a->inputs[port];
	struct attempt *from;
	uint32_t node;

	if (in->channels[producer])
		return;
	if (in->sources) {
		open_source(a, port, producer);
		return;
	}
	node = in->nodes[producer];
	if (node != job->own_node) {
		if (node < job->peer_count && job->peers[node].data)
			open_remote(a, port, producer, &job->peers[node]);
		else
			input_push_error(a, port, producer, DAG_EUNREACHABLE,
				"the node that holds the data is not known here");
		return;
	}
	if (in->channel == GRAPH_PIPE) {
		struct input_channel *ch = new_channel(a, port, producer);
		struct host_msg msg = {0};

		ch->live_local = true;
		msg.u.channel.kind = HOST_CHANNEL_LIVE;
		msg.u.channel.step = host_consumed_step(HOST_WINDOW_MIN);
		send_channel(a, &msg, port, producer, -1);
		serve_attach_local(job, ch,
			(struct attempt_key){in->vertices[producer], in->attempts[producer]}, in->stream,
			input_part(in, producer));
		return;
	}
	from = find_sealed(a, in, producer);
	if (from)
		open_sealed(a, port, producer, from);
	else
		input_push_error(a, port, producer, DAG_EMISSING, "the producer's output is not here");
}

void input_open(struct attempt *a, uint32_t port, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; port < a->input_count && first < a->inputs[port].count &&
			     i < DAG_MIN(count, a->inputs[port].count - first);
		i++)
		open_one(a, port, first + i);
}

static struct input_channel *find_channel(struct attempt *a, uint32_t port, uint32_t producer)
{
	if (port >= a->input_count || producer >= a->inputs[port].count)
		return NULL;
	return a->inputs[port].channels[producer];
}

void input_consumed(struct attempt *a, uint32_t port, uint32_t producer, uint64_t bytes)
{
	struct input_channel *ch = find_channel(a, port, producer);

	if (!ch)
		return;
	if (ch->live_local) {
		serve_consumed_local(
			ch, a->inputs[port].stream, input_part(&a->inputs[port], producer), bytes);
		return;
	}
	bytes = DAG_MIN(bytes, ch->bytes);
	release_consumed(ch, bytes);
	ch->consumed = bytes;
	if (ch->source)
		request_source(ch);
	/* The mover would do nothing with what is not: it is not woken for it. */
	if (ch->fetching && fetch_is_due(ch->window, ch->told, bytes)) {
		ch->told = bytes;
		data_consumed(a->job->daemon->data, ch->number, bytes);
	}
}

/*
 * A sealed or fetched channel may still be mapped where the host reads; it stays until the attempt ends. A
 * pipe's producer must hear at once. A pipe that was never opened is opened, so that its closing counts.
 */
void input_close(struct attempt *a, uint32_t port, uint32_t producer)
{
	struct input_channel *ch = find_channel(a, port, producer);

	if (!ch && port < a->input_count && producer < a->inputs[port].count &&
		a->inputs[port].channel == GRAPH_PIPE) {
		open_one(a, port, producer);
		ch = find_channel(a, port, producer);
	}
	if (ch)
		stop_reading(ch, false);
}

void input_close_all(struct attempt *a)
{
	for (uint32_t p = 0; p < a->input_count; p++)
		close_port(&a->inputs[p]);
	if (a->run && a->run->followed) {
		attempt_unpin(a->run->followed);
		a->run->followed = NULL;
	}
}

/* What a pipe brings is its gang's: the job manager ends it. */
void input_peer_gone(struct job *job, uint32_t peer)
{
	struct input_channel *ch, *next;

	HASH_ITER(hh, job->daemon->fetches, ch, next) {
		const struct input_port *in = &ch->reader->inputs[ch->port];

		if (ch->reader->job != job || !ch->fetching || in->nodes[ch->producer] != peer ||
			in->channel == GRAPH_PIPE)
			continue;
		stop_reading(ch, true);
		input_push_error(ch->reader, ch->port, ch->producer, DAG_EUNREACHABLE,
			"the node that holds the data is gone");
	}
}

/* ---- what the mover brings ---- */

static void on_wanted_segment(void *ctx, struct spool_segment *segment, int error)
{
	struct daemon *d = ctx;

	if (!error && !spool_map(d->spool, segment)) {
		spool_unref(d->spool, segment);
		error = DAG_ENOSPC;
	}
	if (error)
		data_give_segment(d->data, 0, NULL, 0);
	else
		data_give_segment(d->data, segment->id, segment->base, segment->size);
}

void input_segment_wanted(struct daemon *d, uint64_t bytes)
{
	spool_ask(d->spool, DAG_MAX(bytes, 4ull << 20), on_wanted_segment, d);
}

void input_on_data(struct daemon *d, const struct data_event *event)
{
	struct input_channel *ch;
	struct spool_segment *segment;

	if (event->kind == DATA_SEGMENT_FULL) {
		segment = spool_find(d->spool, event->ref.segment);
		if (segment)
			spool_unref(d->spool, segment);
		return;
	}
	HASH_FIND(hh, d->fetches, &event->channel, sizeof(event->channel), ch);
	if (!ch || !ch->fetching)
		return;
	if (event->kind == DATA_BLOCK) {
		ch->bytes += event->ref.length;
		keep_block(ch, spool_find(d->spool, event->ref.segment), ch->bytes);
		input_push_block(ch, &event->ref);
	} else if (event->kind == DATA_END) {
		input_push_end(ch, &event->end, event->checked);
	} else if (event->kind == DATA_FAILED) {
		input_push_error(ch->reader, ch->port, ch->producer, event->error,
			event->error == DAG_ENOSPC ? spool_trouble(d->spool) : event->text);
	}
}
