/* SPDX-License-Identifier: Apache-2.0 */
/* What an attempt failed of: the first error that was met stays, and the input that it came from. */
#include "task.h"

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
