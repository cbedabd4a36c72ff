/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host, and a pretended daemon that drives it over its socket: what comes when is the test's to say, so
 * that a wait which misses a word, or a thread that touches another's port, is met each time and not by
 * chance.
 */
#include "unit.h"
#include "base/buffer.h"
#include "os/os.h"
#include "os/spawn.h"
#include "vertex/host_proto.h"
#include "vertex/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define PATIENCE_MS 30000 /* for what must come */
#define SEGMENTS_MAX 256u
#define ROUND (64u << 10) /* bytes of a segment that the daemon writes */

struct heard {
	struct host_msg msg;
	unsigned char tail[HOST_TAIL_MAX];
	size_t tail_len;
};

static struct pretended {
	pid_t pid;
	int pidfd, sock, errors, bell;
	struct host_status *status;
	struct host_packet inbox;
	uint32_t ring_taken, task;
	uint64_t received;
	bool holds; /* a message that was taken, and not heard yet */
	uint32_t segment_count;
	unsigned char *segments[SEGMENTS_MAX];
	uint64_t sizes[SEGMENTS_MAX];
} d;

/* ---- saying ---- */

static void say(const struct host_msg *msg, const void *tail, size_t tail_len, int fd)
{
	static struct host_packet packet;

	packet.len = 0;
	assert_true(host_packet_add(&packet, msg, tail, tail_len));
	assert_int_equal(host_packet_send(d.sock, packet.bytes, packet.len, fd), 0);
	if (fd >= 0)
		close(fd);
}

/* A segment of our own numbering, mapped here too. */
static int new_segment(uint64_t size, uint32_t *ret_id)
{
	int fd = memfd_create("segment", MFD_CLOEXEC);

	assert_true(fd >= 0 && d.segment_count < SEGMENTS_MAX && ftruncate(fd, (off_t)size) == 0);
	d.sizes[d.segment_count] = size;
	d.segments[d.segment_count] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(d.segments[d.segment_count], MAP_FAILED);
	*ret_id = d.segment_count++;
	return fd;
}

static void grant(uint64_t size)
{
	struct host_msg msg = {.kind = HOST_GRANT};
	int fd;

	msg.u.segment.size = DAG_MAX(size, (uint64_t)ROUND);
	fd = new_segment(msg.u.segment.size, &msg.u.segment.id);
	say(&msg, NULL, 0, fd);
}

static void start(const char *name, const struct stage_spec *spec, uint32_t port_flags)
{
	struct host_msg stage = {.kind = HOST_STAGE}, go = {.kind = HOST_START, .task = ++d.task};
	struct host_port port = {.producers = 1, .flags = port_flags};
	struct buffer tail = {0};

	stage.u.stage.name_len = (uint32_t)strlen(name);
	buffer_append(&tail, name, strlen(name));
	stage_spec_encode(spec, &tail);
	stage.u.stage.size = tail.len - strlen(name);
	say(&stage, tail.data, tail.len, -1);
	buffer_fini(&tail);
	go.u.start.width = go.u.start.attempt = go.u.start.epoch = go.u.start.group_size = 1;
	go.u.start.vertex = d.task;
	go.u.start.in_ports = spec->in_count;
	say(&go, &port, spec->in_count * sizeof(port), -1);
}

/* The channel that was asked for is a pipe. */
static void open_live(const struct heard *asked)
{
	struct host_msg msg = {.kind = HOST_CHANNEL, .task = asked->msg.task};

	msg.u.channel.port = asked->msg.u.data.port;
	msg.u.channel.producer = asked->msg.u.data.producer;
	msg.u.channel.kind = HOST_CHANNEL_LIVE;
	msg.u.channel.step = 1 << 20;
	say(&msg, NULL, 0, -1);
}

