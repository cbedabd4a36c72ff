/* SPDX-License-Identifier: Apache-2.0 */
/* What the vertex is and says: the part of the vertex API beside reading and writing. */
#include "host.h"
#include "reader.h"
#include "scratch.h"
#include "task.h"

#include <stdio.h>

int dag_fail(struct dag_vertex *v, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = base_vformat(format, args);
	va_end(args);
	return task_fail(v, DAG_EFAILED, text);
}

int dag_fail_at(struct dag_vertex *v, const struct dag_record *r, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = base_vformat(format, args);
	va_end(args);
	reader_show_record(v, r);
	return task_fail(v, DAG_EFAILED, text);
}

void dag_log(struct dag_vertex *v, const char *format, ...)
{
	struct host_msg msg = {.kind = HOST_LOG, .task = v->task};
	va_list args;
	char *text;

	va_start(args, format);
	text = base_vformat(format, args);
	va_end(args);
	host_send(v->host, &msg, text, DAG_MIN(strlen(text), (size_t)1024));
	free(text);
}

void dag_count(struct dag_vertex *v, const char *name, int64_t add)
{
	for (uint32_t i = 0; i < v->counter_count; i++)
		if (!strncmp(v->counters[i].name, name, sizeof(v->counters[i].name) - 1)) {
			v->counters[i].value += add;
			return;
		}
	if (v->counter_count == HOST_COUNTERS_MAX)
		return;
	snprintf(v->counters[v->counter_count].name, sizeof(v->counters[0].name), "%s", name);
	v->counters[v->counter_count++].value = add;
}

uint32_t dag_index(const struct dag_vertex *v)
{
	return v->index;
}

uint32_t dag_width(const struct dag_vertex *v)
{
	return v->width;
}

const void *dag_argument(const struct dag_vertex *v, size_t *ret_len)
{
	*ret_len = v->argument_len;
	return v->argument ? v->argument : "";
}

const char *dag_param(const struct dag_vertex *v, const char *name)
{
	for (uint32_t i = 0; i < v->stage->spec.param_count; i++)
		if (!strcmp(v->stage->spec.params[i].name, name))
			return v->stage->spec.params[i].value;
	return NULL;
}

/* Of the job's graph and the vertex, never of the attempt: a rerun draws the same numbers. */
uint64_t dag_seed(const struct dag_vertex *v)
{
	return hash_64(v->stage_name, strlen(v->stage_name)) ^ ((uint64_t)v->index * 0x9e3779b97f4a7c15u);
}

const char *dag_scratch(struct dag_vertex *v)
{
	return scratch_make(v);
}
