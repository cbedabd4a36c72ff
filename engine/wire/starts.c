/* SPDX-License-Identifier: Apache-2.0 */
/* Columns of all starts, of all their ports, of all producers that those read, and of all streams. */
#include "starts.h"

enum { START_COLUMNS = 9, PORT_COLUMNS = 6, PRODUCER_COLUMNS = 3 };
#define NUMBER_MAX 5 /* bytes of a number on the wire */

static bool is_plain(const Dagrun__Start *s)
{
	for (size_t p = 0; p < s->n_inputs; p++) {
		const Dagrun__Input *in = s->inputs[p];

		if (in->n_sources || in->n_attempts != in->n_vertices || in->n_nodes != in->n_vertices)
			return false;
	}
	return !s->n_skips && !s->argument.len;
}

size_t starts_size(const Dagrun__Start *s)
{
	size_t numbers = START_COLUMNS + s->n_readers;

	if (!is_plain(s))
		return dagrun__start__get_packed_size(s);
	for (size_t p = 0; p < s->n_inputs; p++)
		numbers += PORT_COLUMNS + PRODUCER_COLUMNS * s->inputs[p]->n_vertices;
	return numbers * NUMBER_MAX;
}

/* ---- into columns ---- */

struct counts {
	size_t starts, ports, producers, streams;
};

static struct counts count(Dagrun__Start *const *starts, size_t n)
{
	struct counts c = {0};

	for (size_t i = 0; i < n; i++) {
		if (!is_plain(starts[i]))
			continue;
		c.starts++;
		c.ports += starts[i]->n_inputs;
		c.streams += starts[i]->n_readers;
		for (size_t p = 0; p < starts[i]->n_inputs; p++)
			c.producers += starts[i]->inputs[p]->n_vertices;
	}
	return c;
}

static uint32_t *column(uint32_t **memory, size_t n)
{
	uint32_t *start = *memory;

	*memory += n;
	return start;
}

static Dagrun__Starts *new_columns(struct arena *arena, struct counts c)
{
	Dagrun__Starts *m = arena_alloc(arena, sizeof(*m));
	uint32_t *memory = arena_alloc(arena, (START_COLUMNS * c.starts + PORT_COLUMNS * c.ports +
						      PRODUCER_COLUMNS * c.producers + c.streams) *
						      sizeof(*memory));

	dagrun__starts__init(m);
	m->stages = column(&memory, c.starts);
	m->indices = column(&memory, c.starts);
	m->attempts = column(&memory, c.starts);
	m->groups = column(&memory, c.starts);
	m->group_sizes = column(&memory, c.starts);
	m->shares = column(&memory, c.starts);
	m->widths = column(&memory, c.starts);
	m->ports = column(&memory, c.starts);
	m->streams = column(&memory, c.starts);
	m->joined = column(&memory, c.ports);
	m->channels = column(&memory, c.ports);
	m->read_streams = column(&memory, c.ports);
	m->first_parts = column(&memory, c.ports);
	m->parts = column(&memory, c.ports);
	m->producers = column(&memory, c.ports);
	m->vertices = column(&memory, c.producers);
	m->read_attempts = column(&memory, c.producers);
	m->nodes = column(&memory, c.producers);
	m->readers = column(&memory, c.streams);
	return m;
}

static void put_input(Dagrun__Starts *m, const Dagrun__Input *in)
{
	size_t at = m->n_joined, row = m->n_vertices, bytes = in->n_vertices * sizeof(uint32_t);

	m->joined[at] = in->joined != 0;
	m->channels[at] = in->channel;
	m->read_streams[at] = in->stream;
	m->first_parts[at] = in->part;
	m->parts[at] = in->parts;
	m->producers[at] = (uint32_t)in->n_vertices;
	m->n_joined = m->n_channels = m->n_read_streams = m->n_first_parts = m->n_parts = m->n_producers =
		at + 1;
	if (!bytes)
		return;
	memcpy(m->vertices + row, in->vertices, bytes);
	memcpy(m->read_attempts + row, in->attempts, bytes);
	memcpy(m->nodes + row, in->nodes, bytes);
	m->n_vertices = m->n_read_attempts = m->n_nodes = row + in->n_vertices;
}

static void put_start(Dagrun__Starts *m, const Dagrun__Start *s)
{
	size_t at = m->n_stages;

	m->stages[at] = s->stage;
	m->indices[at] = s->index;
	m->attempts[at] = s->attempt;
	m->groups[at] = s->group;
	m->group_sizes[at] = s->group_size;
	m->shares[at] = s->shares;
	m->widths[at] = s->width;
	m->ports[at] = (uint32_t)s->n_inputs;
	m->streams[at] = (uint32_t)s->n_readers;
	m->n_stages = m->n_indices = m->n_attempts = m->n_groups = m->n_group_sizes = m->n_shares =
		m->n_widths = m->n_ports = m->n_streams = at + 1;
	for (size_t p = 0; p < s->n_inputs; p++)
		put_input(m, s->inputs[p]);
	for (size_t i = 0; i < s->n_readers; i++)
		m->readers[m->n_readers++] = s->readers[i];
}

