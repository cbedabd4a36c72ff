/* SPDX-License-Identifier: Apache-2.0 */
/* What has threads, sockets and files: the socket wrapper, sessions, the journal, the spool, spawning. */
#include "loop.h"
#include "base/hash.h"
#include "daemon/folder.h"
#include "daemon/keep.h"
#include "daemon/spool.h"
#include "jobmanager/journal.h"
#include "os/cgroup.h"
#include "os/os.h"
#include "os/spawn.h"
#include "wire/session.h"

#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- the socket wrapper ---- */

#define MESSAGES 100000

struct exchange {
	struct wire_socket *router, *dealer;
	int sent, echoed, received;
};

static void send_number(struct wire_socket *s, int n)
{
	zmq_msg_t m;

	wire_frame(&m, &n, sizeof(n));
	assert_int_equal(wire_socket_send(s, &m, 1), 0);
}

static void on_router(void *ctx, zmq_msg_t *frames, size_t count)
{
	struct exchange *x = ctx;
	zmq_msg_t out[2];

	assert_int_equal(count, 2);
	x->echoed++;
	for (int i = 0; i < 2; i++) {
		zmq_msg_init(&out[i]);
		zmq_msg_move(&out[i], &frames[i]);
	}
	assert_int_equal(wire_socket_send(x->router, out, 2), 0);
}

static void on_dealer(void *ctx, zmq_msg_t *frames, size_t count)
{
	struct exchange *x = ctx;
	int n;

	assert_int_equal(count, 1);
	memcpy(&n, zmq_msg_data(&frames[0]), sizeof(n));
	assert_int_equal(n, x->received);
	if (++x->received == MESSAGES)
		uv_stop(&loop);
	/* Bursts of changing size, so that edges are missed if they can be. */
	for (int i = 0; i < 1 + n % 3 && x->sent < MESSAGES && x->sent < x->received + 500; i++)
		send_number(x->dealer, x->sent++);
}

/* F37: both directions at once, and no message is left lying. */
static void test_no_edge_is_missed(void **state)
{
	struct exchange x = {0};
	char *endpoint;

	(void)state;
	x.router = wire_socket_new(wire, ZMQ_ROUTER, NULL, true, WIRE_CONTROL_MAX, NULL, 0, on_router, &x);
	x.dealer = wire_socket_new(wire, ZMQ_DEALER, NULL, false, WIRE_CONTROL_MAX, NULL, 0, on_dealer, &x);
	assert_int_equal(wire_socket_bind(x.router, "tcp://127.0.0.1:*", &endpoint), 0);
	assert_int_equal(wire_socket_connect(x.dealer, endpoint, false), 0);
	send_number(x.dealer, x.sent++);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(x.received, MESSAGES);
	wire_socket_destroy(&x.router);
	wire_socket_destroy(&x.dealer);
	free(endpoint);
}

/* ---- sessions ---- */

struct talk {
	int opened, got, refused;
	struct session *client;
	struct session_server *server;
	uv_timer_t timer;
};

/* What the shells do: both sides beat, acknowledge and repeat. */
static void on_beat(uv_timer_t *timer)
{
	struct talk *talk = timer->data;

	session_tick(talk->client, os_now() + 19 * DAG_SECOND / 10); /* what is lost is repeated soon */
	session_server_tick(talk->server, os_now());
	if (talk->got == 1000 && session_all_acknowledged(talk->client))
		uv_stop(&loop);
}

static void on_opened(void *ctx, struct session *s, const Dagrun__Hello *hello)
{
	(void)s;
	assert_string_equal(hello->id, "me");
	((struct talk *)ctx)->opened++;
}

static void on_server_message(void *ctx, struct session *s, const Dagrun__Envelope *e)
{
	(void)s;
	assert_int_equal(e->body_case, DAGRUN__ENVELOPE__BODY_WANT);
	assert_int_equal(e->want->slots, ((struct talk *)ctx)->got);
	((struct talk *)ctx)->got++;
}

static void on_client_message(void *ctx, struct session *s, const Dagrun__Envelope *e)
{
	(void)ctx;
	(void)s;
	assert_int_equal(e->body_case, DAGRUN__ENVELOPE__BODY_HELLO);
}

