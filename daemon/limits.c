/* SPDX-License-Identifier: Apache-2.0 */
/* What a vertex may have, and what it may leave behind: nothing. */
#include "node.h"
#include "base/size.h"
#include "os/strays.h"

char *host_memory_text(const struct attempt *a)
{
	char had[SIZE_TEXT_LEN], may[SIZE_TEXT_LEN];

	return base_format("killed: %s > memory %s", size_format(a->too_much, had),
		size_format(a->job->stages[a->stage].memory, may));
}

/* Threads of one host share what their stages may have. */
void host_check_memory(struct job *job)
{
	for (struct host *h = job->daemon->hosts; h; h = h->next) {
		uint64_t may = 0, has;
		bool limited = h->task_count > 0 && h->job == job;

		for (size_t i = 0; i < h->task_count && limited; i++) {
			may += job->stages[h->tasks[i]->stage].memory;
			limited = job->stages[h->tasks[i]->stage].memory > 0;
		}
		has = limited && !h->retiring ? strays_memory(h->pid) : 0;
		if (has <= may)
			continue;
		for (size_t i = 0; i < h->task_count; i++)
			h->tasks[i]->too_much = has;
		host_kill(h);
	}
}

/* What its vertices had started, in whatever session. */
void host_end_strays(struct daemon *d)
{
	pid_t *pids = NULL;
	size_t n = 0, cap = 0;

	for (struct host *h = d->hosts; h; h = h->next)
		*DAG_APPEND(pids, n, cap) = h->pid;
	strays_kill(pids, n);
	free(pids);
}
