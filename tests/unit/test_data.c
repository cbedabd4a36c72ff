/* SPDX-License-Identifier: Apache-2.0 */
/* The mover of blocks between nodes. */
#include "cluster_keys.h"
#include "loop.h"
#include "channel/data.h"
#include "channel/frames.h"

/* ---- large blocks ---- */

struct moving {
	struct data *server, *client;
	unsigned char *segments[64];
	uint32_t segment_count;
	unsigned char payload[100000];
	uint64_t got, sent;
	int opened, ended, failed, pins;
};

static void on_server_data(void *ctx, const struct data_event *e)
{
	struct moving *m = ctx;

	if (e->kind == DATA_OPENED && e->open.vertex == 1) {
		data_send_error(m->server, &e->peer, DAG_EMISSING, "no such vertex");
	} else if (e->kind == DATA_OPENED) {
		m->opened++;
		for (uint64_t seq = e->open.seq; seq < 20; seq++, m->pins++) {
			struct block_header h = {.version = BLOCK_VERSION,
				.kind = BLOCK_DATA,
				.seq = seq,
				.length = sizeof(m->payload),
				.records = 1};

			data_send_block(m->server, &e->peer, &h, m->payload, m);
		}
		data_send_end(m->server, &e->peer, 20,
			&(struct channel_end){20, 20 * sizeof(m->payload), {1, 2}}, true);
	} else if (e->kind == DATA_SENT) {
		m->pins--;
	}
	free(e->text);
}

static void on_client_data(void *ctx, const struct data_event *e)
{
	struct moving *m = ctx;

	if (e->kind == DATA_NEED_SEGMENT) {
		m->segments[m->segment_count] = base_alloc(300000);
		data_give_segment(m->client, m->segment_count, m->segments[m->segment_count], 300000);
		m->segment_count++;
	} else if (e->kind == DATA_BLOCK) {
		assert_int_equal(e->seq, m->got);
		assert_memory_equal(
			m->segments[e->ref.segment] + e->ref.offset, m->payload, sizeof(m->payload));
		m->got++;
	} else if (e->kind == DATA_END) {
		assert_int_equal(m->got, 20);
		assert_true(e->end.records == 20 && e->checked);
		m->ended++;
	} else if (e->kind == DATA_FAILED) {
		assert_int_equal(e->error, DAG_EMISSING);
		assert_string_equal(e->text, "no such vertex");
		m->failed++;
	}
	if (m->ended && m->failed)
		uv_stop(&loop);
	free(e->text);
}

static void move(bool threaded, const struct wire_keys *keys, const char *listen)
{
	static struct moving m;
	struct data_open open = {.job = "j", .credit = 1 << 30};
	char *endpoint;

	memset(&m, 0, sizeof(m));
	for (size_t i = 0; i < sizeof(m.payload); i++)
		m.payload[i] = (unsigned char)(i * 7);
	assert_int_equal(
		data_new(&loop, keys, listen, threaded, on_server_data, &m, &m.server, &endpoint), 0);
	assert_int_equal(data_new(&loop, keys, NULL, threaded, on_client_data, &m, &m.client, NULL), 0);
	data_fetch(m.client, 1, endpoint, &open);
	open.vertex = 1;
	data_fetch(m.client, 2, endpoint, &open);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(m.opened, 1);
	data_destroy(&m.client);
	data_destroy(&m.server);
	for (uint32_t i = 0; i < m.segment_count; i++)
		free(m.segments[i]);
	free(endpoint);
}

static void test_mover_in_a_thread(void **state)
{
	(void)state;
	move(true, NULL, "tcp://127.0.0.1:*");
}

static void test_mover_on_the_loop(void **state)
{
	(void)state;
	move(false, NULL, "inproc://mover-test");
}

static void test_mover_with_keys(void **state)
{
	char folder[64];
	struct wire_keys *keys = make_keys(folder);

	(void)state;
	move(true, keys, "tcp://127.0.0.1:*");
	move(false, keys, "tcp://127.0.0.1:*");
	drop_keys(&keys, folder);
}

/* ---- what is damaged on its way ---- */

#define DAMAGE_BLOCKS 3u

/* A producer that sends its second block damaged, so many times. */
struct damaging {
	struct data *client;
	struct wire_socket *router;
	unsigned char payload[DAMAGE_BLOCKS][100000], room[600000];
	bool running; /* its checksums are the hash of the part so far */
	bool lies;    /* of the hash at the end */
	int damage, asked, got, error;
};

