/* SPDX-License-Identifier: Apache-2.0 */
/* Results of vertices that a client asks for: fetched into memory, and checked as outputs are. */
#include "results.h"
#include "base/table.h"

#define EARLY_BYTES_MAX (64u << 20)

struct early_key {
	uint32_t vertex, attempt, port;
};

struct early {
	struct early_key key;
	struct dag_hash hash;
	UT_hash_handle hh;
	size_t len;
	unsigned char data[];
};

/* ---- results that came with the word of the end ---- */

static void drop_early(struct manager *m, struct early *e)
{
	HASH_DEL(m->early, e);
	m->early_bytes -= e->len;
	free(e);
}

void results_keep(struct manager *m, const Dagrun__Done *done)
{
	for (size_t i = 0; i < done->n_results && m->early_bytes < EARLY_BYTES_MAX; i++) {
		const Dagrun__Result *r = done->results[i];
		struct early_key key = {done->vertex, done->attempt, r->port};
		struct early *e;

		HASH_FIND(hh, m->early, &key, sizeof(key), e);
		if (e)
			continue;
		e = base_alloc(sizeof(*e) + r->data.len);
		e->key = key;
		e->hash = (struct dag_hash){.low = r->hash_low, .high = r->hash_high};
		e->len = r->data.len;
		if (e->len)
			memcpy(e->data, r->data.data, e->len);
		m->early_bytes += e->len;
		HASH_ADD(hh, m->early, key, sizeof(e->key), e);
	}
}

void results_destroy(struct manager *m)
{
	struct early *e, *next;

	HASH_ITER(hh, m->early, e, next)
		drop_early(m, e);
}

/* False where it did not come, or is damaged. */
static bool take_early(struct manager *m, struct result *r, uint32_t port)
{
	struct early_key key = {r->vertex, r->attempt, port};
	struct early *e;
	bool good;

	HASH_FIND(hh, m->early, &key, sizeof(key), e);
	if (!e)
		return false;
	good = hash_equal(hash_128(e->data, e->len), e->hash) &&
	       output_put_records(&r->bytes, r->format, e->data, e->data + e->len) == 0;
	if (!good)
		r->bytes.len = 0;
	drop_early(m, e); /* asked for again, it is fetched */
	return good;
}

/* ---- others are fetched ---- */

void result_fetch(
	struct manager *m, struct result *r, const struct graph_stage *stage, uint32_t port, uint32_t vertex)
{
	enum jm_state state;
	struct node *node;

	*r = (struct result){.vertex = vertex, .format = stage->out[port].format, .error = DAG_EUNREACHABLE};
	jm_current(m->jm, vertex, &r->attempt, &r->node, &state);
	r->there = take_early(m, r, port);
	if (r->there)
		return;
	node = nodes_find(m, r->node);
	if (!node)
		return;
	r->error = 0;
	arrival_reset(&r->arrival);
	m->result = r;
	r->channel = output_ask(m, node, vertex, r->attempt, stage->out[port].stream);
}

static void fail(struct manager *m, struct result *r, int error)
{
	data_stop(m->data, r->channel, false);
	r->channel = 0;
	r->error = error;
}

static void on_block(struct manager *m, struct result *r, const struct data_event *event)
{
	int error = arrival_block(&r->arrival, event, r->format, &r->bytes);

	if (error < 0)
		fail(m, r, error);
	else
		data_consumed(m->data, r->channel, r->arrival.bytes);
}

static void on_end(struct manager *m, struct result *r, const struct data_event *event)
{
	bool whole = arrival_is_whole(&r->arrival, event);

	fail(m, r, whole ? 0 : DAG_ECORRUPT);
	r->there = whole;
}

bool results_on_data(struct manager *m, const struct data_event *event)
{
	struct result *r = m->result;

	if (!r || !r->channel || r->channel != event->channel)
		return false;
	if (event->kind == DATA_BLOCK)
		on_block(m, r, event);
	else if (event->kind == DATA_END)
		on_end(m, r, event);
	else if (event->kind == DATA_FAILED)
		fail(m, r, event->error);
	return true;
}

void results_node_gone(struct manager *m, uint32_t node)
{
	if (m->result && m->result->channel && m->result->node == node)
		fail(m, m->result, DAG_EUNREACHABLE);
}

void result_fini(struct manager *m, struct result *r)
{
	if (r->channel)
		data_stop(m->data, r->channel, false);
	hash_state_destroy(&r->arrival.hash);
	buffer_fini(&r->bytes);
	m->result = NULL;
}
