/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where what is written lies: each port has streams (one for each partitioning of its edges), each stream has
 * parts, each part has one block that is being filled in place in the host's segment, or beside it where it
 * is large. A full block of a file stream is only noted, for the index at the seal; one of a live stream is
 * announced to the daemon; one of a fifo is handed to the reader's queue.
 *
 * First blocks are small and double, so that a vertex with many parts and little data does not take a
 * segment.
 */
#include "writer.h"
#include "fifo.h"
#include "host.h"
#include "part.h"
#include "pipe.h"
#include "segments.h"
#include "task.h"
#include "os/os.h"

#include <errno.h>

#define VERTEX_BUFFER (8u << 20)      /* bytes of open blocks a stream, at most, over its parts */
#define DIRECT_BLOCK_MAX (256u << 10) /* of fifos and direct pipes: some fit into the caches */
#define FIRST_BLOCK 4096u
#define OWN_BLOCK (8u << 10) /* bytes of a block that is written by a call */
#define SPACE_STEP_MIN (1u << 20)
#define SPACE_STEP_MAX (64u << 20)
#define SPACE_STEP_LIVE (4u << 20)

static bool is_live(const struct out_stream *s)
{
	return s->spec->channel == GRAPH_PIPE;
}

static bool is_fifo(const struct out_stream *s)
{
	return s->spec->channel == GRAPH_FIFO;
}

static enum block_kind kind_of(const struct out_stream *s)
{
	static const enum block_kind kinds[] = {BLOCK_DATA, BLOCK_LZ4, BLOCK_ZSTD};

	return kinds[s->spec->codec];
}

void writer_init(struct dag_vertex *v)
{
	const struct stage_spec *spec = &v->stage->spec;

	v->stream_count = spec->stream_count;
	v->streams = arena_alloc(&v->arena, v->stream_count * sizeof(*v->streams));
	for (uint32_t i = 0; i < GRAPH_PORTS_MAX; i++)
		v->port_streams[i] = arena_alloc(&v->arena, v->stream_count * sizeof(uint32_t));
	for (uint32_t i = 0; i < v->stream_count; i++) {
		struct out_stream *s = &v->streams[i];
		uint32_t port = spec->streams[i].port;

		s->spec = &spec->streams[i];
		s->parts = arena_alloc(&v->arena, s->spec->parts * sizeof(*s->parts));
		if (s->spec->codec)
			s->codec = codec_new(kind_of(s));
		s->block_size = VERTEX_BUFFER / s->spec->parts;
		s->block_size = DAG_MIN(DAG_MAX(s->block_size, BLOCK_SIZE_MIN), BLOCK_SIZE_MAX);
		if (is_fifo(s))
			s->block_size = DAG_MIN(s->block_size, DIRECT_BLOCK_MAX);
		for (uint32_t p = 0; p < s->spec->parts; p++) {
			s->parts[p].next_size = FIRST_BLOCK;
			s->parts[p].limit = s->spec->elastic ? UINT64_MAX : host_pipe_window(s->spec->parts);
		}
		v->port_streams[port][v->port_stream_count[port]++] = i;
	}
}

/* ---- blocks ---- */

/*
 * Fresh pages of a mapped file cost far more than writing them by a call: a fault each, and on a disk the old
 * bytes are read first. So a large block is made in memory that stays in the caches.
 */
static unsigned char *own_room(struct out_part *p, uint64_t size)
{
	if (p->own_size < size) {
		free(p->own);
		p->own = part_block_room(size);
		p->own_size = size;
	}
	return p->own;
}

static int write_own(struct dag_vertex *v, const struct out_part *p, uint64_t size)
{
	int error = os_write_at(p->segment->fd, p->own, size, p->offset);

	if (!error)
		return 0;
	return task_fail(v, error == ENOSPC ? DAG_ENOSPC : DAG_EIO,
		base_format("cannot write to the node's spool: %s", strerror(error)));
}

