/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing: a record goes into the current block of one part of each stream of its port; bytes go there as
 * they are, over as many blocks as they need. The fast path of a write looks at one block only; all else is
 * in writer.c.
 */
#include "put.h"
#include "part.h"
#include "partition.h"
#include "task.h"
#include "writer.h"

static bool port_closed(struct dag_vertex *v, uint32_t port)
{
	bool all = v->port_stream_count[port] > 0;

	for (uint32_t i = 0; i < v->port_stream_count[port]; i++) {
		struct out_stream *s = &v->streams[v->port_streams[port][i]];

		all = all && part_count_closed(s) == s->spec->parts;
	}
	return all;
}

static int append(struct dag_vertex *v, uint32_t stream, uint32_t part, const void *key, size_t key_len,
	const void *data, size_t len, bool kv)
{
	struct out_part *p = &v->streams[stream].parts[part];
	size_t head = kv ? 8 : 4, need = head + key_len + len;
	uint32_t lens[2] = {(uint32_t)(kv ? key_len : len), (uint32_t)len};

	if ((size_t)(p->end - p->at) < need) {
		int r = writer_flush_part(v, stream, part);

		if (r == 0)
			r = writer_begin_block(v, &v->streams[stream], p, need);
		if (r < 0)
			return r;
	}
	memcpy(p->at, lens, head);
	if (key_len)
		memcpy(p->at + head, key, key_len);
	if (len)
		base_copy(p->at + head + key_len, data, len);
	part_add(p, need, true);
	return 0;
}

/* As they are, over as many blocks as they need. */
static int append_bytes(struct dag_vertex *v, uint32_t stream, const char *data, size_t len)
{
	struct out_part *p = &v->streams[stream].parts[0];

	while (len) {
		size_t room;
		int r = 0;

		if (p->at == p->end) {
			r = writer_flush_part(v, stream, 0);
			if (r == 0)
				r = writer_begin_block(v, &v->streams[stream], p, 1);
		}
		if (r < 0)
			return r;
		room = DAG_MIN((size_t)(p->end - p->at), len);
		base_copy(p->at, data, room);
		part_add(p, room, false);
		data += room;
		len -= room;
	}
	return 0;
}

/* The streams in which the bytes can be found again as they were written. */
static bool keeps_unended(const struct dag_vertex *v, const struct out_stream *s)
{
	return s->spec->parts == 1 && s->spec->partition.kind == GRAPH_BY_ALL &&
	       graph_is_as_written(v->stage->spec.out[s->spec->port]);
}

/* The line of so many bytes that was written last had no line feed. It still lies in its block. */
static void mark_unended(struct dag_vertex *v, uint32_t port, size_t len)
{
	uint32_t word = (uint32_t)len | RECORD_UNENDED;

	for (uint32_t i = 0; i < v->port_stream_count[port]; i++) {
		struct out_stream *s = &v->streams[v->port_streams[port][i]];
		struct out_part *p = s->parts;

		if (keeps_unended(v, s) && p->at && !part_is_closed(p))
			memcpy(p->at - len - 4, &word, 4);
	}
}

#define PART_BY_WORD UINT32_MAX

static int write_record(struct dag_vertex *v, uint32_t port, uint32_t wanted, const void *key, size_t key_len,
	const void *data, size_t len, bool kv)
{
	enum dag_format_kind format;

	if (port >= v->stage->spec.out_count)
		return task_fail(v, DAG_EINVAL, base_format("output port %u does not exist", port));
	format = v->stage->spec.out[port].kind;
	if ((format == DAG_FORMAT_KV) != kv)
		return task_fail(v, DAG_EINVAL,
			base_format("output port %u is %sof key-value pairs", port, kv ? "not " : ""));
	if (key_len + len > RECORD_LEN_MAX || key_len > RECORD_LEN_MAX)
		return task_fail(v, DAG_ELIMIT,
			base_format("a record of %zu bytes on output port %u; the most is 1 GiB (%u bytes)",
				key_len + len, port, RECORD_LEN_MAX));
	if (format == DAG_FORMAT_FIXED && len != v->stage->spec.out[port].size)
		return task_fail(v, DAG_EFORMAT,
			base_format("a record of %zu bytes on port %u, which is fixed: %u", len, port,
				v->stage->spec.out[port].size));
	if (port_closed(v, port))
		return DAG_ECLOSED;
	v->port_records[port] += format != DAG_FORMAT_BYTES;
	v->port_bytes[port] += key_len + len;
	for (uint32_t i = 0; i < v->port_stream_count[port]; i++) {
		uint32_t stream = v->port_streams[port][i], part;
		struct out_stream *s = &v->streams[stream];
		int r;

		part = wanted == PART_BY_WORD || s->spec->partition.kind != GRAPH_BY_PART
			       ? partition_pick(s, format, key, key_len, data, len)
			       : wanted;
		if (part >= s->spec->parts)
			return task_fail(v, DAG_EINVAL,
				base_format("part %u of port %u: there are %u", part, port, s->spec->parts));
		if (part_count_closed(s) && part_is_closed(&s->parts[part]))
			continue;
		r = format == DAG_FORMAT_BYTES ? append_bytes(v, stream, data, len)
					       : append(v, stream, part, key, key_len, data, len, kv);
		if (r < 0)
			return r;
	}
	return 0;
}

