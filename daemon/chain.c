/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attempts that the job manager started behind the one that they read, before that has ended: they go to the
 * same host with it, which runs them in turn. Until then, or where they come back from there, they wait
 * beside the queue; when the one before them has ended they are like any others.
 */
#include "node.h"

#define CHAIN_MAX 512u /* attempts that a host has at a time */

static struct attempt *find_leader(const struct attempt *a)
{
	for (uint32_t p = 0; p < a->input_count; p++) {
		const struct input_port *in = &a->inputs[p];
		struct attempt *from;

		if (in->channel != GRAPH_FILE || in->sources || in->count != 1 ||
			in->nodes[0] != a->job->own_node)
			continue;
		from = attempt_find(a->job, in->vertices[0], in->attempts[0]);
		if (from && !from->discarded &&
			(from->state == ATTEMPT_QUEUED || from->state == ATTEMPT_RUNNING) &&
			!from->run->follower)
			return from;
	}
	return NULL;
}

bool chain_link(struct attempt *a)
{
	struct attempt *from = a->run->group ? NULL : find_leader(a);

	if (!from)
		return false;
	a->run->behind = from;
	from->run->follower = a;
	if (from->host)
		chain_follow(from);
	return true;
}

void chain_follow(struct attempt *a)
{
	struct attempt *f = a->run->follower;
	struct host *host = a->host;

	if (!f || f->state != ATTEMPT_QUEUED || host->job != a->job || host->retiring || host->isolate ||
		host->task_count >= CHAIN_MAX || host->tasks[host->task_count - 1] != a ||
		!ahead_may_follow(f, a))
		return;
	ahead_put(host, f);
}

void chain_unlink(struct attempt *a)
{
	struct attempt *f = a->run->follower;

	if (a->run->behind)
		a->run->behind->run->follower = NULL;
	a->run->behind = a->run->follower = NULL;
	if (!f)
		return;
	f->run->behind = NULL;
	if (f->state == ATTEMPT_QUEUED && !f->discarded)
		job_queue(f);
	else if (f->state == ATTEMPT_RUNNING && a->state == ATTEMPT_SEALED)
		input_follow(f, a);
}
