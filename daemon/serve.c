/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channels that are read from attempts on this node. A reader here is given places in segments; a reader
 * on another node is sent bytes, as far as its credit goes. Sealed streams are read from the index, live ones
 * from a struct live_part, which decides.
 */
#include "node.h"
#include "os/os.h"

#include <utlist.h>

#define WAITING_MAX 65536u      /* readers on other nodes, of attempts that have not come here */
#define KEEP_AT_ONCE (8u << 20) /* of a pipe's blocks that were read */
#define KEEP_EACH_MS (64u << 10)
#define WAITING_READERS_MAX 100000u /* of a job, whose producers have not started */

/* A send in flight: ZeroMQ reads from the segment until it says that it has done. */
struct send_pin {
	struct daemon *daemon;
	struct attempt *attempt;
	struct spool_segment *segment;
};

/* The blocks of an attempt's pipes that stay, though they were read. */
struct kept {
	struct attempt *attempt;
	uint64_t bytes, allowed;
	dag_instant at;
	struct kept *prev, *next;
};

static void keep_pipes(struct attempt *a)
{
	if (a->kept)
		return;
	a->kept = base_alloc(sizeof(*a->kept));
	*a->kept = (struct kept){.attempt = a, .allowed = KEEP_AT_ONCE};
	DL_APPEND(a->job->daemon->keepers, a->kept);
}

void serve_init_streams(struct attempt *a, const uint32_t *readers)
{
	const struct stage_spec *spec = a->job->stages[a->stage].spec;

	a->stream_count = spec->stream_count;
	a->streams = a->stream_count > 1 ? base_alloc(a->stream_count * sizeof(*a->streams)) : &a->stream;
	for (uint32_t i = 0; i < a->stream_count; i++) {
		struct live_stream *s = &a->streams[i];

		s->part_count = spec->streams[i].parts;
		if (spec->streams[i].channel != GRAPH_PIPE)
			continue;
		s->parts = base_alloc(s->part_count * sizeof(*s->parts));
		for (uint32_t p = 0; p < s->part_count; p++)
			live_init(&s->parts[p], readers[i],
				spec->streams[i].elastic ? UINT64_MAX : host_pipe_window(s->part_count));
		keep_pipes(a);
	}
}

/* ---- pipes that are kept from their first block ---- */

static void release_blocks(struct attempt *a, struct live_part *lp)
{
	struct spool *spool = a->job->daemon->spool;
	struct block_ref ref;

	while (live_release(lp, &ref)) {
		struct spool_segment *s = spool_find(spool, ref.segment);

		if (s)
			spool_unref(spool, s);
	}
}

/* What its readers have read may go. */
static void let_go(struct attempt *a)
{
	struct daemon *d = a->job->daemon;

	if (!a->kept)
		return;
	DL_DELETE(d->keepers, a->kept);
	d->kept_bytes -= a->kept->bytes;
	free(a->kept);
	a->kept = NULL;
	for (uint32_t i = 0; i < a->stream_count; i++)
		for (uint32_t p = 0; a->streams[i].parts && p < a->streams[i].part_count; p++) {
			a->streams[i].parts[p].kept = false;
			release_blocks(a, &a->streams[i].parts[p]);
		}
}

static void go_direct(struct attempt *a)
{
	for (uint32_t i = 0; i < a->stream_count; i++)
		for (uint32_t p = 0; a->streams[i].parts && p < a->streams[i].part_count; p++)
			direct_begin(a, i, p, &a->streams[i].parts[p]);
}

/*
 * A fresh page costs ten times a recycled one, so what is kept may grow only as fast as nobody notices: a
 * pipe that is faster is recycled from then on.
 */
static void keep(struct attempt *a, uint64_t bytes)
{
	struct daemon *d = a->job->daemon;
	struct kept *k = a->kept;
	dag_instant now;

	if (!k)
		return;
	now = os_now();
	k->bytes += bytes;
	d->kept_bytes += bytes;
	k->allowed += (uint64_t)((now - k->at) / DAG_MS) * KEEP_EACH_MS;
	k->allowed = DAG_MIN(k->allowed, (uint64_t)KEEP_AT_ONCE);
	k->at = now;
	if (k->allowed < bytes) {
		let_go(a);
		go_direct(a);
	} else
		k->allowed -= bytes;
	while (d->keepers && d->kept_bytes > d->kept_max)
		let_go(d->keepers->attempt);
}

