/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon with its hosts, and a pretended job manager that says what no good one says: each is answered, and
 * the daemon goes on.
 */
#include "loop.h"
#include "channel/data.h"
#include "daemon/daemon.h"
#include "graph/graph.h"
#include "os/os.h"
#include "wire/session.h"

#include <signal.h>
#include <sys/resource.h>

#define PATIENCE (60 * DAG_SECOND)
#define ENDS_MAX 256u

struct ended {
	uint32_t vertex, attempt;
	int error;
	char text[200];
};

struct pretended {
	char folder[64], *spool, *host_program, name[40], node[40];
	struct daemon *daemon;
	struct session *session;
	struct data *data;
	uv_timer_t beat;
	int ready, refused; /* JobReady without and with an error */
	char text[200];     /* of the last refusal */
	struct ended ends[ENDS_MAX];
	uint32_t end_count;
	uint32_t granted;
	int data_error, data_ended;
	uint64_t requests; /* of sources */
	Dagrun__SourceRequest asked[64];
};

static struct pretended p;

static void note_end(uint32_t vertex, uint32_t attempt, int error, const char *text)
{
	struct ended *e = &p.ends[p.end_count++ % ENDS_MAX];

	*e = (struct ended){vertex, attempt, error, ""};
	snprintf(e->text, sizeof(e->text), "%s", text);
}

static void on_message(void *ctx, struct session *s, const Dagrun__Envelope *e)
{
	(void)ctx;
	(void)s;
	if (e->body_case == DAGRUN__ENVELOPE__BODY_JOB_READY) {
		p.ready += !*e->job_ready->error;
		p.refused += *e->job_ready->error != 0;
		snprintf(p.text, sizeof(p.text), "%s", e->job_ready->error);
	} else if (e->body_case == DAGRUN__ENVELOPE__BODY_GRANT)
		p.granted = e->grant->slots;
	else if (e->body_case == DAGRUN__ENVELOPE__BODY_SOURCE_REQUEST)
		p.asked[p.requests++ % DAG_LENGTH(p.asked)] = *e->source_request;
	else if (e->body_case == DAGRUN__ENVELOPE__BODY_DONE) {
		for (size_t i = 0; e->done->sealed && i < e->done->sealed->n_vertices; i++)
			note_end(e->done->sealed->vertices[i], e->done->sealed->attempts[i], 0, "");
		for (size_t i = 0; i < e->done->n_done; i++)
			note_end(e->done->done[i]->vertex, e->done->done[i]->attempt, e->done->done[i]->error,
				e->done->done[i]->text);
	}
}

static void on_data(void *ctx, const struct data_event *e)
{
	(void)ctx;
	if (e->kind == DATA_FAILED)
		p.data_error = e->error;
	else if (e->kind == DATA_END)
		p.data_ended++;
	free(e->text);
}

static void on_beat(uv_timer_t *timer)
{
	(void)timer;
	session_tick(p.session, os_now());
}

static const struct session_handlers handlers = {.on_message = on_message};

static void dial(void)
{
	static int dialled;

	/* Another one each time, as another process would be. */
	snprintf(p.name, sizeof(p.name), "m%d", ++dialled);
	p.session = session_dial(wire, NULL, daemon_control(p.daemon), p.name, DAGRUN__ROLE__MANAGER,
		(uint64_t)dialled, &handlers, NULL);
	assert_non_null(p.session);
}

