/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inputs of the job that not every node has at hand: the job manager reads them on the submitting machine,
 * piece by piece as a daemon asks. It may die meanwhile, be slow, find that a file cannot be read or is
 * another one now.
 */
#include "manager.h"
#include "node.h"

#define PIECE ((uint32_t)sizeof(uint64_t))
#define WINDOW 2u /* pieces that are asked for and not here */

/* One node is on the submitting machine, or sees its files. */
static bool is_at_hand(const struct sim *s, uint32_t process)
{
	struct prng prng = {s->options.seed ^ 0x666172};

	prng_next(&prng);
	return !s->faults[FAULT_FAR_SOURCE] || prng_below(&prng, s->node_count) == process - SIM_FIRST_NODE;
}

/* ---- the daemon ---- */

static bool wants(const struct sim *s, const struct input *in)
{
	return !in->have && in->outstanding < WINDOW &&
	       (!in->outstanding || in->asked < data_blocks(s, in->vertex));
}

static void request(struct sim *s, uint32_t self, const struct attempt *a, size_t i)
{
	struct sim_node *n = node_of(s, self);
	struct input *in = &a->inputs[i];

	/* Without a job manager nothing is asked for: the next one is. */
	while (n->open && wants(s, in)) {
		Dagrun__SourceRequest m = DAGRUN__SOURCE_REQUEST__INIT;
		SIM_ENVELOPE(e, SOURCE_REQUEST);

		m.channel = a->instance << 32 | i;
		m.vertex = in->vertex;
		m.position = (uint64_t)in->asked * PIECE;
		m.length = PIECE;
		e.source_request = &m;
		sim_send(s, self, &n->manager, &e);
		in->asked++;
		in->outstanding++;
	}
}

void source_begin(struct sim *s, uint32_t self, struct attempt *a, size_t i)
{
	struct input *in = &a->inputs[i];

	/* What is another file than was noted is asked for, so that somebody says so. */
	in->far = !is_at_hand(s, self) || s->source_changed;
	if (in->far) {
		request(s, self, a, i);
		return;
	}
	in->have = true;
	in->value = source_value(in->vertex);
}

void sources_ask_again(struct sim *s, uint32_t self)
{
	for (struct attempt *a = node_of(s, self)->attempts; a; a = a->hh.next)
		for (size_t i = 0; i < a->input_count && a->state == RUNNING; i++) {
			struct input *in = &a->inputs[i];

			if (!in->far || in->have)
				continue;
			sim_probe(s, PROBE_source_again);
			in->outstanding = 0;
			in->asked = in->got;
			request(s, self, a, i);
		}
}

static struct attempt *reader_of(const struct sim_node *n, uint64_t instance)
{
	for (struct attempt *a = n->attempts; a; a = a->hh.next)
		if (a->instance == instance && a->state == RUNNING)
			return a;
	return NULL;
}

void source_take(struct sim *s, uint32_t self, const Dagrun__SourceData *m)
{
	struct attempt *a = reader_of(node_of(s, self), m->channel >> 32);
	size_t i = (uint32_t)m->channel;
	struct input *in = a ? &a->inputs[i] : NULL;
	uint64_t piece = 0;

	if (!in || in->have)
		return;
	if (m->error) {
		sim_probe(s, PROBE_source_unread);
		a->blamed = i + 1;
		node_end(s, self, a, m->error, dag_strerror(m->error));
		return;
	}
	if (m->position != (uint64_t)in->got * PIECE || m->data.len != PIECE) {
		sim_violate(s, "a piece of an input came in another one's place");
		return;
	}
	memcpy(&piece, m->data.data, PIECE);
	in->value ^= piece;
	in->got++;
	in->outstanding--;
	in->have = m->last;
	if (in->have) {
		sim_probe(s, PROBE_source_far);
		node_finish_if_whole(s, self, a);
	} else
		request(s, self, a, i);
}

/* ---- the job manager ---- */

static int read_error(struct sim *s)
{
	if (s->source_changed)
		return DAG_ECHANGED;
	if (!sim_chance(s, FAULT_SOURCE_ERROR))
		return 0;
	s->source_errors++;
	return DAG_EIO;
}

void shell_serve_source(struct sim *s, struct manager_node *n, const Dagrun__SourceRequest *m)
{
	Dagrun__SourceData data = DAGRUN__SOURCE_DATA__INIT;
	uint64_t piece, i = m->position / PIECE;
	SIM_ENVELOPE(e, SOURCE_DATA);

	data.channel = m->channel;
	data.position = m->position;
	data.text = (char *)"";
	data.error = read_error(s);
	if (!data.error) {
		piece = data_piece(s, m->vertex, source_value(m->vertex), i);
		data.data.data = (uint8_t *)&piece;
		data.data.len = PIECE;
		data.last = i + 1 == data_blocks(s, m->vertex);
	}
	e.source_data = &data;
	sim_send(s, SIM_MANAGER, &n->session, &e);
}

/* ---- the verdict ---- */

void sources_check_end(struct sim *s, const char *text)
{
	bool named = false;

	if (!strstr(text, "cannot read the input"))
		return;
	for (size_t i = 0; i < s->use->stage_count; i++)
		named = named || (s->use->stages[i]->kind == GRAPH_INPUT && strstr(text, "file /data:") &&
					 strstr(text, s->use->stages[i]->name));
	if (!named)
		sim_violate(s, "no input is named: %s", text);
	if (s->source_changed && strstr(text, dag_strerror(DAG_ECHANGED)))
		sim_probe(s, PROBE_source_changed);
	else if (s->source_errors < JM_SOURCE_TRIES)
		sim_violate(s, "%u times an input could not be read: %s", s->source_errors, text);
}