static uint64_t checksum_of(const struct damaging *m, uint64_t seq)
{
	if (!m->running)
		return hash_64(m->payload[seq], sizeof(m->payload[seq]));
	return hash_128(m->payload, (seq + 1) * sizeof(m->payload[0])).low;
}

static void say(struct damaging *m, const zmq_msg_t *peer, Dagrun__DataKind kind, uint64_t seq)
{
	struct block_header h = {.version = BLOCK_VERSION,
		.kind = BLOCK_DATA,
		.running = m->running,
		.length = sizeof(m->payload[0]),
		.records = 1,
		.seq = seq};
	Dagrun__Data d = DAGRUN__DATA__INIT;
	struct dag_hash whole = hash_128(m->payload, sizeof(m->payload));
	struct buffer frame = {0};
	zmq_msg_t frames[4];

	d.kind = kind;
	d.channel = 1;
	d.seq = seq;
	d.blocks = DAMAGE_BLOCKS;
	d.checked = true;
	d.hash_low = whole.low;
	d.hash_high = whole.high + m->lies;
	zmq_msg_init(&frames[0]);
	zmq_msg_copy(&frames[0], (zmq_msg_t *)peer);
	frames_add(&frame, &d);
	wire_frame(&frames[1], frame.data, frame.len);
	buffer_fini(&frame);
	if (kind == DAGRUN__DATA_KIND__BLOCK) {
		h.checksum = checksum_of(m, seq);
		wire_frame(&frames[2], &h, sizeof(h));
		wire_frame(&frames[3], m->payload[seq], sizeof(m->payload[0]));
		if (seq == 1 && m->asked <= m->damage)
			((unsigned char *)zmq_msg_data(&frames[3]))[77777] ^= 4;
	}
	assert_int_equal(wire_socket_send(m->router, frames, kind == DAGRUN__DATA_KIND__BLOCK ? 4 : 2), 0);
}

static void on_asked(void *ctx, zmq_msg_t *frames, size_t count)
{
	struct damaging *m = ctx;
	size_t at = 0;
	Dagrun__Data *d = frames_next(zmq_msg_data(&frames[1]), zmq_msg_size(&frames[1]), &at);

	assert_int_equal(count, 2);
	assert_int_equal(at, zmq_msg_size(&frames[1]));
	assert_true(d && d->kind == DAGRUN__DATA_KIND__OPEN && d->seq == (m->asked ? 1 : 0));
	m->asked++;
	for (uint64_t seq = d->seq; seq < DAMAGE_BLOCKS && (seq < 2 || m->asked > m->damage); seq++)
		say(m, &frames[0], DAGRUN__DATA_KIND__BLOCK, seq);
	if (m->asked > m->damage)
		say(m, &frames[0], DAGRUN__DATA_KIND__END, 0);
	dagrun__data__free_unpacked(d, NULL);
}

static void on_mended(void *ctx, const struct data_event *e)
{
	struct damaging *m = ctx;

	if (e->kind == DATA_NEED_SEGMENT)
		data_give_segment(m->client, 1, m->room, sizeof(m->room));
	if (e->kind == DATA_BLOCK) {
		assert_memory_equal(m->room + e->ref.offset, m->payload[e->seq], sizeof(m->payload[0]));
		assert_int_equal(e->ref.checked, m->running);
		m->got++;
	}
	if (e->kind == DATA_FAILED) {
		m->error = e->error;
		free(e->text);
	}
	if (e->kind == DATA_END || e->kind == DATA_FAILED)
		uv_stop(&loop);
}

static void damage(struct damaging *m)
{
	struct data_open open = {.job = "j", .credit = 1 << 30};
	char *endpoint;

	for (size_t b = 0; b < DAMAGE_BLOCKS; b++)
		for (size_t i = 0; i < sizeof(m->payload[b]); i++)
			m->payload[b][i] = (unsigned char)(i * 7 ^ i >> 8 ^ b);
	m->router = wire_socket_new(wire, ZMQ_ROUTER, NULL, true, WIRE_BLOCK_MAX, NULL, 0, on_asked, m);
	assert_int_equal(wire_socket_bind(m->router, "tcp://127.0.0.1:*", &endpoint), 0);
	assert_int_equal(data_new(&loop, NULL, NULL, true, on_mended, m, &m->client, NULL), 0);
	data_fetch(m->client, 1, endpoint, &open);
	uv_run(&loop, UV_RUN_DEFAULT);
	data_destroy(&m->client);
	wire_socket_destroy(&m->router);
	free(endpoint);
}

