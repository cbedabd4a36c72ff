/* SPDX-License-Identifier: Apache-2.0 */
/* A run: the seed draws a cluster, a graph and faults; first it must stay safe, then, in peace, it must end.
 */
#include "sim.h"
#include "graph/graph.h"

#define LEFT_OVER_GRACE (60 * DAG_SECOND)

/* The middle of a job: so many nodes die at once, silently and for good. */
static void kill_many(struct sim *s, uint32_t self, uint64_t a, uint64_t b)
{
	uint64_t done = 0, all = 0;

	(void)self;
	(void)a;
	(void)b;
	for (uint32_t i = 0; i < s->use->stage_count; i++) {
		struct jm_stage_view view;

		jm_stage_view(manager_core(s), i, &view);
		done += view.done;
		all += view.width;
	}
	if (done * 5 < all * 2) {
		sim_call(s, DAG_SECOND, SIM_NAMES, false, kill_many, 0, 0);
		return;
	}
	for (uint32_t i = 0; i < s->options.kill && i < s->node_count; i++)
		node_crash(s, SIM_FIRST_NODE + i, true);
}

static void begin(struct sim *s)
{
	s->node_count = s->options.nodes ? s->options.nodes : 1 + (uint32_t)sim_draw(s, 8);
	s->process_count = s->node_count + SIM_FIRST_NODE;
	s->processes = base_alloc(s->process_count * sizeof(*s->processes));
	s->cut = base_alloc((size_t)s->process_count * s->process_count * sizeof(*s->cut));
	s->last_delivery =
		base_alloc((size_t)s->process_count * s->process_count * sizeof(*s->last_delivery));
	s->link_delay = base_alloc((size_t)s->process_count * s->process_count * sizeof(*s->link_delay));
	workload_draw(s);
	if (s->violation)
		return;
	for (size_t i = 0; i < s->use->stage_count; i++)
		sim_trace(s, "stage %s: %u vertices from %u", s->use->stages[i]->name,
			s->use->stages[i]->width, s->use->stages[i]->first_vertex);
	for (size_t i = 0; i < s->use->edge_count; i++)
		sim_trace(s, "edge %s %s %s, %s", s->use->stages[s->use->edges[i]->from]->name,
			s->use->edges[i]->pattern == GRAPH_BIPARTITE ? ">>" : ">=",
			s->use->stages[s->use->edges[i]->to]->name,
			graph_channel_name(s->use->edges[i]->channel));
	oracle_init(s);
	nodes_init(s);
	for (uint32_t i = 0; i < s->node_count; i++)
		sim_trace(s, "n%u: %u slots", i, s->nodes ? node_slots(s, SIM_FIRST_NODE + i) : 0);
	names_init(s);
	manager_init(s);
	faults_init(s);
	connections_init(s);
	names_boot(s, SIM_NAMES, 0, 0);
	for (uint32_t i = 0; i < s->node_count; i++)
		node_boot(s, SIM_FIRST_NODE + i, 0, 0);
	manager_boot(s, SIM_MANAGER, 0, 0);
	if (s->options.kill)
		sim_call(s, DAG_SECOND, SIM_NAMES, false, kill_many, 0, 0);
}

/* What an undisturbed run needs at most, twenty times over, and time for the dead to be noticed. */
static dag_instant bound(const struct sim *s)
{
	uint64_t slots = 0, n = s->options.kill < s->node_count ? s->node_count - s->options.kill : 1;

	for (uint32_t i = 0; i < s->node_count; i++)
		slots += node_slots(s, SIM_FIRST_NODE + i);
	slots = DAG_MAX(slots * n / s->node_count, (uint64_t)1);
	return 600 * DAG_SECOND + 20 * (dag_instant)(s->use->vertex_count / slots + 4) *
					  DAG_MAX(s->options.vertex_time, 3 * DAG_SECOND);
}

static void run(struct sim *s)
{
	dag_instant end;

	while (!s->violation && !s->ended && s->now < s->faults_end && sim_step(s))
		;
	if (s->violation)
		return;
	if (!s->options.kill)
		faults_calm(s);
	else
		s->calm = true;
	end = s->now + bound(s);
	while (!s->violation && !s->ended && s->now < end && sim_step(s))
		;
	if (!s->violation && !s->ended)
		sim_violate(s, "I9: the job does not end");
	if (s->violation)
		return;
	oracle_end(s);
	if (s->only_mute)
		sim_probe(s, PROBE_mute_only);
	/* Where the end was told, nothing is left behind. */
	if (!s->processes[SIM_MANAGER].up || strstr(s->end_text, "before the crash"))
		return;
	end = s->now + LEFT_OVER_GRACE;
	while (!s->violation && nodes_left_over(s) && s->now < end && !s->options.kill && sim_step(s))
		;
	if (nodes_left_over(s) && !s->options.kill)
		sim_violate(s, "I7: %u attempts are left behind", nodes_left_over(s));
}

void sim_run(const struct sim_options *options, struct sim_result *ret)
{
	struct sim s = {.options = *options, .prng = {options->seed}};

	begin(&s);
	if (!s.violation)
		run(&s);
	*ret = (struct sim_result){.violation = s.violation,
		.error = s.end_error,
		.text = s.end_text,
		.trace_hash = s.trace_hash,
		.attempts = s.attempts,
		.effects = s.effects,
		.messages = s.messages,
		.vertices = s.use->vertex_count,
		.nodes = s.node_count,
		.time = s.end_time};
	memcpy(ret->probes, s.probes, sizeof(s.probes));
	memcpy(ret->faults, s.faults, sizeof(s.faults));
	if (s.manager) {
		manager_fini(&s);
		nodes_fini(&s);
		names_fini(&s);
		oracle_fini(&s);
	}
	world_fini(&s);
	graph_destroy(&s.graph);
	free(s.processes);
	free(s.cut);
	free(s.last_delivery);
	free(s.link_delay);
	free(s.connections);
}

void sim_result_fini(struct sim_result *result)
{
	free(result->violation);
	free(result->text);
}
