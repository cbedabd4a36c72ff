/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions whose messages are large or too large, and whom a door lets in. */
#include "cluster_keys.h"
#include "loop.h"
#include "wire/door.h"
#include "wire/session.h"

enum { LARGE = 3 << 20, SMALL = 8 };

struct talk {
	struct session *client;
	struct session_server *server;
	size_t got;
	int closed;
	char *refusal;
	uv_timer_t timer;
};

static void on_message(void *ctx, struct session *s, const Dagrun__Envelope *e)
{
	struct talk *t = ctx;

	(void)s;
	if (e->body_case != DAGRUN__ENVELOPE__BODY_JOB_END)
		return;
	t->got = strlen(e->job_end->job);
	for (size_t i = 0; i < t->got; i++)
		assert_int_equal(e->job_end->job[i], 'a' + i % 26);
	uv_stop(&loop);
}

static void on_opened(void *ctx, struct session *s, const Dagrun__Hello *hello)
{
	(void)ctx;
	(void)s;
	(void)hello;
}

static void on_closed(void *ctx, struct session *s)
{
	(void)s;
	((struct talk *)ctx)->closed++;
}

static void on_refused(void *ctx, struct session *s, const char *text)
{
	struct talk *t = ctx;

	(void)s;
	free(t->refusal);
	t->refusal = base_strdup(text);
	uv_stop(&loop);
}

static void on_tick(uv_timer_t *timer)
{
	struct talk *t = timer->data;

	session_tick(t->client, os_now());
	session_server_tick(t->server, os_now());
}

static const struct session_handlers handlers = {
	.on_message = on_message, .on_opened = on_opened, .on_closed = on_closed, .on_refused = on_refused};

static void begin(struct talk *t, const struct wire_keys *keys, const char *expected)
{
	char *endpoint;

	assert_int_equal(session_listen(wire, keys, "tcp://127.0.0.1:*", "srv", DAGRUN__ROLE__DAEMON, 1,
				 &handlers, t, &t->server, &endpoint),
		0);
	t->client = session_dial(wire, keys, endpoint, "me", DAGRUN__ROLE__MANAGER, 1, &handlers, t);
	session_expect(t->client, expected);
	free(endpoint);
	uv_timer_init(&loop, &t->timer);
	t->timer.data = t;
	uv_timer_start(&t->timer, on_tick, 20, 20);
}

static void end(struct talk *t)
{
	uv_close((uv_handle_t *)&t->timer, NULL);
	session_destroy(&t->client);
	session_server_destroy(&t->server);
	free(t->refusal);
}

static int send_text(struct session *s, size_t len)
{
	Dagrun__JobEnd m = DAGRUN__JOB_END__INIT;
	SESSION_ENVELOPE(e, JOB_END);
	int r;

	m.job = base_alloc(len + 1);
	for (size_t i = 0; i < len; i++)
		m.job[i] = (char)('a' + i % 26);
	e.job_end = &m;
	r = session_send(s, &e);
	free(m.job);
	return r;
}

static void test_large_messages_arrive_whole(void **state)
{
	static struct talk t;
	char folder[64];
	struct wire_keys *keys = make_keys(folder);

	(void)state;
	t = (struct talk){0};
	begin(&t, keys, "srv");
	for (size_t i = 0; i < 4; i++) {
		size_t len = (size_t[]){SMALL, WIRE_CONTROL_PART, WIRE_CONTROL_PART + 1, LARGE}[i];

		assert_int_equal(send_text(t.client, len), 0);
		while (t.got != len)
			uv_run(&loop, UV_RUN_DEFAULT);
	}
	end(&t);
	drop_keys(&keys, folder);
}

/* It ends the session, not the process, and is told. */
static void test_a_message_beyond_the_limit_is_an_error(void **state)
{
	static struct talk t;

	(void)state;
	t = (struct talk){0};
	begin(&t, NULL, "srv");
	assert_true(session_fits(LARGE) && !session_fits(WIRE_MESSAGE_MAX));
	assert_int_equal(send_text(t.client, WIRE_MESSAGE_MAX), DAG_ELIMIT);
	assert_int_equal(send_text(t.client, SMALL), DAG_ELIMIT); /* it would be wrong without the other */
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_non_null(strstr(t.refusal, "beyond the limit"));
	end(&t);
}