static void test_mover_asks_again_for_a_damaged_block(void **state)
{
	(void)state;
	for (int running = 0; running < 2; running++) {
		static struct damaging m;

		m = (struct damaging){.running = running, .damage = 2};
		damage(&m);
		assert_int_equal(m.asked, 3);
		assert_int_equal(m.got, DAMAGE_BLOCKS);
		assert_int_equal(m.error, 0);
	}
}

/* It lies damaged at its holder, or its writer's word of it does. */
static void test_mover_gives_up_what_is_always_damaged(void **state)
{
	(void)state;
	for (int running = 0; running < 2; running++) {
		static struct damaging m;

		m = (struct damaging){.running = running, .damage = 1000};
		damage(&m);
		assert_in_range(m.asked, 3, 10);
		assert_true(m.got <= 1); /* it may fail before there is room for the others */
		assert_int_equal(m.error, DAG_ECORRUPT);
	}
}

static void test_mover_compares_the_whole(void **state)
{
	static struct damaging m = {.running = true, .lies = true};

	(void)state;
	damage(&m);
	assert_int_equal(m.error, DAG_ECORRUPT);
}

/* ---- many channels ---- */

#define CHANNELS 1000u
#define BLOCKS 3u

/* Channel n has blocks of these sizes, of bytes that n and their number make. */
static uint32_t size_of(uint64_t channel, uint64_t seq)
{
	static const uint32_t sizes[] = {1, 2000, FRAMES_LITTLE, FRAMES_LITTLE + 1, 30000, 100};

	return sizes[(channel * 7 + seq) % 6];
}

static unsigned char byte_of(uint64_t channel, uint64_t seq)
{
	return (unsigned char)(channel * 31 + seq);
}

struct crowd_reader {
	struct crowd *crowd;
	struct data *data;
};

struct crowd {
	struct data *server;
	struct crowd_reader readers[2]; /* by turns */
	bool lends;
	unsigned char *segments[64];
	uint32_t segment_count;
	unsigned char got[CHANNELS];
	unsigned char *bytes[CHANNELS * BLOCKS]; /* that the server sends */
	uint32_t opened, ended, refused, sent, unpinned;
};

/* All at once where the events come so: what belongs to several channels goes together. */
static void on_crowd_asks(void *ctx, const struct data_event *e)
{
	struct crowd *c = ctx;

	if (e->kind == DATA_SENT)
		c->unpinned++;
	if (e->kind != DATA_OPENED)
		return;
	c->opened++;
	if (e->open.vertex % 10 == 9) {
		data_send_error(c->server, &e->peer, DAG_EMISSING, "gone");
		return;
	}
	for (uint64_t seq = 0; seq < BLOCKS; seq++, c->sent++) {
		struct block_header h = {.version = BLOCK_VERSION,
			.kind = BLOCK_DATA,
			.seq = seq,
			.length = size_of(e->open.vertex, seq),
			.records = 1};
		unsigned char *bytes = base_alloc(h.length);

		memset(bytes, byte_of(e->open.vertex, seq), h.length);
		c->bytes[c->sent] = bytes;
		data_send_block(c->server, &e->peer, &h, bytes, c);
	}
	data_send_end(c->server, &e->peer, BLOCKS, &(struct channel_end){.records = BLOCKS}, false);
}

static void check_block(struct crowd *c, const struct data_event *e)
{
	const unsigned char *bytes = c->lends ? e->lent : c->segments[e->ref.segment] + e->ref.offset;

	assert_true(c->lends == (e->lent != NULL));
	assert_int_equal(e->seq, c->got[e->channel]++);
	assert_int_equal(e->ref.length, size_of(e->channel, e->seq));
	for (uint32_t i = 0; i < e->ref.length; i++)
		assert_int_equal(bytes[i], byte_of(e->channel, e->seq));
}

static void on_crowd_gets(void *ctx, const struct data_event *e)
{
	const struct crowd_reader *reader = ctx;
	struct crowd *c = reader->crowd;

	if (e->kind == DATA_NEED_SEGMENT) {
		c->segments[c->segment_count] = base_alloc(1 << 20);
		data_give_segment(reader->data, c->segment_count, c->segments[c->segment_count], 1 << 20);
		c->segment_count++;
	} else if (e->kind == DATA_BLOCK) {
		check_block(c, e);
	} else if (e->kind == DATA_END) {
		assert_int_equal(c->got[e->channel], BLOCKS);
		assert_int_equal(e->end.records, BLOCKS);
		c->ended++;
		data_stop(reader->data, e->channel, false);
	} else if (e->kind == DATA_FAILED) {
		assert_int_equal(e->channel % 10, 9);
		assert_string_equal(e->text, "gone");
		c->refused++;
	}
	free(e->text);
	if (c->ended + c->refused == CHANNELS)
		uv_stop(&loop);
}