/* A block of lines for producer 0 of port 0. */
static void send_lines(const char *const *lines, uint32_t count)
{
	struct host_msg shown = {.kind = HOST_SEGMENT}, msg = {.kind = HOST_BLOCKS, .task = d.task};
	struct block_ref ref = {.records = count, .offset = BLOCK_HEADER_SIZE, .kind = BLOCK_DATA};
	int fd = new_segment(ROUND, &ref.segment);
	unsigned char *at = d.segments[ref.segment] + BLOCK_HEADER_SIZE;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t len = (uint32_t)strlen(lines[i]);

		memcpy(at, &len, sizeof(len));
		memcpy(at + sizeof(len), lines[i], len);
		at += sizeof(len) + len;
	}
	ref.length = (uint32_t)(at - d.segments[ref.segment] - BLOCK_HEADER_SIZE);
	shown.u.segment.id = ref.segment;
	shown.u.segment.size = ROUND;
	say(&shown, NULL, 0, fd);
	msg.u.data.count = 1;
	say(&msg, &ref, sizeof(ref), -1);
}

static void send_end(void)
{
	struct host_msg msg = {.kind = HOST_END, .task = d.task};

	say(&msg, NULL, 0, -1);
}

static void send_credit(uint32_t stream, uint32_t part)
{
	struct host_msg msg = {.kind = HOST_CREDIT, .task = d.task};

	msg.u.live.stream = stream;
	msg.u.live.part = part;
	msg.u.live.limit = UINT64_MAX;
	say(&msg, NULL, 0, -1);
}

/* ---- hearing ---- */

/* An end in the ring, as if it were a message. */
static bool take_end(struct heard *ret)
{
	struct host_ended ended;

	if (!host_ring_take(d.status, &d.ring_taken, d.received, &ended))
		return false;
	ret->msg = (struct host_msg){.kind = HOST_DONE, .task = ended.task};
	ret->msg.u.done = ended.done;
	ret->tail_len = 0;
	return true;
}

static void take_message(struct heard *ret)
{
	struct pollfd fd = {d.sock, POLLIN, 0};
	const void *tail;
	int beside;

	if (!host_packet_has_more(&d.inbox) && poll(&fd, 1, PATIENCE_MS) != 1)
		fail_msg("the host says nothing more");
	assert_int_equal(host_msg_recv(d.sock, &d.inbox, &ret->msg, &tail, &ret->tail_len, &beside), 1);
	assert_int_equal(beside, -1);
	memcpy(ret->tail, tail, ret->tail_len);
}

/* The next that a test wants to know of; space is granted, and inputs are opened. */
static void hear(struct heard *ret)
{
	static struct heard next;

	for (;;) {
		if (take_end(ret))
			return;
		if (!d.holds)
			take_message(&next);
		/* What ended before it was said comes first. */
		d.holds = true;
		if (take_end(ret))
			return;
		d.holds = false;
		d.received++;
		*ret = next;
		switch (ret->msg.kind) {
		case HOST_SPACE:
			grant(ret->msg.u.segment.size);
			break;
		case HOST_OPEN:
			open_live(ret);
			break;
		case HOST_LIVE:
		case HOST_DONE:
			return;
		default:
			break;
		}
	}
}

static void hear_done(struct heard *ret)
{
	do
		hear(ret);
	while (ret->msg.kind != HOST_DONE);
	assert_int_equal(ret->msg.task, d.task);
	ret->tail[DAG_MIN(ret->tail_len, (size_t)HOST_TAIL_MAX - 1)] = 0;
}

static const struct block_ref *live_block(const struct heard *h)
{
	const struct block_ref *ref = (const void *)h->tail;

	assert_int_equal(h->tail_len, sizeof(*ref));
	assert_true(ref->segment < d.segment_count && ref->offset + ref->length <= d.sizes[ref->segment]);
	return ref;
}

/* ---- a host ---- */

