/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts that nobody will read again: their pages go, though the segments stay for what else lies in them. Of
 * an attempt, the parts before a number; who asks for one is told that it is missing.
 */
#include "node.h"

bool trim_has(const struct attempt *a)
{
	for (uint32_t i = 0; i < a->stream_count; i++)
		if (a->streams[i].trimmed)
			return true;
	return false;
}

const struct index_part *attempt_part(const struct attempt *a, uint32_t stream, uint32_t part)
{
	const struct index_view view = attempt_view(a);
	const struct index_part *p = index_part(&view, stream, part);

	return p && part >= a->streams[stream].trimmed ? p : NULL;
}

static void trim_part(struct attempt *a, uint32_t stream, uint32_t part)
{
	const struct index_view view = attempt_view(a);
	const struct index_part *p = index_part(&view, stream, part);

	for (uint32_t i = 0; i < p->block_count; i++) {
		const struct block_ref *ref = &view.blocks[p->first_block + i];

		spool_punch(a->job->daemon->spool, ref->segment, ref->offset, ref->length);
	}
}

static void trim_attempt(struct attempt *a, uint32_t stream, uint32_t parts)
{
	struct live_stream *s = &a->streams[stream];

	for (; s->trimmed < DAG_MIN(parts, s->part_count); s->trimmed++)
		trim_part(a, stream, s->trimmed);
}

void trim_job(struct job *job, const Dagrun__Trim *m)
{
	for (uint32_t v = m->first_vertex; v < job->vertex_count && v - m->first_vertex < m->vertices; v++)
		for (struct attempt *a = job->attempts[v]; a; a = a->same)
			if (a->state == ATTEMPT_SEALED && !a->discarded && m->stream < a->stream_count)
				trim_attempt(a, m->stream, m->parts);
}