static struct live_part *find_live(struct attempt *a, uint32_t stream, uint32_t part)
{
	if (stream >= a->stream_count || part >= a->streams[stream].part_count || !a->streams[stream].parts)
		return NULL;
	return &a->streams[stream].parts[part];
}

static struct channel_end part_end(const struct attempt *a, uint32_t stream, uint32_t part, bool *ret_checked)
{
	const struct index_view view = attempt_view(a);
	const struct index_part *p = index_part(&view, stream, part);

	*ret_checked = !view.streams[stream].closed_early;
	return (struct channel_end){p->records, p->bytes, p->hash};
}

/* ---- live parts ---- */

static void update_producer(struct attempt *a, uint32_t stream, uint32_t part, struct live_part *lp)
{
	struct host_msg msg = {.kind = HOST_CREDIT, .task = a->task};

	release_blocks(a, lp);
	if (!a->host || a->state != ATTEMPT_RUNNING)
		return;
	msg.u.live.stream = stream;
	msg.u.live.part = part;
	if (live_limit_changed(lp, &msg.u.live.limit))
		host_send_msg(a->host, &msg, NULL, 0, -1);
	msg.kind = HOST_CLOSED;
	if (live_all_closed(lp))
		host_send_msg(a->host, &msg, NULL, 0, -1);
}

/* What its writer noted before a block spares us to read the block, for which we might have to wait. */
static void note_hash(struct block_header *header, const struct block_ref *ref, const unsigned char *base)
{
	struct block_header written;

	if (ref->kind == BLOCK_RAW || ref->offset < sizeof(written))
		return;
	memcpy(&written, base + ref->offset - sizeof(written), sizeof(written));
	if (written.length != ref->length)
		return;
	header->running = written.running == 1;
	header->checksum = written.checksum;
}

static void send_remote(struct remote_reader *r, const struct block_ref *ref, uint64_t seq)
{
	struct attempt *a = r->attempt;
	struct daemon *d = a->job->daemon;
	struct spool_segment *segment = spool_find(d->spool, ref->segment);
	unsigned char *base =
		segment && spool_is_whole(d->spool, segment) ? spool_map(d->spool, segment) : NULL;
	struct block_header header = {.version = BLOCK_VERSION,
		.kind = (uint8_t)ref->kind,
		.epoch = a->job->epoch,
		.vertex = a->key.vertex,
		.attempt = a->key.number,
		.stream = r->stream,
		.part = r->part,
		.seq = seq,
		.records = ref->records,
		.length = ref->length};
	struct send_pin *pin;

	if (!base) {
		data_send_error(d->server, &r->peer, DAG_EMISSING, "the block is not there any more");
		return;
	}
	note_hash(&header, ref, base);
	pin = base_alloc(sizeof(*pin));
	*pin = (struct send_pin){d, a, segment};
	attempt_pin(a);
	spool_ref(segment);
	data_send_block(d->server, &r->peer, &header, base + ref->offset, pin);
	r->sent += ref->length;
}

static void pump_live_remote(struct remote_reader *r, struct live_part *lp)
{
	struct live_reader *reader = live_find(lp, r);
	struct block_ref ref;
	uint64_t seq;

	while (reader && r->sent < r->credit && live_next(lp, reader, &ref, &seq))
		send_remote(r, &ref, seq);
	if (reader && lp->ended && !r->ended && reader->next == lp->first_seq + (lp->count - lp->first)) {
		bool checked;
		struct channel_end end = part_end(r->attempt, r->stream, r->part, &checked);

		r->ended = true;
		data_send_end(r->attempt->job->daemon->server, &r->peer, reader->next, &end, checked);
	}
}

static void pump_live_local(
	struct attempt *a, uint32_t stream, uint32_t part, struct live_part *lp, struct input_channel *ch)
{
	struct live_reader *reader = live_find(lp, ch);
	struct block_ref ref;
	uint64_t seq;

	while (reader && live_next(lp, reader, &ref, &seq))
		input_push_block(ch, &ref);
	if (reader && lp->ended && !reader->closed && !ch->finished) {
		bool checked;
		struct channel_end end = part_end(a, stream, part, &checked);

		ch->finished = true;
		input_push_end(ch, &end, checked);
	}
}

