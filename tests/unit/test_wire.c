/* SPDX-License-Identifier: Apache-2.0 */
/* Starts as columns: what comes out is what went in, in its order, and columns that do not fit are refused.
 */
#include "unit.h"
#include "wire/starts.h"

enum { STARTS = 40, ROUNDS = 200 };

static uint64_t seed;

static uint32_t draw(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

static uint32_t *numbers(struct arena *arena, size_t n)
{
	uint32_t *p = arena_alloc(arena, (n + 1) * sizeof(*p));

	for (size_t i = 0; i < n; i++)
		p[i] = draw(1u << draw(32));
	return p;
}

static Dagrun__Input *draw_input(struct arena *arena)
{
	Dagrun__Input *in = arena_alloc(arena, sizeof(*in));

	dagrun__input__init(in);
	if (draw(5) == 0)
		return in; /* not joined */
	in->joined = 1;
	in->n_vertices = in->n_attempts = in->n_nodes = draw(4);
	in->vertices = numbers(arena, in->n_vertices);
	in->attempts = numbers(arena, in->n_vertices);
	in->nodes = numbers(arena, in->n_vertices);
	in->stream = draw(16);
	in->part = draw(1000);
	in->parts = draw(3);
	in->channel = draw(4);
	return in;
}

/* One in four has more to say than numbers. */
static Dagrun__Start *draw_start(struct arena *arena)
{
	Dagrun__Start *s = arena_alloc(arena, sizeof(*s));
	uint32_t more = draw(8);

	dagrun__start__init(s);
	s->stage = draw(1000);
	s->index = draw(1u << 24);
	s->attempt = draw(UINT32_MAX);
	s->group = draw(3);
	s->group_size = draw(64);
	s->shares = draw(64);
	s->width = draw(1u << 20);
	s->n_inputs = draw(4);
	s->inputs = arena_alloc(arena, (s->n_inputs + 1) * sizeof(*s->inputs));
	for (size_t p = 0; p < s->n_inputs; p++)
		s->inputs[p] = draw_input(arena);
	s->n_readers = draw(3);
	s->readers = numbers(arena, s->n_readers);
	if (more == 0)
		s->argument = (ProtobufCBinaryData){3, (uint8_t *)"arg"};
	if (more == 1 && s->n_inputs) {
		Dagrun__Input *in = s->inputs[0];

		in->n_vertices = in->n_sources = 1;
		in->n_attempts = in->n_nodes = 0;
		in->vertices = numbers(arena, 1);
		in->sources = arena_alloc(arena, sizeof(*in->sources));
		in->sources[0] = arena_alloc(arena, sizeof(**in->sources));
		dagrun__source__init(in->sources[0]);
		in->sources[0]->path = "/a/file";
	}
	return s;
}

static void assert_same(const Dagrun__Start *a, const Dagrun__Start *b)
{
	size_t len = dagrun__start__get_packed_size(a);
	unsigned char *x = base_alloc(len + 1), *y = base_alloc(len + 1);

	assert_int_equal(dagrun__start__get_packed_size(b), len);
	dagrun__start__pack(a, x);
	dagrun__start__pack(b, y);
	assert_memory_equal(x, y, len);
	free(x);
	free(y);
}

/* As it comes out of a message. */
static Dagrun__StartBatch *send_batch(Dagrun__Start **starts, size_t n, struct arena *arena)
{
	enum { HEADS = 256 }; /* bytes of the columns' own, and of what is whole */
	Dagrun__StartBatch batch = DAGRUN__START_BATCH__INIT, *got;
	size_t len, most = HEADS;
	unsigned char *bytes;

	for (size_t i = 0; i < n; i++)
		most += starts_size(starts[i]);
	starts_pack(&batch, starts, n, arena);
	len = dagrun__start_batch__get_packed_size(&batch);
	assert_true(len <= most);
	bytes = base_alloc(len + 1);
	dagrun__start_batch__pack(&batch, bytes);
	got = dagrun__start_batch__unpack(NULL, len, bytes);
	free(bytes);
	assert_non_null(got);
	return got;
}

static void test_starts_come_out_as_they_went_in(void **state)
{
	size_t plain = 0, whole = 0;

	(void)state;
	for (seed = 0; seed < ROUNDS; seed++) {
		struct arena arena = {0};
		Dagrun__Start *starts[STARTS], **got;
		uint64_t round = seed;
		size_t n = draw(STARTS), count;
		Dagrun__StartBatch *batch;

		for (size_t i = 0; i < n; i++)
			starts[i] = draw_start(&arena);
		batch = send_batch(starts, n, &arena);
		plain += batch->columns ? batch->columns->n_stages : 0;
		whole += batch->n_whole;
		assert_int_equal(starts_unpack(batch, &arena, &got, &count), 0);
		assert_int_equal(count, n);
		for (size_t i = 0; i < n; i++)
			assert_same(starts[i], got[i]);
		dagrun__start_batch__free_unpacked(batch, NULL);
		arena_fini(&arena);
		seed = round;
	}
	assert_true(plain > 1000 && whole > 200);
}

/* Whatever column is short by one, nothing is read beyond it: the batch is refused. */
static void test_columns_that_do_not_fit_are_refused(void **state)
{
	struct arena arena = {0};
	Dagrun__Start *starts[STARTS], **got;
	Dagrun__StartBatch *batch;
	Dagrun__Starts *m;
	size_t count, *lengths[20], n = 0;

	(void)state;
	seed = 7;
	for (size_t i = 0; i < STARTS; i++)
		starts[i] = draw_start(&arena);
	batch = send_batch(starts, STARTS, &arena);
	m = batch->columns;
	lengths[n++] = &m->n_stages;
	lengths[n++] = &m->n_indices;
	lengths[n++] = &m->n_attempts;
	lengths[n++] = &m->n_groups;
	lengths[n++] = &m->n_group_sizes;
	lengths[n++] = &m->n_shares;
	lengths[n++] = &m->n_widths;
	lengths[n++] = &m->n_ports;
	lengths[n++] = &m->n_streams;
	lengths[n++] = &m->n_joined;
	lengths[n++] = &m->n_channels;
	lengths[n++] = &m->n_read_streams;
	lengths[n++] = &m->n_first_parts;
	lengths[n++] = &m->n_parts;
	lengths[n++] = &m->n_producers;
	lengths[n++] = &m->n_vertices;
	lengths[n++] = &m->n_read_attempts;
	lengths[n++] = &m->n_nodes;
	lengths[n++] = &m->n_readers;
	lengths[n++] = &batch->n_places;
	assert_int_equal(n, DAG_LENGTH(lengths));
	for (size_t i = 0; i < n; i++) {
		assert_true(*lengths[i] > 0);
		--*lengths[i];
		assert_int_equal(starts_unpack(batch, &arena, &got, &count), DAG_EPROTO);
		++*lengths[i];
	}
	m->producers[0] = m->ports[0] = UINT32_MAX;
	assert_int_equal(starts_unpack(batch, &arena, &got, &count), DAG_EPROTO);
	dagrun__start_batch__free_unpacked(batch, NULL);
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_starts_come_out_as_they_went_in),
		cmocka_unit_test(test_columns_that_do_not_fit_are_refused)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
