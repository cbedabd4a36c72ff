/* SPDX-License-Identifier: Apache-2.0 */
/* ZeroMQ's authentication protocol (rfc.zeromq.org/spec/27), version 1.0, over its one REP socket. */
#include "door.h"
#include "keys.h"
#include "os/os.h"

#include <czmq.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define ENDPOINT "inproc://zeromq.zap.01"
#define FRAMES_MAX 8u
#define EXPECTED_MAX 1024u /* the oldest goes */
#define EXPECTED_FOR (10 * DAG_SECOND)
#define CURVE_KEY_LEN 32u
#define CURVE_TEXT_LEN 41u

struct expected {
	char name[DOOR_TEXT_LEN], word[DOOR_TEXT_LEN];
	dag_instant until;
};

struct door {
	void *socket;
	zcertstore_t *allowed;
	pthread_t thread;
	int bell; /* ends the thread */
	pthread_mutex_t lock;
	struct expected expected[EXPECTED_MAX]; /* a ring; an empty name: none */
	size_t next;
};

/* ---- what is asked ---- */

struct question {
	zmq_msg_t frames[FRAMES_MAX];
	size_t count;
};

enum { VERSION, REQUEST, DOMAIN, ADDRESS, IDENTITY, MECHANISM, CREDENTIALS };

static bool is(const struct question *q, size_t frame, const char *text)
{
	zmq_msg_t *f = (zmq_msg_t *)&q->frames[frame];

	return zmq_msg_size(f) == strlen(text) && !memcmp(zmq_msg_data(f), text, strlen(text));
}