static void pump_part(struct attempt *a, uint32_t stream, uint32_t part)
{
	struct live_part *lp = find_live(a, stream, part);

	for (size_t i = 0; i < lp->reader_count; i++) {
		void *owner = lp->readers[i].owner;

		/* An owner is a remote_reader or an input_channel; both begin with the flag that says which.
		 */
		if (lp->readers[i].closed)
			continue;
		if (*(bool *)owner)
			pump_live_remote(owner, lp);
		else
			pump_live_local(a, stream, part, lp, owner);
	}
}

bool serve_append(struct attempt *a, uint32_t stream, uint32_t part, const struct block_ref *ref)
{
	struct live_part *lp = find_live(a, stream, part);
	struct spool_segment *segment = spool_find(a->job->daemon->spool, ref->segment);
	struct block_ref unchecked = *ref;

	unchecked.checked = 0; /* a host says nothing of that */
	if (!lp || !segment || ref->offset > segment->size || ref->length > segment->size - ref->offset ||
		!ref->length)
		return false;
	spool_ref(segment);
	live_append(lp, &unchecked);
	keep(a, ref->length);
	pump_part(a, stream, part);
	update_producer(a, stream, part, lp);
	return true;
}

void serve_sealed(struct attempt *a)
{
	for (uint32_t i = 0; i < a->stream_count; i++)
		for (uint32_t p = 0; a->streams[i].parts && p < a->streams[i].part_count; p++) {
			a->streams[i].parts[p].ended = true;
			pump_part(a, i, p);
		}
}

/* ---- readers ---- */

static void end_reader(
	struct attempt *a, uint32_t stream, uint32_t part, struct live_reader *reader, bool failed)
{
	struct live_part *lp = find_live(a, stream, part);

	if (failed) {
		live_leave(lp, reader);
		return;
	}
	live_close(lp, reader);
	reader->owner = NULL;
	update_producer(a, stream, part, lp);
}

static void drop_remote(struct daemon *d, struct remote_reader *r, bool failed);

/* An earlier attempt of the reader, of whose end we have not heard. */
static void replace_reader(
	struct attempt *a, struct live_part *lp, const void *owner, uint32_t vertex, uint32_t port)
{
	struct live_reader *old = live_find_vertex(lp, vertex, port);

	if (!old || !old->owner || old->owner == owner)
		return;
	if (*(bool *)old->owner)
		drop_remote(a->job->daemon, old->owner, true);
	else
		live_leave(lp, old);
}

/* ---- readers on this node ---- */

static void add_waiting(struct job *job, struct waiting_reader waiting)
{
	struct waiting_reader *w = base_alloc(sizeof(*w));

	*w = waiting;
	w->next = job->waiting;
	job->waiting = w;
}

void serve_attach_local(
	struct job *job, struct input_channel *ch, struct attempt_key key, uint32_t stream, uint32_t part)
{
	struct attempt *a = attempt_find(job, key.vertex, key.number);
	struct live_part *lp;
	int r;

	if (!a) {
		add_waiting(job, (struct waiting_reader){.key = key, .channel = ch});
		return;
	}
	attempt_pin(a);
	lp = find_live(a, stream, part);
	if (lp)
		replace_reader(a, lp, ch, ch->reader->key.vertex, ch->port);
	r = lp ? live_attach(lp, ch, ch->reader->key.vertex, ch->port, 0) : DAG_EMISSING;
	if (r < 0) {
		attempt_unpin(a);
		input_push_error(ch->reader, ch->port, ch->producer, DAG_EMISSING,
			"the pipe's blocks are not held any more");
		return;
	}
	ch->producer_attempt = a;
	pump_part(a, stream, part);
}

void serve_consumed_local(struct input_channel *ch, uint32_t stream, uint32_t part, uint64_t bytes)
{
	struct live_part *lp = ch->producer_attempt ? find_live(ch->producer_attempt, stream, part) : NULL;
	struct live_reader *reader = lp ? live_find(lp, ch) : NULL;

	if (!reader)
		return;
	live_consumed(lp, reader, bytes);
	update_producer(ch->producer_attempt, stream, part, lp);
}

