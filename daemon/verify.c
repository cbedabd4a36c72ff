/* SPDX-License-Identifier: Apache-2.0 */
/* A sealed attempt's data is read again, in a thread of libuv's pool: somebody could not read it. */
#include "node.h"
#include "base/hash.h"
#include "channel/codec.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

struct segment_file {
	uint32_t id;
	char *path;
};

/* All that the thread needs is its own: the daemon may end before it. */
struct verification {
	uv_work_t work;
	struct daemon *daemon; /* NULL: it has ended */
	struct job *job;
	struct attempt *attempt; /* pinned */
	struct verification *next;
	struct segment_file *files;
	uint32_t file_count;
	struct block_ref place;
	unsigned char *index, *there; /* as it was sealed, and as readers on this node see it */
	int result;
	uint32_t opened; /* files + 1, of the one that is open; 0: none */
	int fd;
	unsigned char *block, *plain; /* plain: of a packed one */
	size_t block_cap, plain_cap;
};

static void close_file(struct verification *v)
{
	if (v->opened)
		close(v->fd);
	v->opened = 0;
}

/* Its file by its name, as any reader would open it: one that was deleted is not there. */
static int open_file(struct verification *v, uint32_t id)
{
	uint32_t i = 0;

	if (v->opened && v->files[v->opened - 1].id == id)
		return 0;
	close_file(v);
	while (i < v->file_count && v->files[i].id != id)
		i++;
	if (i == v->file_count)
		return DAG_EMISSING;
	v->fd = open(v->files[i].path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (v->fd < 0)
		return DAG_EMISSING;
	v->opened = i + 1;
	return 0;
}

static int read_place(struct verification *v, const struct block_ref *ref, void *to)
{
	int r = open_file(v, ref->segment);

	for (uint32_t done = 0; r == 0 && done < ref->length;) {
		ssize_t n = pread(v->fd, (char *)to + done, ref->length - done, (off_t)(ref->offset + done));

		if (n > 0)
			done += (uint32_t)n;
		else if (n == 0 || errno != EINTR)
			r = DAG_EMISSING;
	}
	return r;
}

/* Adds a block's records to the hash of its part. */
static int hash_block(struct verification *v, struct hash_state *state, const struct block_ref *ref)
{
	const unsigned char *records;
	uint32_t len = ref->length;
	int r;

	if (len > v->block_cap) {
		v->block = base_realloc(v->block, len);
		v->block_cap = len;
	}
	r = read_place(v, ref, v->block);
	if (r < 0)
		return r;
	records = v->block;
	if (codec_is_packed(ref->kind)) {
		if (codec_unpack(ref->kind, records, len, &v->plain, &v->plain_cap, &len) < 0)
			return DAG_ECORRUPT;
		records = v->plain;
	}
	hash_state_update(state, records, len);
	return 0;
}

static void verify(uv_work_t *work)
{
	struct verification *v = work->data;
	const struct index_view index = index_open(v->index);
	struct hash_state *state = hash_state_new();

	for (uint32_t i = 0; i < v->file_count && v->result == 0; i++)
		v->result = open_file(v, v->files[i].id);
	if (v->result == 0)
		v->result = read_place(v, &v->place, v->there);
	if (v->result == 0 && memcmp(v->index, v->there, v->place.length))
		v->result = DAG_ECORRUPT;
	for (uint32_t i = 0; i < index.header->parts && v->result == 0; i++) {
		const struct index_part *p = &index.parts[i];

		hash_state_reset(state);
		for (uint32_t b = 0; b < p->block_count && v->result == 0; b++)
			v->result = hash_block(v, state, &index.blocks[p->first_block + b]);
		if (v->result == 0 && p->block_count && !hash_equal(hash_state_digest(state), p->hash))
			v->result = DAG_ECORRUPT;
	}
	hash_state_destroy(&state);
	close_file(v);
}

static void send_verified(struct job *job, uint32_t vertex, uint32_t number, int result)
{
	Dagrun__Verified m = DAGRUN__VERIFIED__INIT;
	SESSION_ENVELOPE(e, VERIFIED);

	if (!job->manager)
		return;
	m.vertex = vertex;
	m.attempt = number;
	m.error = result;
	e.verified = &m;
	session_send(job->manager, &e);
}

static void free_verification(struct verification *v)
{
	for (uint32_t i = 0; i < v->file_count; i++)
		free(v->files[i].path);
	free(v->files);
	free(v->index);
	free(v->there);
	free(v->block);
	free(v->plain);
	free(v);
}

static void on_verified(uv_work_t *work, int status)
{
	struct verification *v = work->data, **at = v->daemon ? &v->daemon->verifications : NULL;

	if (at) {
		while (*at != v)
			at = &(*at)->next;
		*at = v->next;
		send_verified(v->job, v->attempt->key.vertex, v->attempt->key.number,
			status < 0 ? DAG_EMISSING : v->result);
		attempt_unpin(v->attempt);
	}
	free_verification(v);
}

void verify_abandon_all(struct daemon *d)
{
	while (d->verifications) {
		struct verification *v = d->verifications;

		d->verifications = v->next;
		v->daemon = NULL;
		uv_cancel((uv_req_t *)&v->work); /* one that runs goes on to its end */
	}
}

void attempt_verify(struct job *job, uint32_t vertex, uint32_t number)
{
	struct attempt *a = attempt_find(job, vertex, number);
	struct verification *v;

	if (!a || a->state != ATTEMPT_SEALED || a->discarded || trim_has(a)) {
		send_verified(job, vertex, number, DAG_EMISSING);
		return;
	}
	v = base_alloc(sizeof(*v));
	v->work.data = v;
	v->daemon = job->daemon;
	v->job = job;
	v->attempt = a;
	v->place = a->place;
	v->index = base_alloc(DAG_MAX(a->place.length, 1u));
	v->there = base_alloc(DAG_MAX(a->place.length, 1u));
	memcpy(v->index, a->index_copy, a->place.length);
	v->file_count = a->segment_count;
	v->files = base_alloc((a->segment_count + 1) * sizeof(*v->files));
	for (uint32_t i = 0; i < a->segment_count; i++)
		v->files[i] = (struct segment_file){
			attempt_segment(a, i)->id, spool_path(job->daemon->spool, attempt_segment(a, i))};
	v->next = job->daemon->verifications;
	job->daemon->verifications = v;
	attempt_pin(a);
	uv_queue_work(job->daemon->loop, &v->work, verify, on_verified);
}
