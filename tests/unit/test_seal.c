/* SPDX-License-Identifier: Apache-2.0 */
/* What is sealed, what of it cannot be opened, and that a reader believes nothing else. */
#include "cluster_keys.h"
#include "loop.h"
#include "channel/data.h"
#include "channel/frames.h"
#include "wire/door.h"
#include "wire/seal.h"

/* The two of c2sp.org/XAES-256-GCM, whose keys make CMAC's subkey differently; the second has more data to
 * authenticate there, so that its tag is another one. */
static void test_seal_is_the_standard_one(void **state)
{
	static const unsigned char nonce[] = "ABCDEFGHIJKLMNOPQRSTUVWX", text[] = "XAES-256-GCM";
	static const struct {
		unsigned char key;
		const char *sealed;
	} cases[] = {{1, "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "986ec1832593df5443a17943"}};
	struct seal *seal;

	(void)state;
	seal_new(&seal);
	for (size_t i = 0; i < DAG_LENGTH(cases); i++) {
		unsigned char key[SEAL_KEY_LEN], sealed[sizeof(text) - 1 + SEAL_TAG_LEN];
		struct buffer hex = {0};

		memset(key, cases[i].key, sizeof(key));
		seal_begin(seal, key, nonce, 0);
		seal_close(seal, 0, text, sizeof(text) - 1, sealed);
		buffer_hex(&hex, sealed, sizeof(sealed));
		assert_memory_equal(hex.data, cases[i].sealed, strlen(cases[i].sealed));
		buffer_fini(&hex);
		assert_true(seal_open(seal, 0, sealed, sizeof(sealed), sealed));
		assert_memory_equal(sealed, text, sizeof(text) - 1);
	}
	seal_destroy(&seal);
}

static void test_seal_is_broken_by_each_change(void **state)
{
	unsigned char key[SEAL_KEY_LEN], other[SEAL_KEY_LEN], nonce[SEAL_NONCE_LEN];
	unsigned char text[100], sealed[sizeof(text) + SEAL_TAG_LEN], out[sizeof(text)];
	struct seal *seal;

	(void)state;
	seal_new(&seal);
	os_draw(key, sizeof(key));
	os_draw(nonce, sizeof(nonce));
	memset(text, 'a', sizeof(text));
	memcpy(other, key, sizeof(key));
	other[SEAL_KEY_LEN - 1] ^= 1;
	seal_begin(seal, key, nonce, 0);
	seal_close(seal, 2, text, sizeof(text), sealed);
	assert_memory_not_equal(sealed, text, sizeof(text));
	for (size_t i = 0; i < sizeof(sealed) * 8; i++) {
		sealed[i / 8] ^= (unsigned char)(1 << i % 8);
		assert_false(seal_open(seal, 2, sealed, sizeof(sealed), out));
		sealed[i / 8] ^= (unsigned char)(1 << i % 8);
	}
	for (size_t len = 0; len < sizeof(sealed); len++)
		assert_false(seal_open(seal, 2, sealed, len, out));
	assert_false(seal_open(seal, 1, sealed, sizeof(sealed), out)); /* its place */
	seal_begin(seal, other, nonce, 0);
	assert_false(seal_open(seal, 2, sealed, sizeof(sealed), out));
	for (size_t i = 0; i < sizeof(nonce); i++) {
		nonce[i] ^= 1;
		seal_begin(seal, key, nonce, 0);
		assert_false(seal_open(seal, 2, sealed, sizeof(sealed), out));
		nonce[i] ^= 1;
	}
	seal_begin(seal, key, nonce, 0);
	assert_true(seal_open(seal, 2, sealed, sizeof(sealed), out));
	assert_memory_equal(out, text, sizeof(text));
	seal_destroy(&seal);
}

/* A nonce that is used twice would give the key away. */
static void test_frames_are_sealed_differently_each_time(void **state)
{
	unsigned char key[SEAL_KEY_LEN] = "k";
	struct buffer first = {0};
	zmq_msg_t sealed[2][2], more;
	struct seal *seal;

	(void)state;
	seal_new(&seal);
	buffer_append(&first, "the same", 8);
	for (size_t i = 0; i < 2; i++) {
		wire_frame(&more, "again", 5);
		frames_seal(seal, key, &first, &more, 1, sealed[i]);
	}
	for (size_t frame = 0; frame < 2; frame++)
		assert_memory_not_equal(zmq_msg_data(&sealed[0][frame]), zmq_msg_data(&sealed[1][frame]), 5);
	for (size_t i = 0; i < 2; i++) {
		const void *text;
		size_t len;

		assert_true(frames_open(seal, key, sealed[i], 2, &text, &len));
		assert_int_equal(len, 8);
		assert_memory_equal(text, "the same", 8);
		assert_memory_equal(zmq_msg_data(&sealed[i][1]), "again", 5);
		zmq_msg_close(&sealed[i][0]);
		zmq_msg_close(&sealed[i][1]);
	}
	buffer_fini(&first);
	seal_destroy(&seal);
}

/* ---- sealed answers ---- */

#define FORGERIES 5u

/* A node with the cluster's keys, and one that pretends to be it where the answers come from. */
struct forging {
	struct data *client;
	struct wire_keys *keys;
	struct wire_socket *router, *answers;
	struct seal *seal;
	unsigned char name[FRAMES_NAME_LEN], key[SEAL_KEY_LEN];
	unsigned char room[300000];
	int got;
};

/* A block full of `byte`, and the end. forgery: 0: sealed as agreed; 1: not at all; 2: with another key; 3 to
 * FORGERIES: damaged in its first, second or third frame. */
static void answer(struct forging *f, unsigned char byte, unsigned forgery)
{
	static unsigned char payload[100000];
	struct block_header h = {
		.version = BLOCK_VERSION, .kind = BLOCK_DATA, .length = sizeof(payload), .records = 1};
	Dagrun__Data end = DAGRUN__DATA__INIT, block = DAGRUN__DATA__INIT;
	unsigned char other[SEAL_KEY_LEN] = "another";
	struct buffer first = {0};
	zmq_msg_t frames[4], more[2];

	memset(payload, byte, sizeof(payload));
	h.checksum = hash_64(payload, sizeof(payload));
	block.kind = DAGRUN__DATA_KIND__BLOCK;
	end.kind = DAGRUN__DATA_KIND__END;
	block.channel = end.channel = end.blocks = 1;
	frames_add(&first, &block);
	wire_frame(&more[0], &h, sizeof(h));
	wire_frame(&more[1], payload, sizeof(payload));
	wire_frame(&frames[0], f->name, sizeof(f->name));
	if (forgery == 1) {
		wire_frame(&frames[1], first.data, first.len);
		memcpy(&frames[2], more, sizeof(more));
	} else {
		frames_seal(f->seal, forgery == 2 ? other : f->key, &first, more, 2, &frames[1]);
	}
	if (forgery > 2)
		((unsigned char *)zmq_msg_data(
			&frames[forgery - 2]))[zmq_msg_size(&frames[forgery - 2]) / 2] ^= 1;
	assert_int_equal(wire_socket_send(f->answers, frames, 4), 0);
	first.len = 0;
	if (!forgery) {
		frames_add(&first, &end);
		wire_frame(&frames[0], f->name, sizeof(f->name));
		frames_seal(f->seal, f->key, &first, NULL, 0, &frames[1]);
		assert_int_equal(wire_socket_send(f->answers, frames, 2), 0);
	}
	buffer_fini(&first);
}

static void on_greeted(void *ctx, zmq_msg_t *frames, size_t count)
{
	struct forging *f = ctx;
	zmq_msg_t back[2];

	assert_true(count == 2 && zmq_msg_size(&frames[1]) == 0);
	wire_frame(&back[0], zmq_msg_data(&frames[0]), zmq_msg_size(&frames[0]));
	zmq_msg_init(&back[1]);
	assert_int_equal(wire_socket_send(f->answers, back, 2), 0);
}

static void on_asked_with_keys(void *ctx, zmq_msg_t *frames, size_t count)
{
	struct forging *f = ctx;
	unsigned char *address = zmq_msg_data(&frames[2]);

	if (!zmq_msg_size(&frames[1])) { /* what lets the other connection in comes first, and is returned */
		zmq_msg_t back[2];

		if (zmq_msg_size(&frames[2]) > FRAMES_NAME_LEN + SEAL_KEY_LEN)
			door_expect(f->keys->door, address, address + FRAMES_NAME_LEN + SEAL_KEY_LEN);
		wire_frame(&back[0], zmq_msg_data(&frames[0]), zmq_msg_size(&frames[0]));
		zmq_msg_init(&back[1]);
		assert_int_equal(wire_socket_send(f->router, back, 2), 0);
		return;
	}
	assert_true(count == 3 && zmq_msg_size(&frames[2]) == FRAMES_NAME_LEN + SEAL_KEY_LEN);
	memcpy(f->name, address, sizeof(f->name));
	memcpy(f->key, address + sizeof(f->name), sizeof(f->key));
	for (unsigned forgery = 1; forgery <= FORGERIES; forgery++)
		answer(f, 'x', forgery);
	answer(f, 'o', 0);
}

static void on_sealed_data(void *ctx, const struct data_event *e)
{
	struct forging *f = ctx;

	assert_int_not_equal(e->kind, DATA_FAILED);
	if (e->kind == DATA_NEED_SEGMENT)
		data_give_segment(f->client, 1, f->room, sizeof(f->room));
	if (e->kind == DATA_BLOCK) {
		assert_int_equal(f->room[e->ref.offset], 'o');
		assert_int_equal(f->room[e->ref.offset + e->ref.length - 1], 'o');
		f->got++;
	}
	if (e->kind == DATA_END)
		uv_stop(&loop);
}

static void test_mover_believes_only_what_is_sealed(void **state)
{
	static struct forging f;
	struct data_open open = {.job = "j", .credit = 1 << 30};
	char *requests, *answers, *endpoint, folder[64];

	(void)state;
	f.keys = make_keys(folder);
	seal_new(&f.seal);
	f.router = wire_socket_new(
		wire, ZMQ_ROUTER, f.keys, true, WIRE_BLOCK_MAX, NULL, 0, on_asked_with_keys, &f);
	f.answers = wire_socket_new(wire, ZMQ_ROUTER, NULL, true, WIRE_BLOCK_MAX, NULL, 0, on_greeted, &f);
	wire_socket_let_in_expected(f.answers);
	assert_int_equal(wire_socket_bind(f.router, "tcp://127.0.0.1:*", &requests), 0);
	assert_int_equal(wire_socket_bind(f.answers, "tcp://127.0.0.1:*", &answers), 0);
	endpoint = base_format("%s+%s", requests, strrchr(answers, ':') + 1);
	assert_int_equal(data_new(&loop, f.keys, NULL, true, on_sealed_data, &f, &f.client, NULL), 0);
	data_fetch(f.client, 1, endpoint, &open);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(f.got, 1);
	data_destroy(&f.client);
	wire_socket_destroy(&f.router);
	wire_socket_destroy(&f.answers);
	seal_destroy(&f.seal);
	drop_keys(&f.keys, folder);
	free(requests);
	free(answers);
	free(endpoint);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_seal_is_the_standard_one),
		cmocka_unit_test(test_seal_is_broken_by_each_change),
		cmocka_unit_test(test_frames_are_sealed_differently_each_time),
		T(test_mover_believes_only_what_is_sealed)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
