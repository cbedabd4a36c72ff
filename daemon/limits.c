/* SPDX-License-Identifier: Apache-2.0 */
/* What a vertex may have, and what it may leave behind: nothing. */
#include "node.h"
#include "base/size.h"
#include "os/container.h"
#include "os/strays.h"

#include <dirent.h>
#include <signal.h>

#define BIND_LOOKS_MAX 16 /* at a host's threads: who starts threads all the time may keep some */

char *host_memory_text(const struct attempt *a)
{
	char had[SIZE_TEXT_LEN], may[SIZE_TEXT_LEN];

	if (a->run->too_much == UINT64_MAX)
		return base_format(
			"killed: more than memory %s", size_format(a->job->stages[a->stage].memory, may));
	return base_format("killed: %s > memory %s", size_format(a->run->too_much, had),
		size_format(a->job->stages[a->stage].memory, may));
}

/* The kernel killed something for want of memory since this was asked last. */
static bool memory_was_short(struct daemon *d)
{
	uint64_t before = d->kills;

	d->kills = container_kills("");
	return d->kills > before;
}

char *host_why_killed(struct daemon *d, int signal, char *text)
{
	char size[SIZE_TEXT_LEN], *whole;

	if (signal != SIGKILL || !memory_was_short(d))
		return text;
	whole = base_format(
		"%s, since the node's memory (%s) was used up", text, size_format(d->memory, size));
	free(text);
	return whole;
}

/* Threads of one host share what their stages may have; 0 where one may have all. */
static uint64_t memory_of(const struct job *job, struct attempt **attempts, size_t n)
{
	uint64_t may = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t said = job->stages[attempts[i]->stage].memory;

		if (!said)
			return 0;
		may += said;
	}
	return may;
}

/* Likewise, in sixteenths of a CPU. */
static uint32_t shares_of(const struct job *job, struct attempt **attempts, size_t n)
{
	uint32_t shares = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t said = job->stages[attempts[i]->stage].cpu_shares;

		if (!said)
			return 0;
		shares += said;
	}
	return shares;
}

void host_check_memory(struct job *job)
{
	for (struct host *h = job->daemon->hosts; h; h = h->next) {
		bool by_kernel = h->cgroup && cgroup_limits_memory(job->daemon->cgroup);
		/* Those that wait in the host may have as much as the first, and need nothing yet. */
		size_t n = h->task_count > 1 && h->tasks[1]->ahead ? 1 : h->task_count;
		uint64_t may = h->job == job && !by_kernel ? memory_of(job, h->tasks, n) : 0,
			 has = may && !h->retiring ? strays_memory(h->pid) : 0;

		if (has <= may)
			continue;
		for (size_t i = 0; i < n; i++)
			h->tasks[i]->run->too_much = has;
		host_kill(h);
	}
}

/* ---- CPUs, where no group limits them ---- */

/* Programs inherit it. A thread that ends meanwhile needs nothing. True where all were bound already. */
static bool bind_listed(DIR *dir, const cpu_set_t *cpus)
{
	struct dirent *e;
	bool all = true;

	rewinddir(dir);
	while ((e = readdir(dir))) {
		pid_t thread = (pid_t)strtol(e->d_name, NULL, 10); /* 0: no thread's name */
		cpu_set_t has;

		if (!thread || (sched_getaffinity(thread, sizeof(has), &has) == 0 && CPU_EQUAL(&has, cpus)))
			continue;
		sched_setaffinity(thread, sizeof(*cpus), cpus);
		all = false;
	}
	return all;
}

/* Until all were bound before we looked: a thread may be born by an unbound one after the list was read. */
static void bind_threads(pid_t pid, const cpu_set_t *cpus)
{
	char *path = base_format("/proc/%d/task", (int)pid);
	DIR *dir = opendir(path);

	for (int i = 0; dir && i < BIND_LOOKS_MAX && !bind_listed(dir, cpus); i++)
		;
	if (dir)
		closedir(dir);
	free(path);
}

static bool bind_child(void *cpus, pid_t pid)
{
	bind_threads(pid, cpus);
	return true;
}

/* Those that the fewest hosts are bound to. Daemons of one machine do not see each other's: of alike ones
 * each begins elsewhere. */
static void choose_cpus(struct daemon *d, uint32_t count, cpu_set_t *ret)
{
	cpu_set_t all;
	int cpus[CPU_SETSIZE], n = 0, first = getpid();

	CPU_ZERO(ret);
	CPU_ZERO(&all);
	sched_getaffinity(0, sizeof(all), &all);
	for (int c = 0; c < CPU_SETSIZE; c++)
		if (CPU_ISSET(c, &all))
			cpus[n++] = c;
	for (uint32_t i = 0; i < DAG_MIN(count, (uint32_t)n); i++) {
		int best = -1;

		for (int k = 0; k < n; k++) {
			int c = cpus[(first + k) % n];

			if (!CPU_ISSET(c, ret) && (best < 0 || d->bound[c] < d->bound[best]))
				best = c;
		}
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

static void limit_cpus(struct host *h, uint32_t shares)
{
	uint32_t cpus = (shares + GRAPH_CPU_SHARES - 1) / GRAPH_CPU_SHARES;

	if (cpus == h->cpus)
		return;
	host_free_cpus(h);
	h->cpus = cpus;
	if (cpus)
		choose_cpus(h->daemon, cpus, &h->cpu_set);
	else
		sched_getaffinity(0, sizeof(h->cpu_set), &h->cpu_set);
	count_bound(h, +1);
	/* The guard first: a host that it starts meanwhile inherits it. */
	bind_threads(h->pid, &h->cpu_set);
	strays_each_child(h->pid, bind_child, &h->cpu_set);
}

void host_limit(struct host *h, struct attempt **attempts, size_t n)
{
	struct cgroup *group = h->cgroup ? h->daemon->cgroup : NULL;
	uint32_t shares = shares_of(h->job, attempts, n);
	uint64_t memory = memory_of(h->job, attempts, n);

	if (group && (memory != h->memory || shares != h->shares))
		cgroup_limit(group, h->cgroup, memory, shares * 100 / GRAPH_CPU_SHARES);
	h->memory = memory;
	h->shares = shares;
	if (!cgroup_limits_cpu(group))
		limit_cpus(h, shares);
}

/* ---- the end ---- */

void limits_tick(struct daemon *d)
{
	for (size_t i = 0; i < d->dead_group_count;)
		if (cgroup_remove(d->dead_groups[i])) {
			free(d->dead_groups[i]);
			d->dead_groups[i] = d->dead_groups[--d->dead_group_count];
		} else
			i++;
}

void host_end_group(struct host *h)
{
	struct daemon *d = h->daemon;

	if (!h->cgroup)
		return;
	cgroup_kill(h->cgroup);
	*DAG_APPEND(d->dead_groups, d->dead_group_count, d->dead_group_cap) = h->cgroup;
	h->cgroup = NULL;
}