static void on_refused(void *ctx, struct session *s, const char *text)
{
	(void)s;
	assert_non_null(strstr(text, "not known"));
	((struct talk *)ctx)->refused++;
	uv_stop(&loop);
}

static void test_sessions_deliver_in_order_and_a_new_server_refuses_old_ones(void **state)
{
	static const struct session_handlers server_handlers = {.on_opened = on_opened,
						     .on_message = on_server_message},
					     client_handlers = {.on_message = on_client_message,
						     .on_refused = on_refused};
	static struct talk talk; /* its timer is closed after this function has returned */
	char *endpoint, *again, *address;
	int r = -1;

	/* An address of this process's own: a port that is free for a moment could be somebody else's in the
	 * next. */
	(void)state;
	address = base_format("tcp://127.%d.%d.7:*", 1 + (int)getpid() / 250 % 250, (int)getpid() % 250);
	assert_int_equal(session_listen(wire, NULL, address, "srv", DAGRUN__ROLE__DAEMON, 1, &server_handlers,
				 &talk, &talk.server, &endpoint),
		0);
	talk.client =
		session_dial(wire, NULL, endpoint, "me", DAGRUN__ROLE__MANAGER, 1, &client_handlers, &talk);
	for (uint32_t i = 0; i < 1000; i++) {
		Dagrun__Want want = DAGRUN__WANT__INIT;
		SESSION_ENVELOPE(e, WANT);

		want.slots = i;
		e.want = &want;
		session_send(talk.client, &e);
	}
	uv_timer_init(&loop, &talk.timer);
	talk.timer.data = &talk;
	uv_timer_start(&talk.timer, on_beat, 20, 20);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(talk.opened, 1);
	assert_int_equal(talk.got, 1000);
	session_server_destroy(&talk.server);
	for (int i = 0; i < 100 && r < 0; i++) {
		usleep(20000);
		r = session_listen(wire, NULL, endpoint, "srv", DAGRUN__ROLE__DAEMON, 2, &server_handlers,
			&talk, &talk.server, &again);
	}
	if (r < 0)
		fail_msg("cannot listen on %s again: %s", endpoint, zmq_strerror(zmq_errno()));
	talk.got = 0;
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&talk.timer, NULL);
	assert_int_equal(talk.refused, 1);
	session_destroy(&talk.client);
	session_server_destroy(&talk.server);
	free(address);
	free(endpoint);
	free(again);
}

#define CHUNKS 4

struct bulk {
	size_t sizes[CHUNKS];
	uint32_t got;
	bool refused;
	struct session *client;
	struct session_server *server;
	uv_timer_t timer;
};

static void on_bulk_beat(uv_timer_t *timer)
{
	struct bulk *b = timer->data;

	if (!b->refused)
		session_tick(b->client, os_now() + 3 * DAG_SECOND); /* repeats what is under way */
	session_server_tick(b->server, os_now());
}

static void on_bulk(void *ctx, struct session *s, const Dagrun__Envelope *e)
{
	struct bulk *b = ctx;
	const Dagrun__FileChunk *chunk = e->file_chunk;

	(void)s;
	if (b->got == CHUNKS)
		return; /* a repeat that came behind the session's end */
	assert_int_equal(e->body_case, DAGRUN__ENVELOPE__BODY_FILE_CHUNK);
	assert_int_equal(chunk->offset, b->got);
	assert_int_equal(chunk->data.len, b->sizes[b->got]);
	for (size_t i = 0; i < chunk->data.len; i++)
		if (chunk->data.data[i] != (unsigned char)(i * 7 + i / 1000 + b->got))
			fail_msg("byte %zu of chunk %u is another one", i, b->got);
	b->got++;
}

static void on_bulk_opened(void *ctx, struct session *s, const Dagrun__Hello *hello)
{
	(void)ctx;
	(void)s;
	(void)hello;
}

static void on_bulk_refused(void *ctx, struct session *s, const char *text)
{
	(void)s;
	assert_non_null(strstr(text, "beyond the limit"));
	((struct bulk *)ctx)->refused = true;
	uv_stop(&loop);
}

