/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a step gives back: effects in their order, facts and notes among them, the time of the next step, and
 * the end of the job.
 */
#include "effects.h"
#include "blame.h"
#include "nodes.h"
#include "vertices.h"

/* What could not be found again, or undone. */
static bool waits_for_facts(enum jm_effect_kind kind)
{
	switch (kind) {
	case JM_ACK:
	case JM_RELEASE:
	case JM_TRIM:
	case JM_PUBLISH:
	case JM_END:
		return true;
	default:
		return false;
	}
}

void effects_begin(struct jm *jm)
{
	jm->effect_count = 0;
	arena_reset(&jm->texts);
	jm->wake_at = DAG_NEVER;
}

void effects_drop(struct jm *jm)
{
	jm->effect_count = 0;
	arena_fini(&jm->texts);
}

struct jm_effect *jm_emit(struct jm *jm, enum jm_effect_kind kind)
{
	struct jm_effect *e = DAG_APPEND(jm->effects, jm->effect_count, jm->effect_cap);

	e->kind = kind;
	e->durable = waits_for_facts(kind);
	return e;
}

struct jm_effect *jm_emit_attempt(
	struct jm *jm, enum jm_effect_kind kind, uint32_t node, uint32_t vertex, uint32_t attempt)
{
	struct jm_effect *e = jm_emit(jm, kind);

	e->node = node;
	e->vertex = vertex;
	e->attempt = attempt;
	return e;
}

void jm_kill(struct jm *jm, uint32_t node, uint32_t vertex, uint32_t attempt)
{
	if (jm->nodes[node].up)
		jm_emit_attempt(jm, JM_KILL, node, vertex, attempt);
}

static const char *format_text(struct jm *jm, const char *format, va_list args)
{
	char *text = base_vformat(format, args);
	const char *copy = arena_strdup(&jm->texts, text);

	free(text);
	return copy;
}

void jm_fact(struct jm *jm, const char *format, ...)
{
	va_list args;
	struct jm_effect *e;
	const char *text;

	if (jm->replaying)
		return;
	va_start(args, format);
	text = format_text(jm, format, args);
	va_end(args);
	e = jm_emit(jm, JM_JOURNAL);
	e->text = text;
}

static struct jm_effect *emit_note(struct jm *jm, const char *format, va_list args)
{
	const char *text = format_text(jm, format, args);
	struct jm_effect *e = jm_emit(jm, JM_NOTE);

	e->text = text;
	return e;
}

void jm_note(struct jm *jm, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	emit_note(jm, format, args);
	va_end(args);
}

void jm_note_like(struct jm *jm, uint32_t vertex, const char *like, const char *format, ...)
{
	va_list args;
	struct jm_effect *e;

	va_start(args, format);
	e = emit_note(jm, format, args);
	va_end(args);
	e->vertex = vertex;
	e->like = arena_strdup(&jm->texts, like);
}

const char *jm_attempt_text(struct jm *jm, uint32_t attempt)
{
	if (JM_ATTEMPT_EPOCH(attempt) == 1)
		return arena_format(&jm->texts, "%u", JM_ATTEMPT_NUMBER(attempt));
	return arena_format(&jm->texts, "%u.%u", JM_ATTEMPT_EPOCH(attempt), JM_ATTEMPT_NUMBER(attempt));
}

const char *jm_attempt_name(struct jm *jm, uint32_t vertex)
{
	const struct graph_stage *s = vertex_stage(jm, vertex);
	const struct jm_vertex *v = &jm->vertices[vertex];

	if (v->node == JM_NODE_NONE)
		return arena_format(&jm->texts, "%s[%u]", s->name, vertex - s->first_vertex);
	return arena_format(&jm->texts, "%s[%u] attempt %s on %s", s->name, vertex - s->first_vertex,
		jm_attempt_text(jm, v->attempt), jm->nodes[v->node].name);
}

void jm_wake(struct jm *jm, dag_instant at)
{
	jm->wake_at = DAG_MIN(jm->wake_at, at);
}

void jm_end(struct jm *jm, int error, const char *format, ...)
{
	va_list args;
	struct jm_effect *e;
	const char *text;

	if (jm->ended)
		return;
	va_start(args, format);
	text = format_text(jm, format, args);
	va_end(args);
	jm->ended = true;
	if (error)
		jm->failure = base_strdup(text);
	jm_fact(jm, "ended %d %s", error, text);
	e = jm_emit(jm, JM_END);
	e->error = error;
	e->text = text;
}

struct jm_effects jm_effects(const struct jm *jm)
{
	return (struct jm_effects){jm->effects, jm->effect_count, jm->ended ? DAG_NEVER : jm->wake_at};
}

const char *jm_failure(const struct jm *jm)
{
	return jm->failure;
}

bool jm_ended(const struct jm *jm)
{
	return jm->ended;
}

void effects_fini(struct jm *jm)
{
	free(jm->effects);
	free(jm->failure);
	arena_fini(&jm->texts);
}