int writer_begin_block(struct dag_vertex *v, struct out_stream *s, struct out_part *p, size_t need)
{
	uint64_t size, step;
	int r;

	if (is_live(s) && !p->piped && pipe_takes(v, p))
		p->next_size = s->block_size = DAG_MIN(s->block_size, DIRECT_BLOCK_MAX);
	size = DAG_MAX(p->next_size, need);
	p->next_size = DAG_MIN(p->next_size * 2, s->block_size);
	if (is_fifo(s)) {
		fifo_begin(v, s, p, size);
		return 0;
	}
	/* Segments grow with what the attempt has written; live ones stay small, to stay in the caches. */
	step = DAG_MIN(DAG_MAX(v->port_bytes[s->spec->port], SPACE_STEP_MIN), SPACE_STEP_MAX);
	if (is_live(s))
		step = SPACE_STEP_LIVE;
	if (p->piped)
		r = pipe_room(v, p, BLOCK_HEADER_SIZE + size, &p->segment, &p->offset);
	else
		r = segments_take(v->host, BLOCK_HEADER_SIZE + size, step, &p->segment, &p->offset);
	if (r < 0)
		return task_fail(v, r, base_strdup("the node's spool is full"));
	p->base = p->segment->base + p->offset;
	if (!is_live(s) && size >= OWN_BLOCK)
		p->base = own_room(p, BLOCK_HEADER_SIZE + size);
	part_begin(p, p->base + BLOCK_HEADER_SIZE, size);
	return 0;
}

/* Waits until the part may be written to. DAG_ECLOSED where nobody reads it any more. */
static int wait_credit(struct dag_vertex *v, struct out_part *p)
{
	struct host *host = v->host;
	int r;

	pthread_mutex_lock(&host->lock);
	/* A writer that never has to wait must still hear that its readers have gone. */
	host_look(host);
	while (p->written >= p->limit && !p->closed)
		host_wait(host);
	r = p->closed ? DAG_ECLOSED : 0;
	pthread_mutex_unlock(&host->lock);
	return r;
}

static void write_header(struct dag_vertex *v, uint32_t stream, uint32_t part, struct out_part *p,
	enum block_kind kind, uint32_t len)
{
	struct block_header h = {.version = BLOCK_VERSION,
		.kind = (uint8_t)kind,
		.epoch = v->epoch,
		.vertex = v->vertex,
		.attempt = v->attempt,
		.stream = stream,
		.part = part,
		.seq = p->seq,
		.records = p->block_records,
		.length = len};

	h.running = !v->streams[stream].codec;
	h.checksum = h.running ? hash_state_digest(p->hash).low : hash_64(p->base + sizeof(h), len);
	memcpy(p->base, &h, sizeof(h));
}

/* Ends the current block of a part, if there is one with records in it. */
int writer_flush_part(struct dag_vertex *v, uint32_t stream, uint32_t part)
{
	struct out_stream *s = &v->streams[stream];
	struct out_part *p = &s->parts[part];
	struct block_ref ref;
	struct host_msg msg = {.kind = HOST_LIVE, .task = v->task};
	enum block_kind kind = BLOCK_DATA;
	unsigned char *payload;
	uint32_t len;
	int r = 0;

	if (!p->at)
		return 0;
	payload = is_fifo(s) ? fifo_data(p) : p->base + BLOCK_HEADER_SIZE;
	len = (uint32_t)(p->at - payload);
	if (len) {
		if (!p->hash)
			p->hash = hash_state_new();
		hash_state_update(p->hash, payload, len);
		p->records += p->block_records;
		p->bytes += len;
	}
	if (is_fifo(s)) {
		p->seq += len > 0;
		fifo_put(v, p, len);
		return 0;
	}
	if (len && s->codec) {
		uint32_t packed = codec_pack(s->codec, payload, len);

		kind = packed < len ? kind_of(s) : BLOCK_DATA;
		len = packed;
	}
	ref = (struct block_ref){p->segment->id, p->block_records, p->offset + BLOCK_HEADER_SIZE, len, kind};
	if (p->piped) {
		part_end(p);
		p->seq += len > 0;
		if (len)
			pipe_put(p, &ref);
		return 0;
	}
	if (len)
		write_header(v, stream, part, p, kind, len);
	if (len && p->base == p->own)
		r = write_own(v, p, BLOCK_HEADER_SIZE + len);
	segments_trim(v->host, p->segment, p->offset + (uint64_t)(p->end - p->base),
		len ? p->offset + BLOCK_HEADER_SIZE + len : p->offset);
	part_end(p);
	if (!is_live(s) || !len)
		segments_close(v->host, p->segment, len > 0);
	if (!len || r < 0)
		return r;
	p->seq++;
	if (!is_live(s)) {
		*DAG_APPEND(p->blocks, p->block_count, p->block_cap) = ref;
		return 0;
	}
	r = wait_credit(v, p);
	if (r == 0) {
		p->written += len;
		msg.u.live.stream = stream;
		msg.u.live.part = part;
		msg.u.live.blocks = 1;
		host_send(v->host, &msg, &ref, sizeof(ref));
	}
	/* The daemon holds the segment by the block now; what nobody reads is held by nobody. */
	segments_close(v->host, p->segment, false);
	return r == DAG_ECLOSED ? 0 : r;
}