void serve_detach_local(struct input_channel *ch, uint32_t stream, uint32_t part, bool failed)
{
	struct job *job = ch->reader->job;
	struct attempt *a = ch->producer_attempt;
	struct live_part *lp = a ? find_live(a, stream, part) : NULL;
	struct live_reader *reader = lp ? live_find(lp, ch) : NULL;

	for (struct waiting_reader **at = &job->waiting; *at;) {
		struct waiting_reader *w = *at;

		if (w->channel != ch) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		free(w);
	}
	if (reader)
		end_reader(a, stream, part, reader, failed);
	if (a) {
		direct_end(a, ch);
		ch->producer_attempt = NULL;
		attempt_unpin(a);
	}
}

/* ---- readers on other nodes ---- */

static void drop_remote(struct daemon *d, struct remote_reader *r, bool failed)
{
	struct live_part *lp = r->live ? find_live(r->attempt, r->stream, r->part) : NULL;
	struct live_reader *reader = lp ? live_find(lp, r) : NULL;
	struct attempt *a = r->attempt;

	HASH_DEL(d->readers, r);
	if (reader)
		end_reader(a, r->stream, r->part, reader, failed);
	free(r);
	attempt_unpin(a);
}

static void pump_sealed(struct remote_reader *r)
{
	const struct index_view view = attempt_view(r->attempt);
	const struct index_part *p = index_part(&view, r->stream, r->part);
	struct daemon *d = r->attempt->job->daemon;

	while (r->next < p->block_count && r->sent < r->credit) {
		send_remote(r, &view.blocks[p->first_block + r->next], r->next);
		r->next++;
	}
	if (r->next == p->block_count && !r->ended) {
		bool checked;
		struct channel_end end = part_end(r->attempt, r->stream, r->part, &checked);

		r->ended = true;
		data_send_end(d->server, &r->peer, r->next, &end, checked);
	}
}

/* Bytes of the blocks before `seq`, which the reader has already counted against its credit. */
static uint64_t bytes_before(const struct attempt *a, uint32_t stream, uint32_t part, uint64_t seq)
{
	const struct index_view view = attempt_view(a);
	const struct index_part *p = index_part(&view, stream, part);
	uint64_t bytes = 0;

	for (uint64_t i = 0; i < seq && i < p->block_count; i++)
		bytes += view.blocks[p->first_block + i].length;
	return bytes;
}

/* Sealed, and from the block on that is asked for. */
static bool has_part(const struct attempt *a, const struct data_open *open)
{
	const struct index_part *part =
		a->state == ATTEMPT_SEALED ? attempt_part(a, open->stream, open->part) : NULL;

	return part && open->seq <= part->block_count;
}

static void attach_remote(
	struct daemon *d, struct attempt *a, const struct data_peer *peer, const struct data_open *open)
{
	struct live_part *lp = find_live(a, open->stream, open->part);
	struct remote_reader *r;

	HASH_FIND(hh, d->readers, peer, sizeof(*peer), r);
	if (r && (r->attempt != a || r->stream != open->stream || r->part != open->part)) {
		drop_remote(d, r, true); /* a channel is one part's: this is another one now */
		r = NULL;
	}
	if (!lp && !has_part(a, open)) {
		if (r)
			drop_remote(d, r, true);
		data_send_error(d->server, peer, DAG_EMISSING, "there is no such part any more");
		return;
	}
	if (!r) {
		r = base_alloc(sizeof(*r));
		r->is_remote = true;
		r->peer = *peer;
		r->attempt = a;
		r->stream = open->stream;
		r->part = open->part;
		r->live = lp != NULL;
		attempt_pin(a);
		HASH_ADD(hh, d->readers, peer, sizeof(r->peer), r);
	}
	r->credit = DAG_MAX(r->credit, open->credit);
	r->ended = false;
	r->next = open->seq;
	if (!lp) {
		r->sent = bytes_before(a, open->stream, open->part, open->seq);
		pump_sealed(r);
		return;
	}
	replace_reader(a, lp, r, open->reader, open->reader_port);
	if (live_attach(lp, r, open->reader, open->reader_port, open->seq) < 0) {
		data_send_error(d->server, peer, DAG_EMISSING, "the pipe's blocks are not held any more");
		drop_remote(d, r, true);
		return;
	}
	r->sent = open->seq == lp->first_seq + (lp->count - lp->first) ? lp->bytes
		  : lp->count > lp->first
			  ? lp->blocks[lp->first + (open->seq - lp->first_seq)].end -
				    lp->blocks[lp->first + (open->seq - lp->first_seq)].ref.length
			  : lp->bytes;
	pump_live_remote(r, lp);
}