/* Its state: NULL, or that the spool has no memory. */
static int begin(void **state)
{
	const char *build = getenv("DAGRUN_BUILD");
	struct dag_diag diag = {0};
	struct daemon_config config = {.listen = "tcp://127.0.0.1:*",
		.slots = 4,
		.memory = 1ull << 30,
		.spool_memory = *state ? 0 : 64u << 20,
		.embedded = true};

	setup(state);
	memset(&p, 0, sizeof(p));
	unit_folder(p.folder);
	snprintf(p.node, sizeof(p.node), "unit-daemon-%d", (int)getpid());
	config.node = p.node;
	p.spool = base_format("%s/spool", p.folder);
	p.host_program = base_format("%s/daghost", build ? build : "build");
	config.spool = p.spool;
	config.host_program = p.host_program;
	if (daemon_new(&loop, wire, &config, &p.daemon, &diag) < 0 ||
		data_new(&loop, NULL, NULL, false, on_data, NULL, &p.data, NULL) < 0)
		return -1;
	data_lend(p.data);
	uv_timer_init(&loop, &p.beat);
	uv_timer_start(&p.beat, on_beat, 20, 20);
	dial();
	return 0;
}

static int end(void **state)
{
	uv_close((uv_handle_t *)&p.beat, NULL);
	session_destroy(&p.session);
	data_destroy(&p.data);
	daemon_destroy(&p.daemon);
	os_remove_tree(p.folder);
	free(p.spool);
	free(p.host_program);
	return teardown(state);
}

