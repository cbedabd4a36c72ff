/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a job manager that died and the one that takes over must agree on. Volatile, and therefore not here:
 *
 *   what runs, and who is ready or waits: adoption decides it anew, from what nodes hold
 *   the numbers of vertices that are not done (a speculative attempt may have been promoted), and what they
 *     failed of in detail
 *   how often a daemon gave a vertex up, or members of a gang did not reach each other
 *   speculative attempts, pauses, complaints that are being looked into
 *   which inputs could not be read, and how often
 *   what nodes are and have (labels, racks, slots, memory), which they say when they come up
 *   suspicion and rests; run times and what follows from them; counts of attempts
 *   what of outputs was fetched and is not on disk
 */
#include "blame.h"
#include "edges.h"
#include "nodes.h"
#include "output.h"
#include "vertices.h"
#include "base/buffer.h"

/* Its file is gone, and nothing was written again: that is seen again, and a fact when it is begun. */
#define ANEW " anew"

static uint32_t of_epoch(uint32_t attempt, uint32_t epoch)
{
	return JM_ATTEMPT_EPOCH(attempt) == epoch ? attempt : 0;
}

static void dump_vertex(const struct jm *jm, uint32_t vertex, uint32_t epoch, struct buffer *b)
{
	const struct jm_vertex *v = &jm->vertices[vertex];

	buffer_format(b, "vertex %u highest=%u fenced=%u missing=%u failures=%u reruns=%u deaths=%u", vertex,
		of_epoch(v->highest, epoch), of_epoch(v->fenced, epoch), v->missing, v->failures, v->reruns,
		v->deaths);
	if (v->hashed)
		buffer_format(b, " hash=%llx%016llx", (unsigned long long)v->hash_high,
			(unsigned long long)v->hash_low);
	if (v->state == JM_DONE)
		buffer_format(b, " done=%u node=%u bytes=%llu%s", v->attempt, v->node,
			(unsigned long long)v->bytes, v->released ? " released" : "");
	buffer_format(b, "\n");
}

static void dump_groups(const struct jm *jm, uint32_t edge, struct buffer *b)
{
	const struct jm_groups *g = jm->edges[edge].groups;
	uint64_t bytes = 0;

	for (size_t l = 0; l < g->list_count; l++)
		bytes += g->lists[l].bytes;
	buffer_format(b, "groups %u waiting=%u bytes=%llu", edge, g->waiting, (unsigned long long)bytes);
	for (uint32_t i = 0; i < g->first[g->count]; i++)
		buffer_format(b, " %u:%u", g->of[g->members[i]], g->members[i]);
	buffer_format(b, "\n");
}

void jm_dump(const struct jm *jm, uint32_t epoch, struct buffer *b)
{
	buffer_format(b, "job left=%u open=%u deaths=%u bad=%zu\n", jm->vertices_left, jm->open_left,
		jm->node_deaths, jm->bad_count);
	for (uint32_t i = 0; i < jm->node_count; i++) {
		const struct jm_node *n = &jm->nodes[i];

		buffer_format(b, "node %u '%s' there=%d downs=%u bad=%u avoided=%d\n", i, n->name,
			n->up || n->expected, n->downs, n->bad, n->avoided);
	}
	for (uint32_t i = 0; i < jm->graph->stage_count; i++)
		buffer_format(b, "stage %u width=%u settled=%d added=%u done=%u failures=%llu\n", i,
			jm->stages[i].width, jm->stages[i].settled, jm->stages[i].added, jm->stages[i].done,
			(unsigned long long)jm->stages[i].failures);
	for (uint32_t v = 0; v < jm->graph->vertex_count; v++)
		if (vertex_stage(jm, v)->kind != GRAPH_INPUT && !jm->vertices[v].skipped)
			dump_vertex(jm, v, epoch, b);
	for (uint32_t i = 0; i < jm->graph->edge_count; i++) {
		buffer_format(b, "edge %u missing=%u\n", i, jm->edges[i].missing);
		if (jm->edges[i].groups)
			dump_groups(jm, i, b);
	}
	for (uint32_t i = 0; i < jm->graph->output_count; i++)
		if (jm->outputs[i].anew)
			buffer_format(b, "output %u" ANEW "\n", i);
		else
			buffer_format(b, "output %u synced=%u bytes=%llu\n", i, jm->outputs[i].synced,
				(unsigned long long)jm->outputs[i].bytes);
	for (size_t i = 0; i < jm->bad_count; i++)
		buffer_format(b, "record %u %u %u %llu %s\n", jm->bad[i].vertex, jm->bad[i].record.port,
			jm->bad[i].record.producer, (unsigned long long)jm->bad[i].record.number,
			jm->bad[i].reason);
	for (size_t i = 0; i < jm->death_count; i++)
		buffer_format(b, "death %u %u\n", jm->deaths[i].vertex, jm->deaths[i].node);
}

char *jm_dump_difference(const char *before, const char *after)
{
	while (*before && *after) {
		size_t a = strcspn(before, "\n"), b = strcspn(after, "\n");
		bool anew = a >= strlen(ANEW) && !strncmp(before + a - strlen(ANEW), ANEW, strlen(ANEW));

		if (!anew && (a != b || strncmp(before, after, a)))
			return base_format("'%.*s' before and '%.*s' after", (int)a, before, (int)b, after);
		before += a + (before[a] == '\n');
		after += b + (after[b] == '\n');
	}
	return *before || *after ? base_strdup("one is longer") : NULL;
}
