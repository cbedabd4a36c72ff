/* SPDX-License-Identifier: Apache-2.0 */
/* Which attempt of which vertex it is, and what it failed of: the first error that was met stays, and the
 * input that it came from. */
#include "task.h"

struct dag_vertex *task_new(
	struct dag_vertex *spare, struct host *host, const struct host_stage *stage, const char *stage_name)
{
	struct dag_vertex *v = spare ? spare : base_alloc(sizeof(*v));
	struct arena arena = v->arena;

	memset(v, 0, sizeof(*v));
	v->arena = arena;
	v->host = host;
	v->stage = stage;
	v->stage_name = stage_name;
	v->passes_bytes = stage->entry && (stage->entry->flags & DAG_PASSES_BYTES);
	pthread_mutex_init(&v->lock, NULL);
	return v;
}

void task_on_start(struct dag_vertex *v, const struct host_msg *start, const struct host_skip *skips,
	const char *argument)
{
	v->task = start->task;
	v->stage_number = start->u.start.stage;
	v->vertex = start->u.start.vertex;
	v->index = start->u.start.index;
	v->width = start->u.start.width;
	v->attempt = start->u.start.attempt;
	v->epoch = start->u.start.epoch;
	v->skip_count = start->u.start.skip_count;
	memcpy(v->skips, skips, v->skip_count * sizeof(*v->skips));
	v->argument_len = start->u.start.argument_len;
	if (v->argument_len)
		v->argument = base_strndup(argument, v->argument_len);
}

void task_fini(struct dag_vertex *v)
{
	free(v->error_text);
	free(v->argument);
	pthread_mutex_destroy(&v->lock);
	arena_reset(&v->arena);
}

void task_destroy(struct dag_vertex **v)
{
	if (*v)
		arena_fini(&(*v)->arena);
	free(*v);
	*v = NULL;
}

int task_fail(struct dag_vertex *v, int error, char *text)
{
	pthread_mutex_lock(&v->lock);
	if (v->error) {
		free(text);
	} else {
		v->error = error;
		v->error_text = text;
	}
	pthread_mutex_unlock(&v->lock);
	return error;
}

int task_fail_long(struct dag_vertex *v, const char *what, uint32_t port, uint64_t number)
{
	return task_fail(v, DAG_ELIMIT,
		base_format("record %llu of %s port %u is longer than 1 GiB (%u bytes), the most that a "
			    "record may "
			    "have: a line feed is missing, or the data is no text; format: bytes has no such "
			    "limit",
			(unsigned long long)number + 1, what, port, RECORD_LEN_MAX));
}

int task_blame(struct dag_vertex *v, uint32_t port, uint32_t producer, int error, char *text)
{
	pthread_mutex_lock(&v->lock);
	if (!v->error && !v->blamed) {
		v->blamed = true;
		v->blamed_port = port;
		v->blamed_producer = producer;
	}
	pthread_mutex_unlock(&v->lock);
	return task_fail(v, error, text);
}
