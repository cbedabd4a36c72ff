/* SPDX-License-Identifier: Apache-2.0 */
/* Half of the fault classes are on in a run; each comes again and again, as often and as hard as was drawn,
 * until the second phase, in which all heals and the job must end. */
#include "sim.h"

const char *const sim_fault_names[FAULT_COUNT] = {"delay", "loss", "double", "reorder", "partition",
	"one-way", "slow-link", "node-crash", "node-disk", "node-pause", "manager-crash", "manager-point",
	"manager-pause", "names-crash", "disk-full", "journal-full", "corrupt", "lost-data", "vertex-crash",
	"vertex-slow", "vertex-wedged", "not-deterministic", "mute", "far-source", "source-error",
	"source-changed"};

/* These came later: they are drawn beside the others, so that older seeds are what they were without them. */
#define FAULT_LATER FAULT_MUTE

static uint32_t draw_node(struct sim *s)
{
	return SIM_FIRST_NODE + (uint32_t)sim_draw(s, s->node_count);
}

static uint32_t draw_process(struct sim *s)
{
	return (uint32_t)sim_draw(s, s->process_count);
}

static void heal(struct sim *s, uint32_t from, uint64_t to, uint64_t b)
{
	(void)b;
	s->cut[(size_t)from * s->process_count + to] = false;
}

static void cut(struct sim *s, uint32_t from, uint32_t to, dag_instant time)
{
	s->cut[(size_t)from * s->process_count + to] = true;
	sim_call(s, time, from, false, heal, to, 0);
}

/* Some processes cannot be reached by the others. */
static void part(struct sim *s, bool one_way)
{
	dag_instant time = (1 + (dag_instant)sim_draw(s, 40)) * DAG_SECOND;

	if (sim_draw(s, 2)) { /* one pair */
		uint32_t a = draw_process(s), b = draw_process(s);

		cut(s, a, b, time);
		if (!one_way)
			cut(s, b, a, time);
		sim_trace(s, "cut %u %s %u", a, one_way ? "->" : "<->", b);
		return;
	}
	uint32_t lonely = draw_process(s);

	sim_trace(s, "cut %u off%s", lonely, one_way ? ", one way" : "");
	for (uint32_t i = 0; i < s->process_count; i++) {
		cut(s, lonely, i, time);
		if (!one_way)
			cut(s, i, lonely, time);
	}
}

static void see_closed(struct sim *s, uint32_t self, uint64_t node, uint64_t generation)
{
	(void)self;
	if (!s->cut[node * s->process_count] && s->processes[node].generation == generation)
		manager_connection_lost(s, (uint32_t)node);
}

static void crash_node(struct sim *s, uint32_t node, bool disk_too)
{
	if (!s->processes[node].up)
		return;
	node_crash(s, node, disk_too);
	if (sim_draw(s, 2)) /* the machine lives: its port is closed */
		sim_call(s, 20 * DAG_MS, SIM_MANAGER, true, see_closed, node, s->processes[node].generation);
	sim_call(s, (dag_instant)sim_draw(s, 30000) * DAG_MS, node, false, node_boot, 0, 0);
}

static void pause_process(struct sim *s, uint32_t process, dag_instant time)
{
	sim_trace(s, "stop %u", process);
	s->processes[process].paused_until = s->now + time;
}

static void set_full(struct sim *s, uint32_t self, uint64_t full, uint64_t b);

static void happen(struct sim *s, enum sim_fault fault)
{
	switch (fault) {
	case FAULT_PARTITION:
	case FAULT_ONE_WAY:
		part(s, fault == FAULT_ONE_WAY);
		break;
	case FAULT_SLOW_LINK:
		s->link_delay[sim_draw(s, (uint64_t)s->process_count * s->process_count)] =
			(dag_instant)sim_draw(s, 500) * DAG_MS;
		break;
	case FAULT_NODE_CRASH:
		crash_node(s, draw_node(s), s->faults[FAULT_NODE_DISK] && sim_draw(s, 2));
		break;
	case FAULT_NODE_PAUSE:
		pause_process(s, draw_node(s), (dag_instant)sim_draw(s, 60000) * DAG_MS);
		break;
	case FAULT_MANAGER_CRASH:
		manager_crash(s);
		break;
	case FAULT_MANAGER_PAUSE:
		pause_process(s, SIM_MANAGER, (dag_instant)sim_draw(s, 45000) * DAG_MS);
		break;
	case FAULT_NAMES_CRASH:
		names_crash(s);
		sim_call(s, (dag_instant)sim_draw(s, 20000) * DAG_MS, SIM_NAMES, false, names_boot, 0, 0);
		break;
	case FAULT_DISK_FULL: {
		uint32_t node = draw_node(s);

		set_full(s, node, true, 0);
		sim_call(s, (dag_instant)sim_draw(s, 10000) * DAG_MS, node, false, set_full, false, 0);
		break;
	}
	case FAULT_JOURNAL_FULL:
		set_full(s, SIM_MANAGER, true, 0);
		sim_call(s, (dag_instant)sim_draw(s, 10000) * DAG_MS, SIM_MANAGER, false, set_full, false, 0);
		break;
	case FAULT_CORRUPT:
	case FAULT_LOST_DATA:
		node_damage(s, draw_node(s), fault == FAULT_LOST_DATA);
		break;
	case FAULT_MUTE:
		connections_fall_mute(s);
		break;
	case FAULT_SOURCE_CHANGED:
		sim_trace(s, "the input changes");
		s->source_changed = true;
		break;
	default:
		break;
	}
}

