/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nodes hold when they come up. After a node was gone, its sealed outputs count again and its running
 * work never. While the job is resumed, what else is found is kept until it is decided what is adopted.
 */
#include "found.h"
#include "effects.h"
#include "vertices.h"

void found_add(struct jm *jm, uint32_t node, const struct jm_found *found, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct jm_found *f = &found[i];
		struct jm_vertex *v;

		if (f->vertex >= jm->graph->vertex_count || vertex_stage(jm, f->vertex)->kind == GRAPH_INPUT)
			continue;
		v = &jm->vertices[f->vertex];
		/* Nobody has given that number, and the next ones are above all that are named. */
		if (f->attempt > v->highest && JM_ATTEMPT_EPOCH(f->attempt) >= jm->epoch) {
			jm_kill(jm, node, f->vertex, f->attempt);
			continue;
		}
		if (v->state == JM_DONE && !v->released && v->attempt == f->attempt && v->node == node &&
			f->sealed &&
			(!v->hashed || (v->hash_low == f->hash_low && v->hash_high == f->hash_high)))
			v->held = true;
		else if (jm->resuming && v->state != JM_DONE && f->attempt > v->fenced)
			*DAG_APPEND(jm->adoptable, jm->adoptable_count, jm->adoptable_cap) =
				(struct jm_adoptable){*f, node};
		else
			jm_kill(jm, node, f->vertex, f->attempt);
	}
}

void found_forget(struct jm *jm, uint32_t node)
{
	for (size_t i = 0; i < jm->adoptable_count;)
		if (jm->adoptable[i].node == node)
			jm->adoptable[i] = jm->adoptable[--jm->adoptable_count];
		else
			i++;
	for (uint32_t v = 0; v < jm->graph->vertex_count; v++)
		if (jm->vertices[v].node == node)
			jm->vertices[v].held = false;
}

static int by_vertex(const void *a, const void *b)
{
	const struct jm_adoptable *x = a, *y = b;

	if (x->found.vertex != y->found.vertex)
		return x->found.vertex < y->found.vertex ? -1 : 1;
	return x->found.attempt > y->found.attempt ? -1 : x->found.attempt < y->found.attempt;
}

void found_sort(struct jm *jm)
{
	if (jm->adoptable_count)
		qsort(jm->adoptable, jm->adoptable_count, sizeof(*jm->adoptable), by_vertex);
}

void found_clear(struct jm *jm)
{
	jm->adoptable_count = 0;
}

const struct jm_adoptable *found_newest(const struct jm *jm, uint32_t vertex)
{
	size_t low = 0, high = jm->adoptable_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (jm->adoptable[mid].found.vertex < vertex)
			low = mid + 1;
		else
			high = mid;
	}
	return low < jm->adoptable_count && jm->adoptable[low].found.vertex == vertex ? &jm->adoptable[low]
										      : NULL;
}

void found_fini(struct jm *jm)
{
	free(jm->adoptable);
}