static int flush_stream(struct dag_vertex *v, uint32_t stream)
{
	int r = 0;

	if (!is_live(&v->streams[stream]) && !is_fifo(&v->streams[stream]))
		return 0;
	for (uint32_t p = 0; p < v->streams[stream].spec->parts && r == 0; p++)
		r = writer_flush_part(v, stream, p);
	return r;
}

int writer_flush_port(struct dag_vertex *v, uint32_t port)
{
	int r = 0;

	for (uint32_t i = 0; i < v->port_stream_count[port] && r == 0; i++)
		r = flush_stream(v, v->port_streams[port][i]);
	return r;
}

int writer_flush_live(struct dag_vertex *v)
{
	int r = 0;

	for (uint32_t i = 0; i < v->stream_count && r == 0; i++)
		r = flush_stream(v, i);
	return r;
}

/* ---- readers that go, and credit that comes; the caller holds host.lock ---- */

void writer_on_closed(struct dag_vertex *v, const struct host_msg *msg)
{
	DAG_ASSERT(msg->u.live.stream < v->stream_count &&
		   msg->u.live.part < v->streams[msg->u.live.stream].spec->parts);
	part_close(v, msg->u.live.stream, msg->u.live.part);
}

void writer_on_credit(struct dag_vertex *v, const struct host_msg *msg)
{
	struct out_part *p;

	DAG_ASSERT(msg->u.live.stream < v->stream_count &&
		   msg->u.live.part < v->streams[msg->u.live.stream].spec->parts);
	p = &v->streams[msg->u.live.stream].parts[msg->u.live.part];
	p->limit = DAG_MAX(p->limit, msg->u.live.limit);
}

bool writer_all_closed(struct dag_vertex *v)
{
	bool all = v->stream_count > 0;

	pthread_mutex_lock(&v->host->lock);
	for (uint32_t i = 0; i < v->stream_count; i++)
		all = all && v->streams[i].parts_closed == v->streams[i].spec->parts;
	pthread_mutex_unlock(&v->host->lock);
	return all;
}

/* ---- the seal ---- */

int writer_seal(struct dag_vertex *v, struct block_ref *ret_index)
{
	uint32_t parts = 0, blocks = 0, block = 0;
	struct index_header *header;
	struct index_stream *stream;
	struct index_part *part;
	struct block_ref *ref;
	struct host_segment *segment;
	uint64_t offset;
	size_t size;
	int r;

	for (uint32_t i = 0; i < v->stream_count; i++)
		for (uint32_t p = 0; p < v->streams[i].spec->parts; p++) {
			r = writer_flush_part(v, i, p);
			if (r < 0)
				return r;
			parts++;
			blocks += (uint32_t)v->streams[i].parts[p].block_count;
		}
	size = index_size(v->stream_count, parts, blocks);
	r = segments_take(v->host, size, SPACE_STEP_MIN, &segment, &offset);
	if (r < 0)
		return task_fail(v, r, base_strdup("the node's spool is full"));
	header = (struct index_header *)(segment->base + offset);
	stream = (struct index_stream *)(header + 1);
	part = (struct index_part *)(stream + v->stream_count);
	ref = (struct block_ref *)(part + parts);
	*header = (struct index_header){INDEX_MAGIC, BLOCK_VERSION, v->stream_count, parts, blocks, 0};
	for (uint32_t i = 0; i < v->stream_count; i++) {
		const struct out_stream *s = &v->streams[i];

		*stream++ = (struct index_stream){s->spec->parts, part_count_closed(s) > 0};
		for (uint32_t p = 0; p < s->spec->parts; p++) {
			const struct out_part *o = &s->parts[p];

			*part++ = (struct index_part){o->records, o->bytes,
				o->hash ? hash_state_digest(o->hash) : hash_128("", 0), block,
				(uint32_t)o->block_count};
			if (o->block_count)
				memcpy(ref + block, o->blocks, o->block_count * sizeof(*ref));
			block += (uint32_t)o->block_count;
		}
	}
	fifo_end(v);
	*ret_index = (struct block_ref){segment->id, 0, offset, (uint32_t)size, 0};
	return 0;
}

void writer_fini(struct dag_vertex *v)
{
	for (uint32_t i = 0; i < v->stream_count; i++) {
		for (uint32_t p = 0; p < v->streams[i].spec->parts; p++) {
			struct out_part *o = &v->streams[i].parts[p];

			fifo_fini(o);
			free(o->own);
			pipe_fini(o->pipe);
			free(o->blocks);
			hash_state_destroy(&o->hash);
		}
		codec_destroy(&v->streams[i].codec);
	}
}
