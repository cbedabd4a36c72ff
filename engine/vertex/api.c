/* SPDX-License-Identifier: Apache-2.0 */
/* What the vertex is and says: the part of the vertex API beside reading and writing. */
#include "task.h"

#include <stdio.h>

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

void task_note(struct dag_vertex *v, enum host_note kind, const char *format, ...)
{
	struct host_msg msg = {.kind = HOST_LOG, .task = v->task, .u.log.note = kind};
	va_list args;
	uint32_t *noted, said;
	char *text;

	pthread_mutex_lock(&v->host->lock);
	noted = &v->host->stages[v->stage_number].noted;
	said = *noted & 1u << kind;
	*noted |= 1u << kind;
	pthread_mutex_unlock(&v->host->lock);
	if (said)
		return;
	va_start(args, format);
	text = base_vformat(format, args);
	va_end(args);
	host_send(v->host, &msg, text, DAG_MIN(strlen(text), (size_t)1024));
	free(text);
}

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
	return task_scratch(v);
}

bool task_skips(struct dag_vertex *v, const struct dag_record *r)
{
	struct host_msg msg = {.kind = HOST_SKIPPED, .task = v->task};
	bool found = false;

	for (uint32_t i = 0; i < v->skip_count && !found; i++)
		found = v->skips[i].port == r->port && v->skips[i].producer == r->producer &&
			v->skips[i].number == r->number;
	if (!found)
		return false;
	msg.u.data.port = r->port;
	msg.u.data.producer = r->producer;
	msg.u.data.bytes = r->number;
	host_send(v->host, &msg, r->data, DAG_MIN((size_t)r->len, (size_t)1024));
	return true;
}

int dag_read_batch(struct dag_vertex *v, uint32_t port, struct dag_record r[], size_t n)
{
	size_t count = 0;
	int got = n ? dag_read(v, port, &r[0]) : 0;

	/* All spans of a batch must live together, so a batch never leaves the block or the bytes at hand. */
	while (got > 0 && ++count < n && !v->read_unended) {
		struct in_channel *ch = &v->in[port].channels[v->in[port].current];

		if (ch->source ? !source_has_record(ch->source) : ch->at == ch->end)
			break;
		got = reader_next(v, port, v->in[port].current, &r[count]);
	}
	/* Which of several it died at is not known. */
	if (count > 1)
		atomic_store_explicit(&v->host->status->reading, 0, memory_order_relaxed);
	return got < 0 ? got : (int)count;
}