void starts_pack(Dagrun__StartBatch *batch, Dagrun__Start **starts, size_t n, struct arena *arena)
{
	struct counts c = count(starts, n);

	batch->columns = c.starts ? new_columns(arena, c) : NULL;
	batch->whole = arena_alloc(arena, (n - c.starts + 1) * sizeof(Dagrun__Start *));
	batch->places = arena_alloc(arena, (n - c.starts + 1) * sizeof(uint32_t));
	batch->n_whole = batch->n_places = 0;
	for (size_t i = 0; i < n; i++) {
		if (is_plain(starts[i])) {
			put_start(batch->columns, starts[i]);
			continue;
		}
		batch->places[batch->n_places++] = (uint32_t)i;
		batch->whole[batch->n_whole++] = starts[i];
	}
}

/* ---- and out of them ---- */

static bool is_even(const Dagrun__Starts *m)
{
	size_t starts = m->n_stages, ports = m->n_joined, producers = m->n_vertices;

	return m->n_indices == starts && m->n_attempts == starts && m->n_groups == starts &&
	       m->n_group_sizes == starts && m->n_shares == starts && m->n_widths == starts &&
	       m->n_ports == starts && m->n_streams == starts && m->n_channels == ports &&
	       m->n_read_streams == ports && m->n_first_parts == ports && m->n_parts == ports &&
	       m->n_producers == ports && m->n_read_attempts == producers && m->n_nodes == producers;
}

static bool get_input(const Dagrun__Starts *m, struct counts *at, Dagrun__Input *in)
{
	size_t port = at->ports++, row = at->producers, n = m->producers[port];

	if (n > m->n_vertices - row)
		return false;
	dagrun__input__init(in);
	in->joined = m->joined[port];
	in->channel = m->channels[port];
	in->stream = m->read_streams[port];
	in->part = m->first_parts[port];
	in->parts = m->parts[port];
	in->n_vertices = in->n_attempts = in->n_nodes = n;
	in->vertices = m->vertices + row;
	in->attempts = m->read_attempts + row;
	in->nodes = m->nodes + row;
	at->producers += n;
	return true;
}

static Dagrun__Start *get_start(const Dagrun__Starts *m, struct counts *at, struct arena *arena)
{
	Dagrun__Start *s = arena_alloc(arena, sizeof(*s));
	size_t i = at->starts++;
	Dagrun__Input *inputs;

	if (m->ports[i] > m->n_joined - at->ports || m->streams[i] > m->n_readers - at->streams)
		return NULL;
	dagrun__start__init(s);
	s->stage = m->stages[i];
	s->index = m->indices[i];
	s->attempt = m->attempts[i];
	s->group = m->groups[i];
	s->group_size = m->group_sizes[i];
	s->shares = m->shares[i];
	s->width = m->widths[i];
	s->n_inputs = m->ports[i];
	s->inputs = arena_alloc(arena, s->n_inputs * sizeof(*s->inputs));
	inputs = arena_alloc(arena, s->n_inputs * sizeof(*inputs));
	for (size_t p = 0; p < s->n_inputs; p++) {
		s->inputs[p] = &inputs[p];
		if (!get_input(m, at, &inputs[p]))
			return NULL;
	}
	s->n_readers = m->streams[i];
	s->readers = m->readers + at->streams;
	at->streams += s->n_readers;
	return s;
}

int starts_unpack(
	const Dagrun__StartBatch *batch, struct arena *arena, Dagrun__Start ***ret_starts, size_t *ret_count)
{
	const Dagrun__Starts *m = batch->columns;
	size_t whole = 0, n = batch->n_whole + (m ? m->n_stages : 0);
	Dagrun__Start **starts = arena_alloc(arena, (n + 1) * sizeof(*starts));
	struct counts at = {0};

	if (batch->n_places != batch->n_whole || (m && !is_even(m)))
		return DAG_EPROTO;
	for (size_t i = 0; i < n; i++) {
		if (whole < batch->n_whole && batch->places[whole] == i)
			starts[i] = batch->whole[whole++];
		else if (m && at.starts < m->n_stages)
			starts[i] = get_start(m, &at, arena);
		else
			return DAG_EPROTO;
		if (!starts[i])
			return DAG_EPROTO;
	}
	*ret_starts = starts;
	*ret_count = n;
	return 0;
}
