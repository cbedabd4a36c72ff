/* SPDX-License-Identifier: Apache-2.0 */
/* What an earlier daemon had sealed in this spool: taken up when the daemon starts, and given to its job. */
#include "node.h"

struct orphan {
	struct keep_record record;
	struct spool_segment **segments; /* one reference each */
	size_t segment_count, segment_cap;
};

static bool take_segment(struct daemon *d, struct orphan *o, uint32_t id, uint64_t offset, uint64_t length)
{
	struct spool_segment *segment = NULL;

	for (size_t i = 0; i < o->segment_count && !segment; i++)
		if (o->segments[i]->id == id)
			segment = o->segments[i];
	if (!segment) {
		segment = spool_take_up(d->spool, id);
		if (!segment)
			return false;
		*DAG_APPEND(o->segments, o->segment_count, o->segment_cap) = segment;
	}
	return offset <= segment->size && length <= segment->size - offset;
}

static void drop_orphan(struct daemon *d, struct orphan *o)
{
	for (size_t i = 0; i < o->segment_count; i++)
		spool_unref(d->spool, o->segments[i]);
	free(o->segments);
}

/* The index and every segment that it names must be there. */
static bool take_up(struct daemon *d, struct orphan *o)
{
	struct block_ref at = keep_index(&o->record);
	struct index_view view;
	unsigned char *index;
	bool ok;

	if (at.offset % BLOCK_ALIGN || !take_segment(d, o, at.segment, at.offset, at.length))
		return false;
	index = base_alloc(DAG_MAX(at.length, 1u));
	/* The daemon may have died between giving the segment away and writing that down. */
	ok = spool_read(d->spool, o->segments[0], at.offset, index, at.length) == 0 &&
	     keep_index_hash(index, at.length) == o->record.more && index_check(index, at.length, &view) == 0;
	for (uint32_t i = 0; ok && i < view.header->blocks; i++)
		ok = take_segment(d, o, view.blocks[i].segment, view.blocks[i].offset, view.blocks[i].length);
	free(index);
	return ok;
}

void restore_orphans(struct daemon *d)
{
	size_t n, kept = 0;
	struct keep_record *records = keep_load(spool_folder(d->spool), &n);

	for (size_t i = 0; i < n; i++) {
		struct orphan o = {.record = records[i]};

		if (!take_up(d, &o)) {
			drop_orphan(d, &o);
			continue;
		}
		*DAG_APPEND(d->orphans, d->orphan_count, d->orphan_cap) = o;
		records[kept++] = records[i];
	}
	spool_drop_rest(d->spool);
	d->keep = keep_new(spool_folder(d->spool), records, kept);
	free(records);
}

void restore_drop(struct daemon *d, const char *job)
{
	for (size_t i = 0; i < d->orphan_count;) {
		struct orphan *o = &d->orphans[i];

		if (job && o->record.job != keep_job_number(job)) {
			i++;
			continue;
		}
		keep_note(d->keep, KEEP_GONE, o->record.job, o->record.vertex, o->record.attempt, NULL, 0);
		drop_orphan(d, o);
		*o = d->orphans[--d->orphan_count];
	}
	if (!d->orphan_count) {
		free(d->orphans);
		d->orphans = NULL;
		d->orphan_cap = 0;
	}
}

static void restore_attempt(struct job *job, const struct orphan *o)
{
	Dagrun__Start start = DAGRUN__START__INIT;
	const struct job_stage *stage = NULL;
	struct block_ref index = keep_index(&o->record);
	Dagrun__Input **inputs;
	uint32_t *readers;
	const char *fault;
	struct attempt *a;

	for (uint32_t i = 0; i < job->stage_count && !stage; i++)
		if (job->stages[i].width && o->record.vertex >= job->stages[i].first_vertex &&
			o->record.vertex - job->stages[i].first_vertex < job->stages[i].width)
			stage = &job->stages[i];
	if (!stage || attempt_find(job, o->record.vertex, o->record.attempt))
		return;
	start.stage = (uint32_t)(stage - job->stages);
	start.index = o->record.vertex - stage->first_vertex;
	start.attempt = o->record.attempt;
	start.n_inputs = stage->spec->in_count;
	inputs = base_alloc((start.n_inputs + 1) * sizeof(*inputs));
	for (size_t i = 0; i < start.n_inputs; i++) {
		inputs[i] = base_alloc(sizeof(**inputs));
		dagrun__input__init(inputs[i]);
	}
	start.inputs = inputs;
	readers = base_alloc((stage->spec->stream_count + 1) * sizeof(*readers));
	start.readers = readers;
	start.n_readers = stage->spec->stream_count;
	a = attempt_new(job, &start, &fault);
	if (!fault && attempt_adopt_segments(a, NULL, &index) == 0) {
		a->state = ATTEMPT_SEALED;
		if (o->record.acked)
			attempt_acknowledge(a);
	} else
		attempt_discard(a);
	for (size_t i = 0; i < start.n_inputs; i++)
		free(inputs[i]);
	free(inputs);
	free(readers);
}

void restore_job(struct job *job)
{
	struct daemon *d = job->daemon;

	for (size_t i = 0; i < d->orphan_count;) {
		struct orphan *o = &d->orphans[i];

		if (o->record.job != job->kept_as) {
			i++;
			continue;
		}
		restore_attempt(job, o);
		drop_orphan(d, o);
		*o = d->orphans[--d->orphan_count];
	}
}