static void set_full(struct sim *s, uint32_t self, uint64_t full, uint64_t b)
{
	(void)b;
	sim_trace(s, "disk of %u is %s", self, full ? "full" : "free");
	if (self == SIM_MANAGER)
		manager_set_full(s, full);
	else
		node_set_full(s, self, full);
}

static void recur(struct sim *s, uint32_t self, uint64_t fault, uint64_t first)
{
	(void)self;
	if (s->calm)
		return;
	if (!first)
		happen(s, (enum sim_fault)fault);
	sim_call(s, (dag_instant)sim_draw(s, 2ull * s->rate[fault]) * DAG_MS, SIM_NAMES, false, recur, fault,
		0);
}

/* What is drawn at each message or attempt, per mille; the others come every so many milliseconds. */
static uint32_t draw_rate(struct sim *s, enum sim_fault fault)
{
	switch (fault) {
	case FAULT_DELAY:
	case FAULT_DOUBLE:
	case FAULT_REORDER:
		return 1 + (uint32_t)sim_draw(s, 200);
	case FAULT_LOSS:
		return 1 + (uint32_t)sim_draw(s, 100);
	case FAULT_MANAGER_POINT:
		return 1 + (uint32_t)sim_draw(s, 10);
	case FAULT_VERTEX_CRASH:
	case FAULT_VERTEX_SLOW:
	case FAULT_VERTEX_WEDGED:
		return 1 + (uint32_t)sim_draw(s, 100);
	case FAULT_NOT_DETERMINISTIC:
		return 1 + (uint32_t)sim_draw(s, 300);
	default:
		return 1000 + (uint32_t)sim_draw(s, 20000);
	}
}

static bool may_stay(enum sim_fault fault)
{
	return fault >= FAULT_VERTEX_CRASH;
}

static uint32_t draw_later_rate(struct prng *p, enum sim_fault fault)
{
	if (fault == FAULT_SOURCE_ERROR)
		return 1 + (uint32_t)prng_below(p, 200);
	if (fault == FAULT_SOURCE_CHANGED) /* late, or every job would end by it */
		return 20000 + (uint32_t)prng_below(p, 100000);
	return 1000 + (uint32_t)prng_below(p, 10000);
}

static void draw_later(struct sim *s)
{
	struct prng p = {s->options.seed ^ 0x6661756c7473u};

	prng_next(&p);
	for (uint32_t f = FAULT_LATER; f < FAULT_COUNT; f++) {
		s->rate[f] = draw_later_rate(&p, (enum sim_fault)f);
		s->faults[f] = prng_below(&p, 2) && !s->options.quiet_faults && !(s->options.off >> f & 1) &&
			       !(f >= FAULT_SOURCE_ERROR && s->options.graph); /* it shows machines */
	}
	s->only_mute = prng_below(&p, 4) == 0 && s->faults[FAULT_MUTE];
	for (uint32_t f = 0; f < FAULT_COUNT && s->only_mute; f++)
		s->faults[f] = s->faults[f] && may_stay((enum sim_fault)f);
}

void faults_init(struct sim *s)
{
	s->faults_end = s->options.faults_end ? s->options.faults_end
					      : (10 + (dag_instant)sim_draw(s, 90)) * DAG_SECOND;
	for (uint32_t f = 0; f < FAULT_LATER; f++) {
		bool on = sim_draw(s, 2);

		s->rate[f] = draw_rate(s, (enum sim_fault)f);
		s->faults[f] = on && !s->options.quiet_faults && !(s->options.off >> f & 1);
	}
	draw_later(s);
	for (uint32_t f = 0; f < FAULT_COUNT; f++)
		if (s->faults[f])
			recur(s, SIM_NAMES, f, 1);
}

/* All heals, and whoever is down comes up. */
void faults_calm(struct sim *s)
{
	sim_trace(s, "calm");
	s->calm = true;
	memset(s->cut, 0, (size_t)s->process_count * s->process_count * sizeof(*s->cut));
	manager_set_full(s, false);
	for (uint32_t i = 0; i < s->process_count; i++)
		s->processes[i].paused_until = 0;
	for (uint32_t i = 0; i < s->node_count; i++) {
		node_set_full(s, SIM_FIRST_NODE + i, false);
		node_boot(s, SIM_FIRST_NODE + i, 0, 0);
	}
	names_boot(s, SIM_NAMES, 0, 0);
	manager_boot(s, SIM_MANAGER, 0, 0);
}
