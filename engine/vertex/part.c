/* SPDX-License-Identifier: Apache-2.0 */
/* A part that nobody reads any more. */
#include "part.h"
#include "host.h"
#include "task.h"

void part_close(struct dag_vertex *v, uint32_t stream, uint32_t part)
{
	struct out_stream *s = &v->streams[stream];

	if (!s->parts[part].closed)
		__atomic_add_fetch(&s->parts_closed, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&s->parts[part].closed, true, __ATOMIC_RELAXED);
	host_changed(v->host);
}
