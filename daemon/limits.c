/* SPDX-License-Identifier: Apache-2.0 */
/* What a vertex may have, and what it may leave behind: nothing. */
#include "node.h"
#include "base/size.h"
#include "os/strays.h"

#include <dirent.h>

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

/* ---- CPUs ---- */

/* Programs inherit it. A thread that ends meanwhile needs nothing. */
static void bind_threads(pid_t pid, const cpu_set_t *cpus)
{
	char *path = base_format("/proc/%d/task", (int)pid);
	DIR *dir = opendir(path);
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			sched_setaffinity((pid_t)strtol(e->d_name, NULL, 10), sizeof(*cpus), cpus);
	if (dir)
		closedir(dir);
	free(path);
}

/* Those that the fewest hosts are bound to. */
static void choose_cpus(struct daemon *d, uint32_t count, cpu_set_t *ret)
{
	cpu_set_t all;

	CPU_ZERO(ret);
	CPU_ZERO(&all);
	sched_getaffinity(0, sizeof(all), &all);
	for (uint32_t i = 0; i < count; i++) {
		int best = -1;

		for (int c = 0; c < CPU_SETSIZE; c++)
			if (CPU_ISSET(c, &all) && !CPU_ISSET(c, ret) &&
				(best < 0 || d->bound[c] < d->bound[best]))
				best = c;
		if (best >= 0)
			CPU_SET(best, ret);
	}
}

static void count_bound(struct host *h, int by)
{
	for (int c = 0; c < CPU_SETSIZE && h->cpus; c++)
		if (CPU_ISSET(c, &h->cpu_set))
			h->daemon->bound[c] += (uint16_t)by;
}

void host_free_cpus(struct host *h)
{
	count_bound(h, -1);
	h->cpus = 0;
}

void host_limit_cpus(struct host *h, struct attempt **attempts, size_t n)
{
	uint32_t shares = 0, cpus;

	for (size_t i = 0; i < n; i++) {
		uint32_t said = h->job->stages[attempts[i]->stage].cpu_shares;

		shares = said && shares != UINT32_MAX ? shares + said : UINT32_MAX;
	}
	cpus = shares == UINT32_MAX || !n ? 0 : (shares + GRAPH_CPU_SHARES - 1) / GRAPH_CPU_SHARES;
	if (cpus == h->cpus)
		return;
	host_free_cpus(h);
	h->cpus = cpus;
	if (cpus)
		choose_cpus(h->daemon, cpus, &h->cpu_set);
	else
		sched_getaffinity(0, sizeof(h->cpu_set), &h->cpu_set);
	count_bound(h, +1);
	bind_threads(h->pid, &h->cpu_set);
}

/* ---- memory ---- */

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