static void test_who_answers_in_the_place_of_another_is_refused(void **state)
{
	static struct talk t;

	(void)state;
	t = (struct talk){0};
	begin(&t, NULL, "somebody else");
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_string_equal(t.refusal, "the dagd of node 'srv' answers there, and not 'somebody else'");
	end(&t);
}

/* ---- doors ---- */

struct visit {
	struct wire_socket *router;
	int came, heard, refused;
};

static void on_visitor(void *ctx, zmq_msg_t *frames, size_t count)
{
	struct visit *v = ctx;
	zmq_msg_t back[2];

	assert_int_equal(count, 2);
	v->came++;
	wire_frame(&back[0], zmq_msg_data(&frames[0]), zmq_msg_size(&frames[0]));
	wire_frame(&back[1], "yes", 3);
	assert_int_equal(wire_socket_send(v->router, back, 2), 0);
}

static void on_echo(void *ctx, zmq_msg_t *frames, size_t count)
{
	(void)frames;
	(void)count;
	((struct visit *)ctx)->heard++;
	uv_stop(&loop);
}

static void on_event(void *ctx, enum wire_event event, int value)
{
	(void)value;
	if (event != WIRE_LOST)
		return;
	((struct visit *)ctx)->refused++;
	uv_stop(&loop);
}

static struct wire_socket *visit(
	struct visit *v, const char *endpoint, const unsigned char *name, const unsigned char *word)
{
	struct wire_socket *s =
		wire_socket_new(wire, ZMQ_DEALER, NULL, false, WIRE_CONTROL_FRAME, NULL, 0, on_echo, v);
	zmq_msg_t hello;

	assert_int_equal(wire_socket_watch(s, on_event, v), 0);
	if (name)
		wire_socket_come_as(s, name, word);
	assert_int_equal(wire_socket_connect(s, endpoint, false), 0);
	wire_frame(&hello, "hello", 5);
	wire_socket_send(s, &hello, 1);
	uv_run(&loop, UV_RUN_DEFAULT);
	return s;
}

/* Only who is expected, with the word, and once; of others nothing is taken. */
static void test_a_door_lets_in_who_is_expected(void **state)
{
	static struct visit v;
	static const unsigned char name[] = "1234567890abcdef", word[] = "the right word!!",
				   wrong[] = "a wrong word !!!";
	char folder[64], *endpoint;
	struct wire_keys *keys = make_keys(folder);
	struct wire_socket *visitors[5];

	(void)state;
	v = (struct visit){0};
	v.router = wire_socket_new(wire, ZMQ_ROUTER, NULL, true, WIRE_CONTROL_FRAME, NULL, 0, on_visitor, &v);
	wire_socket_let_in_expected(v.router);
	assert_int_equal(wire_socket_bind(v.router, "tcp://127.0.0.1:*", &endpoint), 0);
	visitors[0] = visit(&v, endpoint, name, word); /* not expected yet */
	assert_true(v.refused == 1 && !v.came);
	wire_socket_destroy(&visitors[0]);
	door_expect(keys->door, name, word);
	visitors[1] = visit(&v, endpoint, name, wrong);
	assert_true(v.refused == 2 && !v.came);
	wire_socket_destroy(&visitors[1]);
	visitors[2] = visit(&v, endpoint, NULL, NULL);
	assert_true(v.refused == 3 && !v.came);
	wire_socket_destroy(&visitors[2]);
	visitors[3] = visit(&v, endpoint, name, word);
	assert_true(v.refused == 3 && v.came == 1 && v.heard == 1);
	visitors[4] = visit(&v, endpoint, name, word); /* somebody who heard it on the way */
	assert_true(v.refused == 4 && v.came == 1);
	wire_socket_destroy(&visitors[3]);
	wire_socket_destroy(&visitors[4]);
	wire_socket_destroy(&v.router);
	drop_keys(&keys, folder);
	free(endpoint);
}

int main(void)
{
	const struct CMUnitTest tests[] = {T(test_large_messages_arrive_whole),
		T(test_a_message_beyond_the_limit_is_an_error),
		T(test_who_answers_in_the_place_of_another_is_refused),
		T(test_a_door_lets_in_who_is_expected)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