static bool take_question(void *socket, struct question *q)
{
	bool more = true, whole = true;

	*q = (struct question){0};
	while (more) {
		zmq_msg_t extra, *f = q->count < FRAMES_MAX ? &q->frames[q->count] : &extra;

		zmq_msg_init(f);
		if (zmq_msg_recv(f, socket, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(f);
			return false;
		}
		more = zmq_msg_more(f);
		if (f == &extra) {
			whole = false;
			zmq_msg_close(f);
		} else
			q->count++;
	}
	return whole && q->count > CREDENTIALS && is(q, VERSION, "1.0");
}

static bool is_key_allowed(struct door *d, const struct question *q)
{
	zmq_msg_t *key = (zmq_msg_t *)&q->frames[CREDENTIALS];
	char text[CURVE_TEXT_LEN];

	if (q->count != CREDENTIALS + 1 || zmq_msg_size(key) != CURVE_KEY_LEN)
		return false;
	zmq_z85_encode(text, zmq_msg_data(key), CURVE_KEY_LEN);
	return zcertstore_lookup(d->allowed, text) != NULL;
}

/* Once: who comes a second time is somebody else, or draws another name. */
static bool is_expected(struct door *d, const struct question *q)
{
	bool found = false;

	if (q->count != CREDENTIALS + 2)
		return false;
	pthread_mutex_lock(&d->lock);
	for (size_t i = 0; i < EXPECTED_MAX && !found; i++) {
		struct expected *e = &d->expected[i];

		found = *e->name && is(q, CREDENTIALS, e->name) && is(q, CREDENTIALS + 1, e->word) &&
			e->until > os_now();
		if (found)
			explicit_bzero(e, sizeof(*e));
	}
	pthread_mutex_unlock(&d->lock);
	return found;
}

static bool is_let_in(struct door *d, const struct question *q)
{
	if (is(q, DOMAIN, DOOR_CURVE) && is(q, MECHANISM, "CURVE"))
		return is_key_allowed(d, q);
	return is(q, DOMAIN, DOOR_ANSWERS) && is(q, MECHANISM, "PLAIN") && is_expected(d, q);
}

/* REP must answer each question, even one that is none. */
static void answer(struct door *d, struct question *q)
{
	bool yes = q->count > CREDENTIALS && is_let_in(d, q);

	zmq_send(d->socket, "1.0", 3, ZMQ_SNDMORE);
	if (q->count > REQUEST)
		zmq_msg_send(&q->frames[REQUEST], d->socket, ZMQ_SNDMORE);
	else
		zmq_send(d->socket, "", 0, ZMQ_SNDMORE);
	zmq_send(d->socket, yes ? "200" : "400", 3, ZMQ_SNDMORE);
	zmq_send(d->socket, yes ? "OK" : "no", 2, ZMQ_SNDMORE);
	zmq_send(d->socket, "", 0, ZMQ_SNDMORE);
	zmq_send(d->socket, "", 0, 0);
}

static void *run(void *arg)
{
	struct door *d = arg;

	for (;;) {
		zmq_pollitem_t items[] = {{d->socket, 0, ZMQ_POLLIN, 0}, {NULL, d->bell, ZMQ_POLLIN, 0}};
		struct question q;

		if (zmq_poll(items, 2, -1) < 0 && errno != EINTR)
			break;
		if (items[1].revents)
			break;
		if (!items[0].revents)
			continue;
		if (!take_question(d->socket, &q))
			q.count = DAG_MIN(q.count, (size_t)CREDENTIALS); /* it is refused */
		answer(d, &q);
		for (size_t i = 0; i < FRAMES_MAX; i++)
			zmq_msg_close(&q.frames[i]);
	}
	return NULL;
}

/* ---- its life ---- */

int door_new(struct door **ret_door, const char *allowed)
{
	struct door *d = base_alloc(sizeof(*d));
	int r;

	d->bell = os_bell_new();
	d->socket = zmq_socket(wire_context(), ZMQ_REP);
	d->allowed = zcertstore_new(allowed);
	pthread_mutex_init(&d->lock, NULL);
	if (d->bell < 0 || !d->socket || !d->allowed)
		goto failed;
	zmq_setsockopt(d->socket, ZMQ_LINGER, &(int){0}, sizeof(int));
	if (zmq_bind(d->socket, ENDPOINT) < 0)
		goto failed;
	errno = pthread_create(&d->thread, NULL, run, d);
	if (errno)
		goto failed;
	*ret_door = d;
	return 0;
failed:
	r = errno == EADDRINUSE ? DAG_EBUSY : DAG_EIO;
	if (d->socket)
		zmq_close(d->socket);
	zcertstore_destroy(&d->allowed);
	if (d->bell >= 0)
		close(d->bell);
	pthread_mutex_destroy(&d->lock);
	free(d);
	return r;
}

void door_destroy(struct door **door)
{
	struct door *d = *door;

	if (!d)
		return;
	os_bell_ring(d->bell);
	pthread_join(d->thread, NULL);
	zmq_close(d->socket);
	zcertstore_destroy(&d->allowed);
	close(d->bell);
	pthread_mutex_destroy(&d->lock);
	explicit_bzero(d, sizeof(*d));
	free(d);
	*door = NULL;
}

void door_write(const unsigned char bytes[16], char ret_digits[DOOR_TEXT_LEN])
{
	for (size_t i = 0; i < 16; i++)
		snprintf(ret_digits + 2 * i, 3, "%02x", bytes[i]);
}

void door_expect(
	struct door *d, const unsigned char name[DOOR_NAME_LEN], const unsigned char word[DOOR_WORD_LEN])
{
	struct expected e = {.until = os_now() + EXPECTED_FOR}, *at;

	door_write(name, e.name);
	door_write(word, e.word);
	pthread_mutex_lock(&d->lock);
	at = NULL;
	for (size_t i = 0; i < EXPECTED_MAX && !at; i++)
		if (!strcmp(d->expected[i].name, e.name))
			at = &d->expected[i];
	if (!at)
		at = &d->expected[d->next++ % EXPECTED_MAX];
	*at = e;
	pthread_mutex_unlock(&d->lock);
}