int put_unended(struct dag_vertex *v, uint32_t port, const void *data, size_t len)
{
	int r = write_record(v, port, PART_BY_WORD, NULL, 0, data, len, false);

	if (r == 0)
		mark_unended(v, port, len);
	return r;
}

int dag_write(struct dag_vertex *v, uint32_t port, const void *data, size_t len)
{
	if (v->read_unended)
		return put_unended(v, port, data, len);
	return write_record(v, port, PART_BY_WORD, NULL, 0, data, len, false);
}

int dag_write_kv(struct dag_vertex *v, uint32_t port, const void *key, size_t key_len, const void *value,
	size_t value_len)
{
	return write_record(v, port, PART_BY_WORD, key, key_len, value, value_len, true);
}

/* The one stream of a port that is written as it comes; NULL where records are partitioned, or stored twice.
 */
static struct out_stream *plain_stream(struct dag_vertex *v, uint32_t port)
{
	struct out_stream *s = v->port_stream_count[port] == 1 ? &v->streams[v->port_streams[port][0]] : NULL;

	return s && s->spec->parts == 1 ? s : NULL;
}

static int write_plain(
	struct dag_vertex *v, uint32_t port, uint32_t stream, const struct dag_record r[], size_t n)
{
	struct graph_format format = v->stage->spec.out[port];
	uint64_t bytes = 0;
	int error = 0;
	size_t i = 0;

	for (; i < n && error == 0; i++) {
		if (r[i].len > RECORD_LEN_MAX || (format.kind == DAG_FORMAT_FIXED && r[i].len != format.size))
			return write_record(v, port, PART_BY_WORD, NULL, 0, r[i].data, r[i].len, false);
		error = append(v, stream, 0, NULL, 0, r[i].data, r[i].len, false);
		bytes += r[i].len;
	}
	v->port_records[port] += i;
	v->port_bytes[port] += bytes;
	return error;
}

int dag_write_batch(struct dag_vertex *v, uint32_t port, const struct dag_record r[], size_t n)
{
	bool known = port < v->stage->spec.out_count,
	     kv = known && v->stage->spec.out[port].kind == DAG_FORMAT_KV;
	int error = 0;

	if (known && !kv && v->stage->spec.out[port].kind != DAG_FORMAT_BYTES && plain_stream(v, port))
		error = port_closed(v, port) ? DAG_ECLOSED
					     : write_plain(v, port, v->port_streams[port][0], r, n);
	else
		for (size_t i = 0; i < n && error == 0; i++)
			error = write_record(
				v, port, PART_BY_WORD, r[i].key, r[i].key_len, r[i].data, r[i].len, kv);
	if (error == 0 && n && v->read_unended)
		mark_unended(v, port, r[n - 1].len);
	return error;
}

int dag_write_part(struct dag_vertex *v, uint32_t port, uint32_t part, const void *data, size_t len)
{
	return write_record(v, port, part, NULL, 0, data, len, false);
}

int dag_write_part_kv(struct dag_vertex *v, uint32_t port, uint32_t part, const void *key, size_t key_len,
	const void *value, size_t value_len)
{
	return write_record(v, port, part, key, key_len, value, value_len, true);
}