static void send_bulk(struct session *s, uint32_t number, size_t len)
{
	unsigned char *data = base_alloc(len);
	Dagrun__FileChunk chunk = DAGRUN__FILE_CHUNK__INIT;
	SESSION_ENVELOPE(e, FILE_CHUNK);

	for (size_t i = 0; i < len; i++)
		data[i] = (unsigned char)(i * 7 + i / 1000 + number);
	chunk.hash = chunk.error = (char *)"";
	chunk.offset = number;
	chunk.data.data = data;
	chunk.data.len = len;
	e.file_chunk = &chunk;
	assert_int_equal(session_send(s, &e), 0);
	free(data);
}

/* Larger than a frame may be, between small ones, with repeats; what is larger than the other side takes ends
 * the session. */
static void test_long_messages_go_in_pieces(void **state)
{
	static const struct session_handlers server_handlers = {.on_opened = on_bulk_opened,
						     .on_message = on_bulk,
						     .message_max = 20 << 20},
					     client_handlers = {.on_message = on_client_message,
						     .on_refused = on_bulk_refused};
	static struct bulk b = {.sizes = {WIRE_PIECE - 200, (17 << 20) + 5, 3, 3 * WIRE_PIECE}};
	char *endpoint;

	(void)state;
	assert_int_equal(session_listen(wire, NULL, "tcp://127.0.0.1:*", "srv", DAGRUN__ROLE__DAEMON, 1,
				 &server_handlers, &b, &b.server, &endpoint),
		0);
	b.client = session_dial(wire, NULL, endpoint, "me", DAGRUN__ROLE__MANAGER, 1, &client_handlers, &b);
	for (uint32_t i = 0; i < CHUNKS; i++)
		send_bulk(b.client, i, b.sizes[i]);
	send_bulk(b.client, CHUNKS, 21 << 20);
	uv_timer_init(&loop, &b.timer);
	b.timer.data = &b;
	uv_timer_start(&b.timer, on_bulk_beat, 20, 20);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&b.timer, NULL);
	assert_int_equal(b.got, CHUNKS);
	assert_true(b.refused);
	session_destroy(&b.client);
	session_server_destroy(&b.server);
	free(endpoint);
}

/* ---- keys ---- */

static void test_keys_let_only_friends_in(void **state)
{
	struct wire_keys *keys = NULL;
	struct dag_diag diag = {0};
	char folder[64];

	(void)state;
	unit_folder(folder);
	assert_int_equal(keys_generate(folder, &diag), 0);
	assert_int_equal(keys_generate(folder, &diag), DAG_EEXIST);
	assert_int_equal(keys_load(folder, &keys, &diag), 0);
	assert_int_equal(keys_guard(keys, &diag), 0);
	assert_int_equal(keys_self_test(keys, &diag), 0);
	keys_destroy(&keys);
	assert_int_equal(keys_load("/nowhere", &keys, &diag), DAG_EPERM);
	dag_diag_fini(&diag);
	os_remove_tree(folder);
}

/* ---- the journal ---- */

#define FACTS 20000

static void on_durable(void *ctx, uint64_t seq)
{
	*(uint64_t *)ctx = seq;
	if (seq == FACTS)
		uv_stop(&loop);
}

static void on_trouble(void *ctx, const char *text, bool final)
{
	(void)ctx;
	(void) final;
	if (text)
		fail_msg("%s", text);
}

