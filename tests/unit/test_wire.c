/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts as columns: what comes out is what went in, in its order, and columns that do not fit are refused.
 * Endpoints as people write them, and the keys that a user has without asking.
 */
#include "unit.h"
#include "os/os.h"
#include "wire/cluster.h"
#include "wire/starts.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* ---- endpoints ---- */

static void check_endpoint(const char *written, bool listens, const char *whole)
{
	char *endpoint = NULL, *text = NULL;
	int r = endpoint_parse(written, "7700", listens, &endpoint, &text);

	if (whole ? !endpoint || strcmp(endpoint, whole) != 0 : !text)
		fail_msg("'%s' became %s, not %s (%s)", written, endpoint ? endpoint : "nothing",
			whole ? whole : "an error", text ? text : "no text");
	assert_int_equal(r, whole ? 0 : DAG_EINVAL);
	free(endpoint);
	free(text);
}

static void test_endpoints_that_people_write(void **state)
{
	static const char *const wrong[] = {"", ":", "tcp://", "tcp://:7700", "host:", "host:0", "host:99999",
		"host:65536", "host:77x", "host:-1", "host: 77", "1.2.3.4.5", "256.1.1.1", "10.0.0", "a b",
		"a/b", "[::1", "[::1]x", "[::1]:", "[1.2.3.4]:5", "[g::1]:7", "http://host:80",
		"ipc:///tmp/x", "*:7700", "host:*", "a:b:c", "user@host"};

	(void)state;
	check_endpoint("tcp://10.0.0.1:7700", false, "tcp://10.0.0.1:7700");
	check_endpoint("10.0.0.1", false, "tcp://10.0.0.1:7700");
	check_endpoint("tcp://10.0.0.1", false, "tcp://10.0.0.1:7700");
	check_endpoint("some-host.example:1", false, "tcp://some-host.example:1");
	check_endpoint("localhost:65535", false, "tcp://localhost:65535");
	check_endpoint("::1", false, "tcp://[::1]:7700");
	check_endpoint("[::1]", false, "tcp://[::1]:7700");
	check_endpoint("tcp://[fe80::1%eth0]:80", false, "tcp://[fe80::1%eth0]:80");
	check_endpoint("*", true, "tcp://*:7700");
	check_endpoint("127.0.0.1:*", true, "tcp://127.0.0.1:*");
	check_endpoint("[::]:0", true, "tcp://[::]:*");
	for (size_t i = 0; i < DAG_LENGTH(wrong); i++)
		check_endpoint(wrong[i], false, NULL);
	check_endpoint("*:99999", true, NULL);
}

static void test_what_is_on_this_machine(void **state)
{
	(void)state;
	assert_true(wire_is_local("tcp://127.0.0.1:1") && wire_is_local("inproc://x"));
	assert_true(wire_is_local("tcp://127.1.2.3:*") && wire_is_local("tcp://[::1]:7700"));
	assert_true(wire_is_local("tcp://localhost:7700"));
	assert_false(wire_is_local("tcp://0.0.0.0:1") || wire_is_local("tcp://10.0.0.1:1"));
	assert_false(wire_is_local("tcp://*:1") || wire_is_local("tcp://[::]:1"));
	assert_false(wire_is_local("tcp://127.0.0.1.example.invalid:1"));
	assert_true(endpoint_is_any("tcp://*:1") && endpoint_is_any("tcp://[::]:1"));
	assert_true(endpoint_is_ipv6("tcp://[::1]:1") && !endpoint_is_ipv6("tcp://127.0.0.1:1"));
	assert_true(endpoint_is_named("tcp://localhost:1") && !endpoint_is_named("tcp://[::1]:1"));
}

static void test_names_are_bound_by_address(void **state)
{
	char *bound = NULL, *text = NULL;

	(void)state;
	assert_int_equal(endpoint_to_bind("tcp://localhost:7700", &bound, &text), 0);
	assert_true(!strcmp(bound, "tcp://127.0.0.1:7700") || !strcmp(bound, "tcp://[::1]:7700"));
	free(bound);
	assert_int_equal(endpoint_to_bind("tcp://no.such.host.invalid:7700", &bound, &text), DAG_EINVAL);
	assert_non_null(strstr(text, "is not known"));
	free(text);
}

/* ---- the user's own keys ---- */

static struct wire_keys *load_own(void)
{
	struct wire_keys *keys = NULL;
	struct dag_diag diag = {0};

	assert_int_equal(keys_load_own(&keys, &diag), 0);
	assert_int_equal(diag.count, 0);
	return keys;
}

