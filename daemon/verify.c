/* SPDX-License-Identifier: Apache-2.0 */
/* A sealed attempt's data is read again, in a thread of libuv's pool: somebody could not read it. */
#include "node.h"
#include "base/hash.h"
#include "channel/codec.h"

#include <unistd.h>

struct verification {
	uv_work_t work;
	struct job *job;
	struct attempt *attempt;
	const unsigned char **blocks;
	const unsigned char *index; /* as readers on this node see it */
	int result;
	unsigned char *plain; /* of a packed block */
	size_t plain_cap;
};

/* Adds a block's records to the hash of its part. */
static int hash_block(struct verification *v, struct hash_state *state, uint32_t block)
{
	const struct block_ref *ref = &attempt_view(v->attempt).blocks[block];
	const unsigned char *records = v->blocks[block];
	uint32_t len = ref->length;

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
	const struct index_view index = attempt_view(v->attempt);
	struct hash_state *state = hash_state_new();

	if (memcmp(v->index, v->attempt->index_copy, v->attempt->place.length))
		v->result = DAG_ECORRUPT;
	for (uint32_t i = 0; i < index.header->parts && v->result == 0; i++) {
		const struct index_part *p = &index.parts[i];

		hash_state_reset(state);
		for (uint32_t b = 0; b < p->block_count && v->result == 0; b++)
			v->result = hash_block(v, state, p->first_block + b);
		if (p->block_count && !hash_equal(hash_state_digest(state), p->hash))
			v->result = DAG_ECORRUPT;
	}
	hash_state_destroy(&state);
	free(v->plain);
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

static void on_verified(uv_work_t *work, int status)
{
	struct verification *v = work->data;
	struct attempt *a = v->attempt;

	send_verified(v->job, a->key.vertex, a->key.number, status < 0 ? DAG_EMISSING : v->result);
	attempt_unpin(a);
	free(v->blocks);
	free(v);
}

/* We may have a segment mapped whose file was deleted: then nobody else can read it. */
static bool has_files(const struct attempt *a)
{
	for (uint32_t i = 0; i < a->segment_count; i++) {
		int fd = spool_open(a->job->daemon->spool, attempt_segment(a, i), false);

		if (fd < 0)
			return false;
		close(fd);
	}
	return true;
}

void attempt_verify(struct job *job, uint32_t vertex, uint32_t number)
{
	struct attempt *a = attempt_find(job, vertex, number);
	struct verification *v;
	struct index_view view;

	if (!a || a->state != ATTEMPT_SEALED || a->discarded || trim_has(a) || !has_files(a)) {
		send_verified(job, vertex, number, DAG_EMISSING);
		return;
	}
	v = base_alloc(sizeof(*v));
	v->work.data = v;
	v->job = job;
	v->attempt = a;
	view = attempt_view(a);
	v->blocks = base_alloc((view.header->blocks + 1) * sizeof(*v->blocks));
	for (uint32_t i = 0; i < view.header->blocks; i++) {
		struct spool_segment *s = spool_find(job->daemon->spool, view.blocks[i].segment);
		unsigned char *base = s ? spool_map(job->daemon->spool, s) : NULL;

		if (!base) {
			free(v->blocks);
			free(v);
			send_verified(job, vertex, number, DAG_EMISSING);
			return;
		}
		v->blocks[i] = base + view.blocks[i].offset;
	}
	v->index = spool_map(job->daemon->spool, attempt_segment(a, 0)) + a->place.offset;
	attempt_pin(a);
	uv_queue_work(job->daemon->loop, &v->work, verify, on_verified);
}