static int begin_host(void **state)
{
	char *program = base_format("%s/daghost", getenv("DAGRUN_BUILD")),
	     *argv[] = {program, "--serve", NULL}, *env[] = {"PATH=/usr/local/bin:/usr/bin:/bin", NULL};
	int socks[2], errs[2], page = memfd_create("status", MFD_CLOEXEC);
	struct heard h;

	(void)state;
	memset(&d, 0, sizeof(d));
	d.inbox.fd = -1;
	d.bell = os_bell_new();
	assert_int_equal(ftruncate(page, sizeof(*d.status)), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks), 0);
	assert_int_equal(pipe2(errs, O_CLOEXEC), 0);
	d.status = mmap(NULL, sizeof(*d.status), PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
	assert_ptr_not_equal(d.status, MAP_FAILED);
	assert_int_equal(spawn_process(&(struct spawn){.path = program,
					       .argv = argv,
					       .env = env,
					       .fds = {-1, errs[1], errs[1], socks[1], page, d.bell},
					       .fd_count = 6},
				 &d.pid, &d.pidfd),
		0);
	close(page);
	os_bell_ring(d.bell);
	close(socks[1]);
	close(errs[1]);
	d.sock = socks[0];
	d.errors = errs[0];
	free(program);
	take_message(&h);
	d.received++;
	assert_int_equal(h.msg.kind, HOST_READY);
	assert_int_equal(h.msg.u.ready.version, HOST_PROTO_VERSION);
	return 0;
}

static int end_host(void **state)
{
	(void)state;
	kill(d.pid, SIGTERM);
	waitpid(d.pid, NULL, 0);
	for (uint32_t i = 0; i < d.segment_count; i++)
		munmap(d.segments[i], d.sizes[i]);
	munmap(d.status, sizeof(*d.status));
	close(d.pidfd);
	close(d.sock);
	close(d.errors);
	close(d.bell);
	return 0;
}

static struct stage_spec plugin(const char *entry)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/tests/unit_vertices.so", getenv("DAGRUN_BUILD"));
	return (struct stage_spec){.job = "unit",
		.kind = GRAPH_PLUGIN,
		.plugin = path,
		.entry = entry,
		.scratch = "/nonexistent"};
}

/* ---- tests ---- */

/* What a vertex flushes before it waits may bring in the last word of its inputs: then there is nothing to
 * wait for. */
static void test_an_end_that_comes_while_a_vertex_flushes_is_heard(void **state)
{
	const char *const lines[] = {"first", "wait"};
	struct graph_stream out = {.parts = 1, .channel = GRAPH_PIPE};
	struct stage_spec spec = plugin("relay");
	struct heard h;
	uint32_t records = 0;

	(void)state;
	spec.in_count = spec.out_count = spec.stream_count = 1;
	spec.in_joined[0] = spec.order_blind = true;
	spec.streams = &out;
	start("relay", &spec, HOST_PORT_LIVE);
	send_lines(lines, 2);
	/* The space is granted before: the end is what the vertex meets at its flush. */
	do {
		take_message(&h);
		d.received++;
	} while (h.msg.kind != HOST_OPEN);
	open_live(&h);
	do {
		take_message(&h);
		d.received++;
	} while (h.msg.kind != HOST_SPACE);
	grant(h.msg.u.segment.size);
	send_end();
	for (hear(&h); h.msg.kind == HOST_LIVE; hear(&h))
		records += live_block(&h)->records;
	if (h.msg.u.done.error)
		fail_msg("%.*s", (int)h.tail_len, (char *)h.tail);
	assert_int_equal(records, 2);
}

/* A program's ports are written by a thread each: the one that is idle flushes its own, and leaves alone what
 * another is in the midst of. */