/* Processes that need them at the same moment have the same. */
static void test_own_keys_are_made_once(void **state)
{
	enum { PROCESSES = 8 };
	char folder[64], public[PROCESSES][KEYS_TEXT_LEN];
	int go[2], tell[2];
	struct stat st;
	char *path;

	(void)state;
	unit_folder(folder);
	setenv("XDG_STATE_HOME", folder, 1);
	assert_int_equal(pipe(go), 0);
	assert_int_equal(pipe(tell), 0);
	for (int i = 0; i < PROCESSES; i++)
		if (!fork()) {
			struct wire_keys *keys;
			char c;

			close(go[1]);
			if (read(go[0], &c, 1) == 0) {
				keys = load_own();
				_exit(write(tell[1], keys->public, KEYS_TEXT_LEN) != KEYS_TEXT_LEN);
			}
			_exit(1);
		}
	close(go[0]);
	close(go[1]); /* all begin */
	for (int i = 0; i < PROCESSES; i++) {
		int status;

		assert_int_equal(read(tell[0], public[i], KEYS_TEXT_LEN), KEYS_TEXT_LEN);
		assert_true(wait(&status) > 0 && status == 0);
		assert_string_equal(public[i], public[0]);
	}
	close(tell[0]);
	close(tell[1]);
	path = base_format("%s/dagrun/keys", folder);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	free(path);
	path = base_format("%s/dagrun/keys/cluster.key_secret", folder);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	free(path);
	unsetenv("XDG_STATE_HOME");
	os_remove_tree(folder);
}

/* A folder that another could have made, or can read, is not believed. */
static void test_own_keys_are_nobody_elses(void **state)
{
	struct wire_keys *keys = NULL;
	struct dag_diag diag = {0};
	char folder[64], *path, *elsewhere;

	(void)state;
	unit_folder(folder);
	setenv("XDG_STATE_HOME", folder, 1);
	path = base_format("%s/dagrun/keys", folder);
	elsewhere = base_format("%s/elsewhere", folder);
	keys = load_own();
	keys_destroy(&keys);
	assert_int_equal(chmod(path, 0755), 0);
	assert_int_equal(keys_load_own(&keys, &diag), DAG_EPERM);
	assert_int_equal(chmod(path, 0700), 0);
	assert_int_equal(rename(path, elsewhere), 0);
	assert_int_equal(symlink(elsewhere, path), 0);
	assert_int_equal(keys_load_own(&keys, &diag), DAG_EPERM);
	if (!geteuid()) {
		assert_int_equal(unlink(path), 0);
		assert_int_equal(rename(elsewhere, path), 0);
		assert_int_equal(chown(path, 12345, 12345), 0);
		assert_int_equal(keys_load_own(&keys, &diag), DAG_EPERM);
	}
	dag_diag_fini(&diag);
	free(path);
	free(elsewhere);
	unsetenv("XDG_STATE_HOME");
	os_remove_tree(folder);
}

/* What an option says goes before what the environment says. */
static void test_options_and_environment(void **state)
{
	struct dag_diag diag = {0};
	struct cluster c;
	char folder[64];

	(void)state;
	unit_folder(folder);
	setenv("XDG_STATE_HOME", folder, 1);
	assert_int_equal(cluster_find(&c, NULL, NULL, &diag), 0);
	assert_true(!c.nameserver && !c.keys);
	setenv("DAGRUN_NAMESERVER", "localhost", 1);
	assert_int_equal(cluster_find(&c, NULL, NULL, &diag), 0);
	assert_string_equal(c.nameserver, "tcp://localhost:7700");
	assert_true(c.keys && !c.keys_said && !diag.count);
	cluster_fini(&c);
	assert_int_equal(cluster_find(&c, "none", NULL, &diag), 0);
	assert_true(!c.nameserver && !c.keys);
	setenv("DAGRUN_KEYS", "none", 1);
	assert_int_equal(cluster_find(&c, "127.0.0.1:1", NULL, &diag), 0);
	assert_true(!c.keys && diag.count == 1); /* it warns */
	cluster_fini(&c);
	dag_diag_fini(&diag);
	assert_int_equal(cluster_find(&c, NULL, "/nowhere", &diag), DAG_EPERM);
	assert_int_equal(cluster_find(&c, "10.0.0.1", NULL, &diag), DAG_EINVAL);
	unsetenv("DAGRUN_KEYS");
	assert_int_equal(cluster_find(&c, "10.0.0.1", NULL, &diag), DAG_EINVAL);
	assert_int_equal(cluster_find(&c, "10.0.0.1:99999", NULL, &diag), DAG_EINVAL);
	dag_diag_fini(&diag);
	unsetenv("DAGRUN_NAMESERVER");
	unsetenv("XDG_STATE_HOME");
	os_remove_tree(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_starts_come_out_as_they_went_in),
		cmocka_unit_test(test_columns_that_do_not_fit_are_refused),
		cmocka_unit_test(test_endpoints_that_people_write),
		cmocka_unit_test(test_what_is_on_this_machine),
		cmocka_unit_test(test_names_are_bound_by_address),
		cmocka_unit_test(test_own_keys_are_made_once),
		cmocka_unit_test(test_own_keys_are_nobody_elses),
		cmocka_unit_test(test_options_and_environment)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