#define WAIT_FOR(condition)                                                                                  \
	for (dag_instant until_ = os_now() + PATIENCE; !(condition);) {                                      \
		if (os_now() > until_)                                                                       \
			fail_msg("waited in vain: %s; the last refusal: '%s'", #condition, p.text);          \
		uv_run(&loop, UV_RUN_ONCE);                                                                  \
	}

/* ---- what a job manager says ---- */

static Dagrun__Stage *new_stage(uint32_t id, uint32_t first_vertex, uint32_t width, const char *script)
{
	static int32_t good[1] = {0};
	Dagrun__Stage *s = base_alloc(sizeof(*s));

	dagrun__stage__init(s);
	s->exit_ok = good;
	s->n_exit_ok = 1;
	s->id = id;
	s->name = (char *)"s";
	s->kind = GRAPH_PROGRAM;
	s->width = width;
	s->first_vertex = first_vertex;
	s->argv = base_alloc(3 * sizeof(char *));
	s->argv[0] = (char *)"sh";
	s->argv[1] = (char *)"-c";
	s->argv[2] = (char *)script;
	s->n_argv = 3;
	return s;
}

static void add_stream(Dagrun__Stage *s, enum graph_channel channel)
{
	s->n_out = s->n_streams = 1;
	s->out = base_alloc(sizeof(void *));
	s->out[0] = base_alloc(sizeof(**s->out));
	dagrun__format__init(s->out[0]);
	s->streams = base_alloc(sizeof(void *));
	s->streams[0] = base_alloc(sizeof(**s->streams));
	dagrun__stream__init(s->streams[0]);
	s->streams[0]->parts = 1;
	s->streams[0]->channel = channel;
}

static void add_input(Dagrun__Stage *s)
{
	s->n_in = s->n_in_joined = 1;
	s->in = base_alloc(sizeof(void *));
	s->in[0] = base_alloc(sizeof(**s->in));
	dagrun__format__init(s->in[0]);
	s->in_joined = base_alloc(sizeof(*s->in_joined));
	s->in_joined[0] = true;
}

static void free_stage(Dagrun__Stage *s)
{
	for (size_t i = 0; i < s->n_out; i++) {
		free(s->out[i]);
		free(s->streams[i]);
	}
	if (s->n_in)
		free(s->in[0]);
	free(s->in);
	free(s->in_joined);
	free(s->out);
	free(s->streams);
	free(s->argv);
	free(s);
}

static void open_job(const char *job, uint32_t epoch, Dagrun__Stage **stages, size_t n)
{
	Dagrun__JobOpen m = DAGRUN__JOB_OPEN__INIT;
	SESSION_ENVELOPE(e, JOB_OPEN);

	m.job = (char *)job;
	m.epoch = epoch;
	m.stages = stages;
	m.n_stages = n;
	e.job_open = &m;
	session_send(p.session, &e);
}

static void want(uint32_t slots)
{
	Dagrun__Want m = DAGRUN__WANT__INIT;
	SESSION_ENVELOPE(e, WANT);

	m.slots = slots * GRAPH_CPU_SHARES;
	e.want = &m;
	session_send(p.session, &e);
}

static void send_start(const Dagrun__Start *start)
{
	Dagrun__Start copy = *start, *pointer = &copy;
	uint32_t place = 0;
	Dagrun__StartBatch m = DAGRUN__START_BATCH__INIT;
	SESSION_ENVELOPE(e, START);

	m.epoch = 1;
	m.whole = &pointer;
	m.places = &place;
	m.n_whole = m.n_places = 1;
	e.start = &m;
	session_send(p.session, &e);
}

static Dagrun__Start start_of(uint32_t stage, uint32_t index, uint32_t attempt)
{
	static uint32_t readers[1] = {1};
	Dagrun__Start s = DAGRUN__START__INIT;

	s.stage = stage;
	s.index = index;
	s.attempt = attempt;
	s.shares = GRAPH_CPU_SHARES;
	s.readers = readers;
	s.n_readers = 1;
	return s;
}

/* One job with one stage of four vertices, which has one stream. */
static void open_simple(const char *script, enum graph_channel channel)
{
	Dagrun__Stage *stage = new_stage(0, 0, 4, script);

	add_stream(stage, channel);
	open_job("job", 1, &stage, 1);
	want(4);
	WAIT_FOR(p.ready && p.granted);
	free_stage(stage);
}

static void expect_end(uint32_t vertex, uint32_t attempt, int error, const char *text)
{
	uint32_t n = p.end_count;

	WAIT_FOR(p.end_count > 0);
	n = p.end_count - 1;
	if (p.ends[n].vertex != vertex || p.ends[n].attempt != attempt || p.ends[n].error != error ||
		!strstr(p.ends[n].text, text))
		fail_msg("vertex %u attempt %u: error %d '%s', not %d '%s'", p.ends[n].vertex,
			p.ends[n].attempt, p.ends[n].error, p.ends[n].text, error, text);
	p.end_count = 0;
}

/* ---- starts ---- */

static void test_a_start_that_cannot_be_taken_has_failed(void **state)
{
	Dagrun__Input input = DAGRUN__INPUT__INIT, *inputs = &input;
	Dagrun__Start s;

	(void)state;
	open_simple("true", GRAPH_FILE);
	s = start_of(0, 0, 1);
	s.n_readers = 0;
	send_start(&s);
	expect_end(0, 1, DAG_EPROTO, "readers");
	s = start_of(0, 1, 1);
	s.inputs = &inputs;
	s.n_inputs = 1;
	send_start(&s);
	expect_end(1, 1, DAG_EPROTO, "inputs");
	s = start_of(0, 2, 1);
	s.group = 1; /* of no members */
	send_start(&s);
	expect_end(2, 1, DAG_EPROTO, "group");
	s = start_of(0, 2, 2);
	s.group = 2;
	s.group_size = GRAPH_FIFO_GROUP_MAX + 1;
	send_start(&s);
	expect_end(2, 2, DAG_EPROTO, "larger");
	s = start_of(0, 3, 1);
	s.shares = UINT32_MAX;
	send_start(&s);
	expect_end(3, 1, DAG_EPROTO, "more slots");
	/* What names no vertex cannot be told of one. */
	s = start_of(0, 4, 1);
	send_start(&s);
	WAIT_FOR(p.refused == 1);
	s = start_of(7, 0, 1);
	send_start(&s);
	WAIT_FOR(p.refused == 2);
	/* And the daemon goes on. */
	s = start_of(0, 0, 2);
	send_start(&s);
	expect_end(0, 2, 0, "");
}

static void test_a_group_that_is_not_whole(void **state)
{
	Dagrun__Start s = start_of(0, 0, 1);

	(void)state;
	open_simple("true", GRAPH_FILE);
	s.group = 5;
	s.group_size = 3;
	s.shares = 1;
	send_start(&s);
	s.index = 1;
	send_start(&s);
	s = start_of(0, 2, 1); /* instead of the third */
	send_start(&s);
	WAIT_FOR(p.end_count == 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(p.ends[i].error, p.ends[i].vertex == 2 ? 0 : DAG_EPROTO);
}

static void test_a_group_of_which_a_member_is_taken_back(void **state)
{
	Dagrun__AttemptBatch m = DAGRUN__ATTEMPT_BATCH__INIT;
	uint32_t zero = 0, one = 1;
	Dagrun__Start s = start_of(0, 0, 1);
	SESSION_ENVELOPE(e, DISCARD);

	(void)state;
	open_simple("true", GRAPH_FILE);
	s.group = 5;
	s.group_size = 3;
	send_start(&s);
	s.index = 1;
	send_start(&s);
	m.n_vertices = m.n_attempts = 1;
	m.vertices = &zero;
	m.attempts = &one;
	e.discard = &m;
	session_send(p.session, &e);
	expect_end(1, 1, DAG_ELOST, "group");
}

static void test_batches_that_make_no_sense(void **state)
{
	Dagrun__StartBatch m = DAGRUN__START_BATCH__INIT;
	uint32_t place = 3;
	SESSION_ENVELOPE(e, START);

	(void)state;
	open_simple("true", GRAPH_FILE);
	m.epoch = 1;
	m.places = &place;
	m.n_places = 1;
	e.start = &m;
	session_send(p.session, &e);
	WAIT_FOR(p.refused == 1);
	m.epoch = 9;
	session_send(p.session, &e);
	WAIT_FOR(p.refused == 2);
}

/* ---- jobs ---- */

static void test_a_description_that_is_refused_does_not_stay(void **state)
{
	Dagrun__Stage *stages[2] = {new_stage(0, 0, 1, "true"), new_stage(5, 1, 1, "true")};
	Dagrun__Start s = start_of(1, 0, 1);

	(void)state;
	add_stream(stages[0], GRAPH_FILE);
	add_stream(stages[1], GRAPH_FILE);
	open_job("job", 1, stages, 2); /* the second does not have its number */
	WAIT_FOR(p.refused == 1);
	open_job("job", 1, stages, 2);
	WAIT_FOR(p.refused == 2);
	stages[1]->id = 1;
	stages[1]->streams[0]->port = 9;
	open_job("job", 1, stages, 2);
	WAIT_FOR(p.refused == 3);
	stages[1]->streams[0]->port = 0;
	open_job("../../job", 1, stages, 2);
	WAIT_FOR(p.refused == 4);
	open_job("", 1, stages, 2);
	WAIT_FOR(p.refused == 5);
	assert_int_equal(p.ready, 0);
	open_job("job", 1, stages, 2);
	want(1);
	WAIT_FOR(p.ready == 1);
	send_start(&s);
	expect_end(1, 1, 0, "");
	free_stage(stages[0]);
	free_stage(stages[1]);
}

static void send_chunk(const char *hash, uint64_t offset, const char *bytes, bool last)
{
	Dagrun__FileChunk m = DAGRUN__FILE_CHUNK__INIT;
	SESSION_ENVELOPE(e, FILE_CHUNK);

	m.hash = (char *)hash;
	m.offset = offset;
	m.data.data = (unsigned char *)bytes;
	m.data.len = strlen(bytes);
	m.last = last;
	e.file_chunk = &m;
	session_send(p.session, &e);
}

/* A shipped file that is not what was said, by its size, its place or its bytes. */
static void test_files_that_are_not_what_was_asked_for(void **state)
{
	static const char hash[] = "00000000000000000000000000000000";
	Dagrun__Stage *stage = new_stage(0, 0, 1, "true");
	Dagrun__File file = DAGRUN__FILE__INIT, *files = &file;

	(void)state;
	file.name = (char *)"f";
	file.hash = (char *)hash;
	file.size = 4;
	stage->files = &files;
	stage->n_files = 1;
	add_stream(stage, GRAPH_FILE);
	open_job("job", 1, &stage, 1);
	send_chunk(hash, 0, "abcd", true);
	WAIT_FOR(p.refused == 1);
	assert_non_null(strstr(p.text, "hash"));
	assert_null(strstr(p.text, "Success"));
	send_chunk(hash, UINT64_MAX - 1, "abcd", true);
	WAIT_FOR(p.refused == 2);
	assert_non_null(strstr(p.text, "more than its 4 bytes"));
	send_chunk("nobody asked", 0, "abcd", true);
	send_chunk(hash, 0, "ab", true);
	WAIT_FOR(p.refused == 3);
	assert_int_equal(p.ready, 0);
	free_stage(stage);
}

/* ---- readers on other nodes ---- */

static void expect_missing(uint32_t vertex, uint32_t attempt, uint32_t stream, bool live)
{
	static uint64_t channel;
	struct data_open open = {.job = "job",
		.vertex = vertex,
		.attempt = attempt,
		.stream = stream,
		.live = live,
		.credit = 1 << 20};

	p.data_error = 0;
	data_fetch(p.data, ++channel, daemon_data(p.daemon), &open);
	WAIT_FOR(p.data_error);
	assert_int_equal(p.data_error, DAG_EMISSING);
	data_stop(p.data, channel, true);
}

static void test_a_stream_that_is_no_pipe_read_as_one(void **state)
{
	Dagrun__Start s = start_of(0, 0, 1);

	(void)state;
	open_simple("sleep 600", GRAPH_FILE);
	send_start(&s);
	s.index = 1;
	s.group = 1; /* queued: the other one does not come */
	s.group_size = 2;
	send_start(&s);
	expect_missing(0, 1, 0, true);
	expect_missing(0, 1, 77, true);
	expect_missing(0, 1, 0, false);
	expect_missing(1, 1, 0, true);
	expect_missing(99, 1, 0, true);
}

static void test_a_sealed_stream_that_is_not_there(void **state)
{
	Dagrun__Start s = start_of(0, 0, 1);

	(void)state;
	open_simple("echo x", GRAPH_FILE);
	send_start(&s);
	expect_end(0, 1, 0, "");
	expect_missing(0, 1, 3, false);
	expect_missing(0, 1, 3, true);
}

/* ---- inputs that only the submitting machine has ---- */

static void answer(const Dagrun__SourceRequest *to, uint64_t position, size_t len, bool last)
{
	Dagrun__SourceData m = DAGRUN__SOURCE_DATA__INIT;
	SESSION_ENVELOPE(e, SOURCE_DATA);

	m.channel = to->channel;
	m.position = position;
	m.data.data = base_alloc(len + 1);
	m.data.len = len;
	memset(m.data.data, 'x', len);
	m.last = last;
	m.text = (char *)"";
	e.source_data = &m;
	session_send(p.session, &e);
	free(m.data.data);
}

static void start_reader_of_far_source(void)
{
	Dagrun__Stage *stage = new_stage(0, 0, 1, "test $(tr -cd x | wc -c) = 262146");
	Dagrun__Source source = DAGRUN__SOURCE__INIT, *sources = &source;
	Dagrun__Input input = DAGRUN__INPUT__INIT, *inputs = &input;
	Dagrun__Start s = start_of(0, 0, 1);
	uint32_t producer = 1;

	add_stream(stage, GRAPH_FILE);
	add_input(stage);
	open_job("job", 1, &stage, 1);
	want(1);
	source.path = (char *)"/no/such/file/here";
	source.size = source.length = 1000000;
	input.joined = 1;
	input.vertices = &producer;
	input.n_vertices = 1;
	input.sources = &sources;
	input.n_sources = 1;
	input.channel = GRAPH_FILE;
	s.inputs = &inputs;
	s.n_inputs = 1;
	send_start(&s);
	WAIT_FOR(p.requests >= 2);
	free_stage(stage);
}

/* Requests were on their way to a job manager that is gone: the next one is asked for what did not come. */
static void test_another_job_manager_is_asked_again(void **state)
{
	Dagrun__Stage *stage = new_stage(0, 0, 1, "test $(tr -cd x | wc -c) = 262146");

	(void)state;
	start_reader_of_far_source();
	answer(&p.asked[0], 0, p.asked[0].length, false);
	WAIT_FOR(session_all_acknowledged(p.session));
	session_destroy(&p.session);
	p.requests = 0;
	p.ready = 0;
	dial();
	add_stream(stage, GRAPH_FILE);
	add_input(stage);
	open_job("job", 2, &stage, 1);
	WAIT_FOR(p.requests && p.ready);
	assert_int_equal(p.asked[0].position, 256 << 10);
	answer(&p.asked[0], 256 << 10, 2, true);
	expect_end(0, 1, 0, "");
	free_stage(stage);
}

static void test_source_data_that_was_not_asked_for(void **state)
{
	(void)state;
	start_reader_of_far_source();
	answer(&(Dagrun__SourceRequest){.channel = 12345}, 0, 10, true);
	answer(&p.asked[0], 77, 10, false);
	WAIT_FOR(p.end_count);
	assert_int_not_equal(p.ends[0].error, 0);
}

static void test_far_bytes_that_go_to_the_disk(void **state)
{
	(void)state;
	start_reader_of_far_source();
	answer(&p.asked[0], 0, p.asked[0].length, false);
	answer(&p.asked[0], p.asked[0].length, 2, true);
	expect_end(0, 1, 0, "");
}

static void test_far_bytes_that_the_disk_does_not_take(void **state)
{
	struct rlimit before, small;

	(void)state;
	start_reader_of_far_source();
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	small = before;
	small.rlim_cur = 1 << 20;
	setrlimit(RLIMIT_FSIZE, &small);
	answer(&p.asked[0], 0, p.asked[0].length, false);
	answer(&p.asked[0], p.asked[0].length, 2, true);
	WAIT_FOR(p.end_count);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_int_equal(p.ends[0].error, DAG_ENOSPC);
}

/* Nothing is left behind, and nobody is told. */
static void test_a_daemon_that_ends_while_bytes_go_to_the_disk(void **state)
{
	(void)state;
	start_reader_of_far_source();
	answer(&p.asked[0], 0, p.asked[0].length, false);
	answer(&p.asked[0], p.asked[0].length, p.asked[0].length, false);
	WAIT_FOR(session_all_acknowledged(p.session));
}

#define D(name) cmocka_unit_test_setup_teardown(name, begin, end)
#define ON_DISK(name) cmocka_unit_test_prestate_setup_teardown(name, begin, end, &p)

int main(void)
{
	const struct CMUnitTest tests[] = {D(test_a_start_that_cannot_be_taken_has_failed),
		D(test_a_group_that_is_not_whole), D(test_a_group_of_which_a_member_is_taken_back),
		D(test_batches_that_make_no_sense), D(test_a_description_that_is_refused_does_not_stay),
		D(test_files_that_are_not_what_was_asked_for), D(test_a_stream_that_is_no_pipe_read_as_one),
		D(test_a_sealed_stream_that_is_not_there), D(test_another_job_manager_is_asked_again),
		D(test_source_data_that_was_not_asked_for), ON_DISK(test_far_bytes_that_go_to_the_disk),
		ON_DISK(test_far_bytes_that_the_disk_does_not_take),
		ON_DISK(test_a_daemon_that_ends_while_bytes_go_to_the_disk)};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