static void test_a_port_is_flushed_by_its_own_thread(void **state)
{
	const char *argv[] = {"/bin/sh", "-c",
		"yes \"$(printf %01000d 0)\" | head -n 60000 > {out.1} & read word; echo $word; wait"};
	const char *const lines[] = {"go"};
	struct graph_stream out[] = {
		{.port = 1, .parts = 2, .partition.kind = GRAPH_BY_ROUND_ROBIN, .channel = GRAPH_PIPE},
		{.port = 0, .parts = 1, .channel = GRAPH_PIPE}};
	int32_t good = 0;
	char folder[64];
	struct stage_spec spec = {.job = "unit",
		.kind = GRAPH_PROGRAM,
		.argv = argv,
		.argc = DAG_LENGTH(argv),
		.scratch = unit_folder(folder),
		.in_count = 1,
		.out_count = 2,
		.streams = out,
		.stream_count = 2,
		.exit_ok = &good,
		.exit_ok_count = 1};
	uint64_t bytes[2] = {0}, records = 0;
	struct heard h;

	(void)state;
	spec.in_joined[0] = true;
	start("program", &spec, HOST_PORT_LIVE);
	/* Port 1 gets no credit: its thread stands still with one part full and one begun. */
	while (bytes[0] < host_pipe_window(2) || bytes[1] < host_pipe_window(2)) {
		hear(&h);
		assert_int_equal(h.msg.kind, HOST_LIVE);
		assert_int_equal(h.msg.u.live.stream, 0);
		bytes[h.msg.u.live.part] += live_block(&h)->length;
		records += live_block(&h)->records;
	}
	send_lines(lines, 1);
	send_end();
	hear(&h);
	assert_int_equal(h.msg.kind, HOST_LIVE);
	assert_int_equal(h.msg.u.live.stream, 1);
	assert_int_equal(live_block(&h)->records, 1);
	send_credit(0, 0);
	send_credit(0, 1);
	for (hear(&h); h.msg.kind == HOST_LIVE; hear(&h))
		records += live_block(&h)->records;
	if (h.msg.u.done.error)
		fail_msg("%.*s", (int)h.tail_len, (char *)h.tail);
	assert_int_equal(records, 60000);
	os_remove_tree(folder);
}

static void commit_too_much(const char *entry, struct graph_format format)
{
	struct graph_stream out = {.parts = 1, .channel = GRAPH_FILE};
	struct stage_spec spec = plugin(entry);
	struct heard h;

	spec.out_count = spec.stream_count = 1;
	spec.out[0] = format;
	spec.streams = &out;
	start(entry, &spec, 0);
	hear_done(&h);
	assert_int_equal(h.msg.u.done.error, DAG_EINVAL);
	assert_non_null(strstr((char *)h.tail, "a commit of 16 bytes on port 0, of which 8 were reserved"));
}

static void test_no_more_is_committed_than_was_reserved(void **state)
{
	(void)state;
	commit_too_much("overreach", (struct graph_format){DAG_FORMAT_FIXED, 8});
}

static void test_nor_in_place(void **state)
{
	(void)state;
	commit_too_much("overreach_in_place", (struct graph_format){DAG_FORMAT_LINES, 0});
}

/* Whose words they are: the host begins another vertex when what one wrote to stderr was read. */
static void test_words_are_read_before_the_next_vertex_begins(void **state)
{
	struct graph_stream out = {.parts = 1, .channel = GRAPH_FILE};
	struct stage_spec spec = plugin("say");
	struct host_msg heard = {.kind = HOST_HEARD};
	char words[16];
	struct heard h;

	(void)state;
	spec.out_count = spec.stream_count = 1;
	spec.streams = &out;
	for (int i = 0; i < 3; i++)
		start("say", &spec, 0);
	hear(&h);
	assert_int_equal(h.msg.task, 1);
	assert_int_equal(h.msg.u.done.errors, 1);
	assert_int_equal(read(d.errors, words, sizeof(words)), 6);
	assert_int_equal((uint32_t)atomic_load(&d.status->claim), 1);
	say(&heard, NULL, 0, -1);
	/* The second one says nothing, and holds nobody up. */
	hear(&h);
	assert_int_equal(h.msg.task, 2);
	assert_int_equal(h.msg.u.done.errors, 0);
	hear(&h);
	assert_int_equal(h.msg.task, 3);
	assert_int_equal(h.msg.u.done.errors, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin_host, end_host)

int main(void)
{
	const struct CMUnitTest tests[] = {T(test_an_end_that_comes_while_a_vertex_flushes_is_heard),
		T(test_a_port_is_flushed_by_its_own_thread), T(test_no_more_is_committed_than_was_reserved),
		T(test_nor_in_place), T(test_words_are_read_before_the_next_vertex_begins)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
