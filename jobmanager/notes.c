/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thousand vertices of a stage would each be told of in the same words is told once, and how many they
 * are. The first waits a moment for others that are like it; those that come later are counted, and told of
 * more and more rarely.
 */
#include "shell.h"

#define FIRST_WAIT (300 * DAG_MS)
#define NEXT_WAIT (5 * DAG_SECOND) /* doubled each time */
#define KINDS_MAX 256              /* more are told one by one */

struct note_kind {
	uint32_t stage;
	char *like;          /* without its numbers */
	char *first;         /* the whole text, until it was told */
	unsigned char *seen; /* a bit for each vertex of the stage */
	uint32_t count, told;
	dag_instant due, wait;
};

struct notes {
	struct note_kind *kinds;
	size_t count, cap;
};

/* Numbers differ where the cause does not: "killed: 181 MiB > memory 100 MiB". */
static char *without_numbers(const char *text)
{
	char *like = base_strdup(text), *to = like;

	for (const char *c = text; *c; c++)
		if (*c < '0' || *c > '9')
			*to++ = *c;
		else if (c == text || c[-1] < '0' || c[-1] > '9')
			*to++ = '#';
	*to = 0;
	return like;
}

static struct note_kind *find_kind(struct notes *n, uint32_t stage, const char *like)
{
	for (size_t i = 0; i < n->count; i++)
		if (n->kinds[i].stage == stage && !strcmp(n->kinds[i].like, like))
			return &n->kinds[i];
	return NULL;
}

/* False where that vertex was counted already. */
static bool count_vertex(struct note_kind *k, uint32_t index)
{
	unsigned char bit = (unsigned char)(1u << index % 8);

	if (k->seen[index / 8] & bit)
		return false;
	k->seen[index / 8] |= bit;
	k->count++;
	return true;
}

void notes_hear(struct manager *m, const struct jm_effect *e, dag_instant now)
{
	const struct graph_stage *s;
	struct note_kind *k;
	char *like;

	if (!e->like) {
		progress_say(m, "%s", e->text);
		return;
	}
	if (!m->notes)
		m->notes = base_alloc(sizeof(*m->notes));
	s = m->graph->stages[m->graph->vertex_stage[e->vertex]];
	like = without_numbers(e->like);
	k = find_kind(m->notes, s->id, like);
	if (!k && m->notes->count == KINDS_MAX) {
		progress_say(m, "%s", e->text);
		free(like);
		return;
	}
	if (!k) {
		k = DAG_APPEND(m->notes->kinds, m->notes->count, m->notes->cap);
		*k = (struct note_kind){.stage = s->id,
			.like = like,
			.first = base_strdup(e->text),
			.seen = base_alloc(s->width / 8 + 1),
			.due = now + FIRST_WAIT,
			.wait = NEXT_WAIT};
	} else {
		free(like);
	}
	if (count_vertex(k, e->vertex - s->first_vertex) && k->due == DAG_NEVER)
		k->due = now + k->wait;
}

static void tell(struct manager *m, struct note_kind *k)
{
	const char *stage = m->graph->stages[k->stage]->name;

	if (k->first && k->count == 1)
		progress_say(m, "%s", k->first);
	else if (k->first)
		progress_say(m, "%u vertices of %s failed alike; the first: %s", k->count, stage, k->first);
	else if (k->count > k->told)
		progress_say(m, "%u more vertices of %s failed alike, %u in all: %s", k->count - k->told,
			stage, k->count, k->like);
	if (!k->first)
		k->wait *= 2;
	free(k->first);
	k->first = NULL;
	k->told = k->count;
	k->due = DAG_NEVER;
}

void notes_tick(struct manager *m, dag_instant now)
{
	for (size_t i = 0; m->notes && i < m->notes->count; i++)
		if (now >= m->notes->kinds[i].due)
			tell(m, &m->notes->kinds[i]);
}

void notes_flush(struct manager *m)
{
	for (size_t i = 0; m->notes && i < m->notes->count; i++)
		if (m->notes->kinds[i].due != DAG_NEVER)
			tell(m, &m->notes->kinds[i]);
}

void notes_destroy(struct manager *m)
{
	for (size_t i = 0; m->notes && i < m->notes->count; i++) {
		free(m->notes->kinds[i].like);
		free(m->notes->kinds[i].first);
		free(m->notes->kinds[i].seen);
	}
	if (m->notes)
		free(m->notes->kinds);
	free(m->notes);
	m->notes = NULL;
}