static void on_opened(struct daemon *d, const struct data_event *event)
{
	struct job *job = job_find(d, event->open.job);
	struct attempt *a = job ? attempt_find(job, event->open.vertex, event->open.attempt) : NULL;

	if (a && (a->state == ATTEMPT_SEALED || (event->open.live && a->state != ATTEMPT_FAILED)) &&
		!a->discarded)
		attach_remote(d, a, &event->peer, &event->open);
	else if (job && !a && event->open.live && event->open.vertex < job->vertex_count &&
		 job->waiting_count < WAITING_MAX) {
		size_t n = 0;

		for (struct waiting_reader *w = job->waiting; w; w = w->next, n++)
			if (w->remote && !memcmp(&w->peer, &event->peer, sizeof(w->peer)))
				return;
		if (n >= WAITING_READERS_MAX) {
			data_send_error(d->server, &event->peer, DAG_ELIMIT,
				"too many readers wait for attempts of this job");
			return;
		}
		job->waiting_count++;
		add_waiting(job, (struct waiting_reader){.key = {event->open.vertex, event->open.attempt},
					 .remote = true,
					 .peer = event->peer,
					 .open = event->open});
	} else
		data_send_error(d->server, &event->peer, DAG_EMISSING, "the attempt's output is not here");
}

void serve_started(struct attempt *a)
{
	struct job *job = a->job;
	struct waiting_reader *mine = NULL;

	for (struct waiting_reader **at = &job->waiting; *at;) {
		struct waiting_reader *w = *at;

		if (memcmp(&w->key, &a->key, sizeof(w->key))) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		w->next = mine;
		mine = w;
	}
	while (mine) {
		struct waiting_reader *w = mine;

		mine = w->next;
		job->waiting_count -= w->remote;
		if (w->remote)
			attach_remote(job->daemon, a, &w->peer, &w->open);
		else
			serve_attach_local(job, w->channel, w->key,
				w->channel->reader->inputs[w->channel->port].stream,
				input_part(
					&w->channel->reader->inputs[w->channel->port], w->channel->producer));
		free(w);
	}
}

void serve_on_data(struct daemon *d, const struct data_event *event)
{
	struct remote_reader *r;
	struct send_pin *pin = event->pin;

	if (event->kind == DATA_SENT) {
		spool_unref(pin->daemon->spool, pin->segment);
		attempt_unpin(pin->attempt);
		free(pin);
		return;
	}
	if (event->kind == DATA_OPENED) {
		on_opened(d, event);
		return;
	}
	HASH_FIND(hh, d->readers, &event->peer, sizeof(event->peer), r);
	if (!r)
		return;
	if (event->kind == DATA_CLOSED) {
		drop_remote(d, r, event->error != 0);
		return;
	}
	r->credit = DAG_MAX(r->credit, event->credit);
	if (r->live) {
		struct live_part *lp = find_live(r->attempt, r->stream, r->part);
		struct live_reader *reader = live_find(lp, r);

		if (reader)
			live_consumed(lp, reader, event->bytes);
		pump_live_remote(r, lp);
		update_producer(r->attempt, r->stream, r->part, lp);
	} else {
		pump_sealed(r);
	}
}

void serve_forget_job(struct job *job)
{
	struct daemon *d = job->daemon;
	struct remote_reader *r, *next;

	HASH_ITER(hh, d->readers, r, next)
		if (r->attempt->job == job)
			drop_remote(d, r, true);
	while (job->waiting) {
		struct waiting_reader *w = job->waiting;

		job->waiting = w->next;
		free(w);
	}
}

void serve_fini_streams(struct attempt *a)
{
	struct spool *spool = a->job->daemon->spool;

	let_go(a);
	for (uint32_t i = 0; i < a->stream_count; i++) {
		for (uint32_t p = 0; a->streams[i].parts && p < a->streams[i].part_count; p++) {
			struct live_part *lp = &a->streams[i].parts[p];

			for (size_t b = lp->first; b < lp->count; b++) {
				struct spool_segment *s = spool_find(spool, lp->blocks[b].ref.segment);

				if (s)
					spool_unref(spool, s);
			}
			live_fini(lp);
		}
		free(a->streams[i].parts);
	}
	if (a->streams != &a->stream)
		free(a->streams);
}
