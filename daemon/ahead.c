/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short vertices wait in a host that runs another of their stage, so that it need not wait for its daemon
 * between them: the shorter they are, the more of them. They count for nothing until they begin: no slot, no
 * time, no memory. They come back where the host ends, or where the one before them turns out to be long and
 * slots are free; the host's status page says which of the two was first, its beginning or our taking back.
 */
#include "node.h"
#include "os/os.h"

void ahead_begin_next(struct host *host)
{
	struct attempt *a = host->task_count ? host->tasks[0] : NULL;

	if (!a || !a->ahead)
		return;
	job_begin(a);
	if (!a->discarded)
		return;
	ahead_give_back(host); /* nobody wants it any more */
	host_kill(host);
}

/* In their order. Those that nobody wants any more end with the host. */
static bool give_back(struct host *host, uint32_t begun)
{
	bool any = false;

	for (size_t i = host->task_count; i-- > 0;) {
		struct attempt *a = host->tasks[i];

		if (!a->ahead || a->task <= begun || a->discarded || a->lost || !a->job->ready)
			continue;
		host_remove_task(host, a);
		job_requeue(a);
		any = true;
	}
	return any;
}

void ahead_give_back(struct host *host)
{
	give_back(host, 0);
}

static bool revoke_waiting(struct host *host)
{
	uint32_t begun = host_status_revoke(host->status, host->tasks[0]->task, host->last_task);
	bool any = give_back(host, begun);

	/* What nobody wanted any more, and will not be heard of again. */
	for (size_t i = host->task_count; i-- > 0;) {
		struct attempt *a = host->tasks[i];

		if (!a->ahead || a->task <= begun)
			continue;
		host_remove_task(host, a);
		attempt_fail(a, DAG_ECANCELED, 0, base_strdup("it was taken back"));
	}
	return any;
}

/* ---- which, and where ---- */

/* Nothing that runs at the same time waits for it, or it for that. */
static bool is_lone(const struct attempt *a)
{
	for (uint32_t p = 0; p < a->input_count; p++)
		if (a->inputs[p].channel == GRAPH_PIPE || a->inputs[p].channel == GRAPH_FIFO)
			return false;
	return !a->run->group && a->job->stages[a->stage].lone;
}

bool ahead_may_follow(const struct attempt *a, const struct attempt *before)
{
	const struct job_stage *stage = &a->job->stages[a->stage],
			       *other = &before->job->stages[before->stage];

	return is_lone(a) && is_lone(before) && stage->memory == other->memory &&
	       stage->cpu_shares == other->cpu_shares;
}

/* Its vertex takes much longer than those of its stage usually do. */
static bool is_held_up(const struct host *host)
{
	return os_now() - host->tasks[0]->run->started > HELD_UP;
}

static bool keeps_others_waiting(const struct host *host, const struct job *job)
{
	return host->job == job && host->task_count > 1 && host->tasks[1]->ahead && is_held_up(host);
}

/* Slots are free, and what waits in a host that is held up could use them. */
bool ahead_take_back(struct job *job)
{
	bool any = false;

	for (struct host *h = job->daemon->hosts; h && job->running < job->grant; h = h->next)
		if (keeps_others_waiting(h, job))
			any = revoke_waiting(h) || any;
	return any;
}

/* From the last on. What others are started behind stays with them. */
void ahead_recall(struct job *job, uint32_t shares)
{
	for (struct host *h = job->daemon->hosts; h; h = h->next)
		if (keeps_others_waiting(h, job))
			revoke_waiting(h);
	for (size_t i = job->queue_count; i-- > job->queue_first && shares;) {
		struct attempt *a = job->queue[i];

		if (a->run->group || a->run->follower)
			continue;
		shares -= DAG_MIN(shares, a->run->shares);
		attempt_take_out(job->queue, i, &job->queue_count, a);
		attempt_fail(a, DAG_ECANCELED, 0, base_strdup("it had not begun, and was given back"));
	}
}

/* How long a vertex of the stage will run, by those before it; 0: nobody knows. */
static dag_instant expected_run(const struct job *job, const struct job_stage *stage)
{
	return stage->run_ns ? stage->run_ns : job->stages[stage->kind].kind_run_ns;
}

static uint32_t depth(dag_instant run_ns)
{
	if (run_ns > DEEP_RUN)
		return 2;
	return (uint32_t)DAG_MIN(
		DAG_MAX(AHEAD_TIME / run_ns, (dag_instant)AHEAD_MIN), (dag_instant)AHEAD_MAX);
}

static bool is_short(dag_instant run_ns)
{
	return run_ns && run_ns <= SHORT_RUN;
}

bool ahead_put(struct host *host, struct attempt *a)
{
	a->state = ATTEMPT_RUNNING;
	a->ahead = true;
	a->run->deadline = DAG_NEVER;
	if (host_run(host, &a, 1) < 0) {
		job_requeue(a);
		return false;
	}
	serve_started(a);
	return true;
}

/* Short vertices wait in a host that has another, so that it need not wait for us between them. */
static bool run_ahead(struct job *job, struct host *host)
{
	struct attempt *a = job->queue[job->queue_first];
	struct job_stage *stage = &job->stages[a->stage];
	dag_instant run_ns = expected_run(job, stage);

	if (host->job != job || host->retiring || host->isolate || !host->task_count || stage->isolate ||
		!ahead_may_follow(a, host->tasks[0]) || !is_short(run_ns) ||
		!is_short(expected_run(job, &job->stages[host->tasks[0]->stage])) ||
		host->task_count >= depth(run_ns) || is_held_up(host) || job_runs_before(a))
		return false;
	job->queue_first++;
	return ahead_put(host, a);
}

void ahead_send(struct job *job)
{
	bool any = true;

	while (any) {
		any = false;
		for (struct host *h = job->daemon->hosts; h && job->queue_first < job->queue_count;
			h = h->next)
			any = run_ahead(job, h) || any;
	}
}