uint32_t dag_parts(const struct dag_vertex *v, uint32_t port)
{
	uint32_t parts = 1;

	for (uint32_t i = 0; port < GRAPH_PORTS_MAX && i < v->port_stream_count[port]; i++)
		parts = DAG_MAX(parts, v->streams[v->port_streams[port][i]].spec->parts);
	return parts;
}

/* Bytes before each record of a port: its length. */
static size_t head_of(const struct dag_vertex *v, uint32_t port)
{
	return v->stage->spec.out[port].kind == DAG_FORMAT_BYTES ? 0 : 4;
}

static int make_room(struct dag_vertex *v, uint32_t port, size_t need)
{
	uint32_t stream = v->port_streams[port][0];
	struct out_part *p = v->streams[stream].parts;
	int r = 0;

	if ((size_t)(p->end - p->at) < need) {
		r = writer_flush_part(v, stream, 0);
		if (r == 0)
			r = writer_begin_block(v, &v->streams[stream], p, need);
	}
	return r;
}

int put_bytes_room(struct dag_vertex *v, uint32_t port, size_t least, void **ret_data, size_t *ret_len)
{
	struct out_stream *s = plain_stream(v, port);
	int r;

	DAG_ASSERT(s && v->stage->spec.out[port].kind == DAG_FORMAT_BYTES);
	if (port_closed(v, port))
		return DAG_ECLOSED;
	r = make_room(v, port, least);
	if (r < 0)
		return r;
	v->reserved_in_place[port] = true;
	*ret_data = s->parts[0].at;
	*ret_len = v->reserved_len[port] = (size_t)(s->parts[0].end - s->parts[0].at);
	return 0;
}

bool put_is_plain(struct dag_vertex *v, uint32_t port)
{
	return plain_stream(v, port) != NULL;
}

int dag_reserve(struct dag_vertex *v, uint32_t port, size_t len, void **ret_data)
{
	struct out_stream *s;
	int r;

	if (port >= v->stage->spec.out_count || v->stage->spec.out[port].kind == DAG_FORMAT_KV ||
		len > RECORD_LEN_MAX)
		return task_fail(v, DAG_EINVAL,
			base_format("no reservation of %zu bytes on output port %u", len, port));
	s = plain_stream(v, port);
	v->reserved_in_place[port] = s && v->stage->spec.out[port].kind != DAG_FORMAT_FIXED;
	v->reserved_len[port] = 0;
	if (!v->reserved_in_place[port]) {
		v->reserved[port].len = 0;
		*ret_data = buffer_extend(&v->reserved[port], len);
		v->reserved_len[port] = len;
		return 0;
	}
	if (port_closed(v, port))
		return DAG_ECLOSED;
	r = make_room(v, port, len + head_of(v, port));
	if (r < 0)
		return r;
	*ret_data = s->parts[0].at + head_of(v, port);
	v->reserved_len[port] = len;
	return 0;
}

int dag_commit(struct dag_vertex *v, uint32_t port, size_t len_used)
{
	struct out_part *p;
	uint32_t len = (uint32_t)len_used;
	size_t head;

	if (port >= v->stage->spec.out_count)
		return task_fail(v, DAG_EINVAL, base_format("output port %u does not exist", port));
	if (len_used > v->reserved_len[port])
		return task_fail(v, DAG_EINVAL,
			base_format("a commit of %zu bytes on port %u, of which %zu were reserved", len_used,
				port, v->reserved_len[port]));
	if (!v->reserved_in_place[port])
		return dag_write(v, port, v->reserved[port].data, len_used);
	p = &v->streams[v->port_streams[port][0]].parts[0];
	head = head_of(v, port);
	/* Something else was written to the port since. */
	if (!p->at || (size_t)(p->end - p->at) < len_used + head)
		return task_fail(v, DAG_EINVAL,
			base_format("a commit of %zu bytes on port %u: what was reserved is gone", len_used,
				port));
	v->reserved_len[port] = 0;
	memcpy(p->at, &len, head);
	part_add(p, len_used + head, head > 0);
	v->port_records[port] += head > 0;
	v->port_bytes[port] += len_used;
	return 0;
}

void put_fini(struct dag_vertex *v)
{
	for (uint32_t i = 0; i < GRAPH_PORTS_MAX; i++)
		buffer_fini(&v->reserved[i]);
}