/* I6: what is said to be durable is in the file. */
static void test_journal_keeps_facts_in_order(void **state)
{
	char folder[64], *path;
	uint64_t durable = 0;
	struct journal_config config = {.folder = unit_folder(folder),
		.meta = (struct graph_pair[]){{"epoch", "1"}, {"job", "j"}},
		.meta_count = 2,
		.on_durable = on_durable,
		.on_trouble = on_trouble,
		.ctx = &durable};
	struct dag_diag diag = {0};
	struct journal *journal;
	struct journal_saved saved;
	sqlite3 *db;

	(void)state;
	assert_int_equal(journal_new(&loop, &config, &journal, &diag), 0);
	for (int i = 1; i <= FACTS; i++) {
		char fact[32];
		const char *facts[] = {fact};

		snprintf(fact, sizeof(fact), "fact %d", i);
		assert_int_equal(journal_append(journal, facts, 1), i);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(durable, FACTS);
	assert_int_equal(
		journal_append(journal, (const char *const[]){"failed 1 1 a text\nof\n\tlines\n"}, 1),
		FACTS + 1);
	path = base_format("%s/journal.db", folder);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	journal_destroy(&journal);
	assert_int_equal(journal_load(folder, true, &saved, &diag), 0);
	assert_int_equal(saved.fact_count, FACTS + 1);
	assert_int_equal(saved.epoch, 1);
	for (int i = 1; i <= FACTS; i++) {
		char fact[32];

		snprintf(fact, sizeof(fact), "fact %d", i);
		assert_string_equal(saved.facts[i - 1], fact);
	}
	assert_string_equal(saved.facts[FACTS], "failed 1 1 a text\nof\n\tlines\n");
	assert_true(saved.row_count > 3 && saved.row_count < FACTS);
	journal_saved_fini(&saved);
	/* A row that was changed, or is missing, is named. */
	assert_int_equal(
		sqlite3_exec(db, "UPDATE facts SET facts = replace(facts, 'fact', 'fakt') WHERE seq = 3",
			NULL, NULL, NULL),
		SQLITE_OK);
	assert_int_equal(journal_load(folder, true, &saved, &diag), DAG_ECORRUPT);
	assert_non_null(strstr(diag.items[0].text, "row 3 of table facts"));
	assert_int_equal(sqlite3_exec(db, "DELETE FROM facts WHERE seq = 2", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(journal_load(folder, true, &saved, &diag), DAG_ECORRUPT);
	assert_non_null(strstr(diag.items[1].text, "row 2 of table facts"));
	/* A table that is not ours. */
	assert_int_equal(sqlite3_exec(db, "CREATE TRIGGER t AFTER INSERT ON job BEGIN DELETE FROM facts; END",
				 NULL, NULL, NULL),
		SQLITE_OK);
	assert_int_equal(journal_load(folder, true, &saved, &diag), DAG_ECORRUPT);
	assert_non_null(strstr(diag.items[2].text, "tables are not those"));
	dag_diag_fini(&diag);
	sqlite3_close(db);
	free(path);
	os_remove_tree(folder);
}

/* ---- the spool ---- */

struct taken {
	struct spool_segment *segment;
	int error;
};

static void on_taken(void *ctx, struct spool_segment *segment, int error)
{
	*(struct taken *)ctx = (struct taken){segment, error};
}

/* Without a disk's thread it is there at once. */
static int take(struct spool *spool, uint64_t size, struct spool_segment **ret_segment)
{
	struct taken taken = {0};

	spool_ask(spool, size, on_taken, &taken);
	*ret_segment = taken.segment;
	return taken.error;
}

static void test_spool_recycles_and_spills(void **state)
{
	char folder[64], node[32];
	struct spool *spool, *second;
	struct spool_segment *a, *b, *c;
	struct dag_diag diag = {0};
	uint32_t id;

	(void)state;
	snprintf(node, sizeof(node), "unit-%d", (int)getpid());
	assert_int_equal(spool_new(node, unit_folder(folder), 6 << 20, &spool, &diag), 0);
	assert_int_equal(spool_new("other", folder, 0, &second, &diag), DAG_EBUSY);
	assert_int_equal(take(spool, 100, &a), 0);
	assert_int_equal(take(spool, 3 << 20, &b), 0);
	assert_int_equal(take(spool, 3 << 20, &c), 0);
	assert_true(a->in_memory && b->in_memory && !c->in_memory); /* beyond the budget: on disk */
	assert_int_equal(a->size, 1 << 20);
	assert_int_equal(b->size, 4 << 20);
	strcpy((char *)spool_map(spool, b), "x");
	spool_ref(b);
	spool_unref(spool, b);
	assert_ptr_equal(spool_find(spool, b->id), b);
	id = b->id;
	spool_unref(spool, b);
	assert_null(spool_find(spool, id));
	assert_int_equal(take(spool, 2 << 20, &b), 0);
	assert_int_equal(b->id, id); /* the same pages again */
	spool_destroy(&spool);
	dag_diag_fini(&diag);
	os_remove_tree(folder);
}

/* A second daemon of the same name works on disk, says so, and touches nothing of the first one's. */
static void test_spool_of_a_name_in_use(void **state)
{
	char folder[64], other[64], node[32];
	struct spool *spool, *second;
	struct spool_segment *a, *b;
	struct dag_diag diag = {0};
	int fd;

	(void)state;
	snprintf(node, sizeof(node), "unit-%d", (int)getpid());
	assert_int_equal(spool_new(node, unit_folder(folder), 6 << 20, &spool, &diag), 0);
	assert_int_equal(take(spool, 100, &a), 0);
	assert_int_equal(diag.count, 0);
	assert_int_equal(spool_new(node, unit_folder(other), 6 << 20, &second, &diag), 0);
	assert_int_equal(diag.count, 1);
	assert_non_null(strstr(diag.items[0].text, "is in use by another daemon of this name"));
	spool_drop_rest(second);
	assert_int_equal(take(second, 100, &b), 0);
	assert_false(b->in_memory);
	spool_destroy(&second);
	fd = spool_open(spool, a, true);
	assert_true(fd >= 0);
	close(fd);
	spool_destroy(&spool);
	dag_diag_fini(&diag);
	os_remove_tree(folder);
	os_remove_tree(other);
}

/* Whole pages go, and no other byte; what has got holes is not filled again. */
static void test_spool_gives_back_what_is_not_needed(void **state)
{
	char folder[64], node[32];
	struct spool_segment *a, *b;
	struct dag_diag diag = {0};
	struct spool *spool;
	unsigned char *base;
	uint64_t used;
	uint32_t id;

	(void)state;
	snprintf(node, sizeof(node), "unit-%d", (int)getpid());
	assert_int_equal(spool_new(node, unit_folder(folder), 6 << 20, &spool, &diag), 0);
	assert_int_equal(take(spool, 4 << 20, &a), 0);
	base = spool_map(spool, a);
	memset(base, 7, a->size);
	used = spool_used(spool);
	spool_punch(spool, a->id, 4000, 4096 + 4096); /* 4000 to 12192: one page of them is whole */
	assert_int_equal(used - spool_used(spool), 4096);
	assert_true(base[4095] == 7 && base[4096] == 0 && base[8191] == 0 && base[8192] == 7);
	spool_punch(spool, a->id, 8192, 4095);
	assert_int_equal(used - spool_used(spool), 4096);
	spool_punch(spool, a->id, 1 << 20, 3 << 20);
	assert_int_equal(take(spool, 4 << 20, &b), 0);
	assert_true(b->in_memory); /* there is room for it now */
	id = a->id;
	spool_unref(spool, a);
	assert_int_equal(take(spool, 4 << 20, &a), 0);
	assert_int_not_equal(a->id, id);
	assert_false(a->in_memory);
	spool_punch(spool, a->id, 0, 1 << 20); /* looks at its file, and must let go of it */
	spool_unref(spool, a);
	for (int fd = 0; fd < 256; fd++) {
		char link[32], path[256] = "";

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		if (readlink(link, path, sizeof(path) - 1) > 0)
			assert_null(strstr(path, "(deleted)"));
	}
	spool_destroy(&spool);
	dag_diag_fini(&diag);
	os_remove_tree(folder);
}

/* ---- spawning ---- */

/* F36: a child has the descriptors that were meant for it, and no other. */
static void test_spawn_passes_only_what_is_meant(void **state)
{
	char *argv[] = {"sh", "-c", "echo $X; exec ls -m /proc/self/fd", NULL},
	     *env[] = {"X=y", "PATH=/usr/bin:/bin", NULL}, text[128] = "";
	int fds[2], pidfd, extra = dup(2);
	struct spawn s = {.path = "sh", .argv = argv, .env = env, .fds = {-1, 0, 2}, .fd_count = 3};
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	s.fds[1] = fds[1];
	assert_int_equal(spawn_process(&s, &pid, &pidfd), 0);
	close(fds[1]);
	for (size_t n = 0; n < sizeof(text) - 1;) {
		ssize_t got = read(fds[0], text + n, sizeof(text) - 1 - n);

		if (got <= 0)
			break;
		n += (size_t)got;
	}
	assert_string_equal(text, "y\n0, 1, 2, 3\n"); /* 3 is the folder that ls itself has opened */
	waitpid(pid, NULL, 0);
	close(fds[0]);
	close(pidfd);
	close(extra);
#ifndef __SANITIZE_THREAD__ /* which makes of vfork a fork, so that the child cannot tell why */
	s.path = "/no/such/program";
	s.fds[1] = 2;
	assert_int_equal(spawn_process(&s, &pid, &pidfd), DAG_ENOEXEC);
	assert_int_equal(errno, ENOENT);
#endif
}

static void put(const char *folder, const char *name, const char *text)
{
	char *path = base_format("%s/%s", folder, name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	free(path);
}

static void assert_file(const char *folder, const char *name, const char *text)
{
	char *path = base_format("%s/%s", folder, name), got[64] = "";
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	assert_non_null(fgets(got, sizeof(got), f));
	assert_string_equal(got, text);
	fclose(f);
	free(path);
}

/* What is written where: a folder with the kernel's files stands for a control group. */
static void test_cgroup_writes_what_the_kernel_reads(void **state)
{
	char folder[] = "/tmp/dagrun-cgroup-XXXXXX", *child, *expected;
	static const char *const files[] = {"cgroup.procs", "memory.max", "memory.swap.max",
		"memory.oom.group", "cpu.max", "memory.events", "cgroup.kill"};
	struct dag_diag diag = {0};
	struct cgroup *g = NULL;

	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(cgroup_new(&g, folder, &diag), DAG_EIO);
	assert_int_equal(diag.count, 1);
	dag_diag_fini(&diag);
	put(folder, "cgroup.controllers", "cpuset cpu io memory pids\n");
	put(folder, "cgroup.subtree_control", "");
	assert_int_equal(cgroup_new(&g, folder, &diag), 0);
	assert_true(cgroup_limits_memory(g) && cgroup_limits_cpu(g));
	expected = base_format("%s/host-77", folder);
	mkdir(expected, 0700);
	for (size_t i = 0; i < DAG_LENGTH(files); i++)
		put(expected, files[i], "");
	child = cgroup_add(g, 77);
	assert_string_equal(child, expected);
	assert_file(child, "cgroup.procs", "77");
	cgroup_limit(g, child, 512 << 20, 150);
	assert_file(child, "memory.max", "536870912");
	assert_file(child, "memory.swap.max", "0");
	assert_file(child, "memory.oom.group", "1");
	assert_file(child, "cpu.max", "150000 100000");
	assert_false(cgroup_out_of_memory(child));
	put(child, "memory.events", "low 0\nhigh 0\nmax 31\noom 1\noom_kill 2\noom_group_kill 1\n");
	assert_true(cgroup_out_of_memory(child));
	assert_false(cgroup_remove(child));
	os_remove_tree(folder);
	assert_true(cgroup_remove(child));
	free(child);
	free(expected);
	cgroup_destroy(&g);
}

/* A record that found the disk full in its midst must not hide those that follow. */
static void test_keep_goes_on_after_a_full_disk(void **state)
{
	char folder[64];
	struct rlimit before, limit;
	struct keep_record *records;
	struct keep *keep;
	uint64_t job = keep_job_number("job");
	size_t n;

	(void)state;
	unit_folder(folder);
	keep = keep_new(folder, NULL, 0);
	assert_non_null(keep);
	keep_note(keep, KEEP_SEALED, job, 1, 1, &(struct block_ref){0}, 0);
	keep_settle(keep);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = (struct rlimit){sizeof(struct keep_record) * 3 / 2, before.rlim_max};
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	keep_note(keep, KEEP_SEALED, job, 2, 1, &(struct block_ref){0}, 0);
	keep_settle(keep);
	setrlimit(RLIMIT_FSIZE, &before);
	keep_note(keep, KEEP_SEALED, job, 3, 1, &(struct block_ref){0}, 0);
	keep_settle(keep);
	records = keep_load(folder, &n);
	assert_int_equal(n, 2);
	assert_int_equal(records[0].vertex + records[1].vertex, 4);
	free(records);
	keep_destroy(&keep);
	os_remove_tree(folder);
}

static off_t file_size(const char *folder, const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

/* Nothing that lies under the name of the record, or is written in it, keeps a daemon from its start. */
static void test_keep_believes_nothing(void **state)
{
	struct keep_record sealed = {.job = keep_job_number("j"),
				   .vertex = 7,
				   .attempt = 1,
				   .kind = KEEP_SEALED},
			   forged = {.job = sealed.job, .attempt = 1, .more = UINT32_MAX, .kind = KEEP_ACKED},
			   *records;
	struct keep_record all[4] = {sealed, forged, sealed, forged};
	char folder[64], *path, *temporary;
	struct keep *keep;
	size_t n;
	FILE *f;

	(void)state;
	path = base_format("%s/sealed", unit_folder(folder));
	temporary = base_format("%s/sealed.new", folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(mkfifo(temporary, 0600), 0);
	free(keep_load(folder, &n));
	assert_int_equal(n, 0);
	keep = keep_new(folder, NULL, 0);
	assert_non_null(keep);
	keep_destroy(&keep);
	/* Records of more vertices than there are: acked, and gone, and with them the job. */
	all[3].kind = KEEP_GONE;
	all[2].vertex = 8;
	all[2].job++;
	for (int i = 0; i < 4; i++)
		all[i].check = hash_128((char *)&all[i] + 8, sizeof(all[i]) - 8).low;
	f = fopen(path, "wb");
	assert_int_equal(fwrite(all, sizeof(all[0]), 3, f), 3);
	fclose(f);
	records = keep_load(folder, &n);
	assert_int_equal(n, 2);
	assert_int_equal(records[0].acked + records[1].acked, 1);
	free(records);
	f = fopen(path, "wb");
	assert_int_equal(fwrite(all, sizeof(all[0]), 4, f), 4);
	fclose(f);
	free(keep_load(folder, &n));
	assert_int_equal(n, 1); /* of the other job */
	free(path);
	free(temporary);
	os_remove_tree(folder);
}

/* What is no segment has the name of one; the pool's file was cut short; a folder is not ours alone. */
static void test_spool_believes_nothing(void **state)
{
	char folder[64], node[32], *path;
	struct spool *spool = NULL;
	struct spool_segment *a, *b;
	struct dag_diag diag = {0};
	unsigned char bytes[100];
	uint32_t id;
	int fd;

	(void)state;
	snprintf(node, sizeof(node), "unit-%d", (int)getpid());
	path = base_format("%s/seg-1", unit_folder(folder));
	assert_int_equal(mkdir(path, 0700), 0);
	put(path, "x", "y");
	assert_int_equal(spool_new(node, folder, 0, &spool, &diag), 0);
	assert_int_equal(take(spool, 100, &a), 0);
	assert_int_not_equal(a->id, 1);
	spool_destroy(&spool);
	assert_int_equal(chmod(folder, 0777), 0);
	assert_int_equal(spool_new(node, folder, 0, &spool, &diag), DAG_EIO);
	assert_non_null(strstr(diag.items[0].text, "written to by others"));
	assert_int_equal(chmod(folder, 0700), 0);
	assert_int_equal(spool_new(node, folder, 64 << 20, &spool, &diag), 0);
	assert_int_equal(take(spool, 100, &a), 0);
	assert_true(a->in_memory);
	assert_int_equal(spool_read(spool, a, 50, bytes, 50), 0);
	assert_int_equal(spool_read(spool, a, a->size - 10, bytes, 11), DAG_EMISSING);
	id = a->id;
	fd = spool_open(spool, a, true);
	assert_int_equal(ftruncate(fd, 10), 0);
	close(fd);
	spool_look_anew(spool);
	assert_int_equal(spool_read(spool, a, 50, bytes, 50), DAG_EMISSING);
	assert_false(spool_is_whole(spool, a));
	assert_null(spool_map(spool, a));
	spool_unref(spool, a);
	assert_int_equal(take(spool, 100, &b), 0);
	assert_int_not_equal(b->id, id);
	spool_destroy(&spool);
	dag_diag_fini(&diag);
	free(path);
	os_remove_tree(folder);
}

/* Shared memory of a daemon that is dead goes when its spool is gone, or after a day. */
static void test_shared_memory_of_the_dead_goes(void **state)
{
	char folder[64], *name = base_format("unit-dead-%d", (int)getpid()),
			 *memory = base_format("/dev/shm/dagrun-%u/%s", (unsigned)geteuid(), name),
			 *spool = base_format("%s/spool", unit_folder(folder)),
			 *lock = base_format("%s/lock", memory);
	bool kept = false;

	(void)state;
	assert_int_equal(os_make_folders(spool), 0);
	assert_int_equal(os_make_folders(memory), 0);
	put(memory, "seg-1", "x");
	folder_remove_dead(NULL);
	assert_int_equal(access(memory, F_OK), 0); /* it has no lock yet: somebody is at it */
	put(memory, "lock", spool);
	folder_remove_dead(NULL);
	assert_int_equal(access(memory, F_OK), 0); /* it may come again */
	os_remove_tree(spool);
	for (int i = 0; i < 100 && !kept; i++) { /* the machine's daemons look there too */
		assert_int_equal(os_make_folders(memory), 0);
		put(memory, "lock", spool);
		folder_remove_dead(name);
		kept = access(memory, F_OK) == 0; /* it is ours */
	}
	assert_true(kept);
	for (int i = 0; i < 1000 && access(memory, F_OK) == 0; i++) { /* another may look into it just now */
		folder_remove_dead(NULL);
		usleep(1000);
	}
	assert_true(access(memory, F_OK) < 0);
	free(name);
	free(memory);
	free(spool);
	free(lock);
	os_remove_tree(folder);
}

/* One record for vertices that follow one another, and each is what it was said to be. */
static void test_keep_joins_what_happens_to_many(void **state)
{
	char folder[64];
	struct keep_record *records;
	struct keep *keep;
	uint64_t job = keep_job_number("job"), other = keep_job_number("other");
	size_t n;

	(void)state;
	unit_folder(folder);
	keep = keep_new(folder, NULL, 0);
	assert_non_null(keep);
	for (uint32_t v = 0; v < 10; v++)
		keep_note(keep, KEEP_SEALED, job, v, 1, &(struct block_ref){v, 0, 64 * v, 100 + v, 0, 0}, 0);
	keep_note(keep, KEEP_SEALED, other, 3, 1, &(struct block_ref){0}, 0);
	for (uint32_t v = 2; v < 8; v++)
		keep_note(keep, KEEP_ACKED, job, v, 1, NULL, 0);
	keep_note(keep, KEEP_ACKED, job, 8, 2, NULL, 0); /* another attempt, which is not here */
	keep_settle(keep);
	keep_note(keep, KEEP_GONE, job, 5, 1, NULL, 0);
	keep_note(keep, KEEP_GONE, job, 6, 1, NULL, 0);
	keep_note(keep, KEEP_GONE, job, 8, 1, NULL, 0);
	keep_note(keep, KEEP_ACKED, job, 9, 1, NULL, 0);
	keep_settle(keep);
	assert_int_equal(file_size(folder, "sealed"), (11 + 2 + 3) * sizeof(struct keep_record));
	records = keep_load(folder, &n);
	assert_int_equal(n, 8);
	for (size_t i = 0; i < n; i++) {
		uint32_t v = records[i].vertex;

		assert_true(v < 5 || v == 7 || v == 9);
		assert_int_equal(keep_index(&records[i]).segment, records[i].job == job ? v : 0);
		assert_int_equal(keep_index(&records[i]).offset, records[i].job == job ? 64 * v : 0);
		assert_int_equal(keep_index(&records[i]).length, records[i].job == job ? 100 + v : 0);
		assert_int_equal(records[i].acked, records[i].job == job && v >= 2);
	}
	free(records);
	keep_destroy(&keep);
	os_remove_tree(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {T(test_no_edge_is_missed),
		T(test_sessions_deliver_in_order_and_a_new_server_refuses_old_ones),
		T(test_long_messages_go_in_pieces), T(test_keys_let_only_friends_in),
		T(test_journal_keeps_facts_in_order), cmocka_unit_test(test_spool_recycles_and_spills),
		cmocka_unit_test(test_spool_of_a_name_in_use),
		cmocka_unit_test(test_keep_joins_what_happens_to_many),
		cmocka_unit_test(test_keep_believes_nothing), cmocka_unit_test(test_spool_believes_nothing),
		cmocka_unit_test(test_shared_memory_of_the_dead_goes),
		cmocka_unit_test(test_spool_gives_back_what_is_not_needed),
		cmocka_unit_test(test_keep_goes_on_after_a_full_disk),
		cmocka_unit_test(test_spawn_passes_only_what_is_meant),
		cmocka_unit_test(test_cgroup_writes_what_the_kernel_reads)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