static void crowd(bool threaded, bool lends, const struct wire_keys *keys, const char *listen)
{
	struct crowd *c = base_alloc(sizeof(*c));
	struct data_open open = {.job = "j", .credit = 1 << 30};
	char *endpoint;

	c->lends = lends;
	assert_int_equal(data_new(&loop, keys, listen, threaded, on_crowd_asks, c, &c->server, &endpoint), 0);
	for (int i = 0; i < 2; i++) {
		c->readers[i].crowd = c;
		assert_int_equal(data_new(&loop, keys, NULL, threaded, on_crowd_gets, &c->readers[i],
					 &c->readers[i].data, NULL),
			0);
		if (lends)
			data_lend(c->readers[i].data);
	}
	for (uint32_t i = 0; i < CHANNELS; i++) {
		open.vertex = i;
		data_fetch(c->readers[i % 2].data, i, endpoint, &open);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(c->opened, CHANNELS); /* nothing was lost, or asked for again */
	assert_int_equal(c->refused, CHANNELS / 10);
	while (c->unpinned < c->sent)
		uv_run(&loop, UV_RUN_ONCE);
	for (int i = 0; i < 2; i++)
		data_destroy(&c->readers[i].data);
	data_destroy(&c->server);
	for (uint32_t i = 0; i < c->segment_count; i++)
		free(c->segments[i]);
	for (uint32_t i = 0; i < c->sent; i++)
		free(c->bytes[i]);
	free(endpoint);
	free(c);
}

static void test_many_channels_in_a_thread(void **state)
{
	(void)state;
	crowd(true, false, NULL, "tcp://127.0.0.1:*");
}

static void test_many_channels_on_the_loop(void **state)
{
	(void)state;
	crowd(false, false, NULL, "inproc://crowd");
}

static void test_many_channels_lent(void **state)
{
	(void)state;
	crowd(true, true, NULL, "tcp://127.0.0.1:*");
}

static void test_many_channels_with_keys(void **state)
{
	char folder[64];
	struct wire_keys *keys = make_keys(folder);

	(void)state;
	crowd(true, false, keys, "tcp://127.0.0.1:*");
	crowd(false, true, keys, "tcp://127.0.0.1:*");
	drop_keys(&keys, folder);
}

/* ---- frames ---- */

static void test_frames_of_several_and_cut_short(void **state)
{
	struct buffer frame = {0};
	Dagrun__Data m = DAGRUN__DATA__INIT, *got;
	uint32_t huge = UINT32_MAX;
	size_t at;

	(void)state;
	for (m.channel = 1; m.channel <= 3; m.channel++)
		frames_add(&frame, &m);
	for (size_t len = 0; len <= frame.len; len++) {
		unsigned char *cut = base_alloc(len + 1); /* so that reading on is seen */
		uint64_t count = 0;

		memcpy(cut, frame.data, len);
		for (at = 0; (got = frames_next(cut, len, &at)); count++) {
			assert_int_equal(got->channel, count + 1);
			dagrun__data__free_unpacked(got, NULL);
		}
		assert_int_equal(count, len * 3 / frame.len);
		free(cut);
	}
	buffer_append(&frame, &huge, sizeof(huge));
	for (at = 0; at < frame.len - sizeof(huge);)
		dagrun__data__free_unpacked(frames_next(frame.data, frame.len, &at), NULL);
	assert_null(frames_next(frame.data, frame.len, &at));
	buffer_fini(&frame);
}

int main(void)
{
	const struct CMUnitTest tests[] = {T(test_mover_in_a_thread), T(test_mover_on_the_loop),
		T(test_mover_with_keys), T(test_mover_asks_again_for_a_damaged_block),
		T(test_mover_gives_up_what_is_always_damaged), T(test_mover_compares_the_whole),
		T(test_many_channels_in_a_thread), T(test_many_channels_on_the_loop),
		T(test_many_channels_lent), T(test_many_channels_with_keys),
		cmocka_unit_test(test_frames_of_several_and_cut_short)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
