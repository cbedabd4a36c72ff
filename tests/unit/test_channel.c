/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of channels: index, live parts, fetches; and sessions' links, slots, the registry, specs. */
#include "unit.h"
#include "channel/codec.h"
#include "channel/core/fetch.h"
#include "channel/core/live.h"
#include "daemon/core/excerpt.h"
#include "daemon/core/slots.h"
#include "jobmanager/core/detector.h"
#include "nameserver/core/registry.h"
#include "vertex/host_proto.h"
#include "vertex/spec.h"
#include "wire/link.h"
#include "wire/silence.h"

#include <sys/socket.h>
#include <unistd.h>

/* What is packed comes out as it went in, and damage is an error rather than other bytes beyond the buffer.
 */
static void test_codecs(void **state)
{
	static const enum block_kind kinds[] = {BLOCK_LZ4, BLOCK_ZSTD};
	enum { LEN = 100000 };
	unsigned char *records = base_alloc(LEN), *packed = base_alloc(LEN), *plain = NULL;
	size_t cap = 0;
	uint32_t len, n;

	(void)state;
	for (int i = 0; i < LEN; i++)
		records[i] = (unsigned char)(i % 977 * (i / 5000));
	for (size_t k = 0; k < DAG_LENGTH(kinds); k++) {
		struct codec *codec = codec_new(kinds[k]);
		uint64_t noise = 1;

		memcpy(packed, records, LEN);
		len = codec_pack(codec, packed, LEN);
		assert_true(len < LEN / 2);
		assert_int_equal(codec_unpack(kinds[k], packed, len, &plain, &cap, &n), 0);
		assert_int_equal(n, LEN);
		assert_memory_equal(plain, records, LEN);
		for (uint32_t cut = 0; cut < len; cut += 97)
			assert_int_equal(codec_unpack(kinds[k], packed, cut, &plain, &cap, &n), DAG_ECORRUPT);
		packed[3] = 0x7f; /* the length of what is packed */
		assert_int_equal(codec_unpack(kinds[k], packed, len, &plain, &cap, &n), DAG_ECORRUPT);
		for (int i = 0; i < LEN; i += 8, noise = noise * 6364136223846793005u + 1442695040888963407u)
			memcpy(packed + i, &noise, 8);
		for (int i = 0; i < LEN; i++)
			packed[i] ^= (unsigned char)(noise >> (i % 7 * 8)) ^ packed[(i * 31 + 7) % LEN];
		len = codec_pack(codec, packed, LEN);
		assert_int_equal(len, LEN); /* noise stays as it is */
		codec_destroy(&codec);
	}
	free(plain);
	free(packed);
	free(records);
}

/* Packets keep their messages' order and tails; the ring keeps its ends behind the messages before them. */
static void test_packets_and_ring(void **state)
{
	struct host_packet *p = base_alloc(sizeof(*p)), *in = base_alloc(sizeof(*in));
	struct host_status *s = base_alloc(sizeof(*s));
	struct host_msg msg = {.kind = HOST_START};
	struct host_ended ended = {0};
	const void *tail;
	uint32_t taken = 0, count = 0;
	size_t len;
	int socks[2], fd;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, socks), 0);
	in->fd = -1;
	assert_int_equal(host_msg_recv(socks[1], in, &msg, &tail, &len, &fd), 0);
	for (msg.task = 0; host_packet_add(p, &msg, "some bytes", msg.task % 11); msg.task++)
		count++;
	assert_true(count > 100);
	assert_int_equal(host_packet_send(socks[0], p->bytes, p->len, socks[0]), 0);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(host_msg_recv(socks[1], in, &msg, &tail, &len, &fd), 1);
		assert_int_equal(msg.task, i);
		assert_int_equal(len, i % 11);
		assert_memory_equal(tail, "some bytes", len);
		assert_int_equal(fd >= 0, i + 1 == count); /* beside the last */
	}
	close(fd);
	assert_int_equal(host_packet_send(socks[0], p->bytes, p->len - 1, -1), 0);
	for (uint32_t i = 1; i < count; i++)
		assert_int_equal(host_msg_recv(socks[1], in, &msg, &tail, &len, &fd), 1);
	assert_int_equal(host_msg_recv(socks[1], in, &msg, &tail, &len, &fd), DAG_EPROTO);
	close(socks[0]);
	assert_int_equal(host_msg_recv(socks[1], in, &msg, &tail, &len, &fd), DAG_ELOST);
	close(socks[1]);
	for (uint32_t i = 0; i < HOST_RING_SIZE; i++) {
		ended.task = i;
		ended.sent = i / 2;
		assert_true(host_ring_put(s, &ended));
	}
	assert_false(host_ring_put(s, &ended));
	assert_true(host_ring_take(s, &taken, 0, &ended) && ended.task == 0);
	assert_true(host_ring_take(s, &taken, 0, &ended) && ended.task == 1);
	assert_int_equal(host_ring_waiting(s), HOST_RING_SIZE - 2);
	assert_false(host_ring_take(s, &taken, 0, &ended)); /* a message comes before it */
	for (uint32_t i = 2; i < HOST_RING_SIZE; i++)
		assert_true(host_ring_take(s, &taken, HOST_RING_SIZE, &ended) && ended.task == i);
	assert_false(host_ring_take(s, &taken, HOST_RING_SIZE, &ended));
	assert_true(host_ring_put(s, &ended));
	free(s);
	free(in);
	free(p);
}

/* Any damage to an index's counts is found before it is used. */
static void test_index_believes_nothing(void **state)
{
	size_t size = index_size(1, 2, 3);
	uint32_t *words = base_alloc(size);
	struct index_header *h = (struct index_header *)words;
	struct index_stream *s = (struct index_stream *)(h + 1);
	struct index_part *p = (struct index_part *)(s + 1);
	struct index_view view;

	(void)state;
	*h = (struct index_header){INDEX_MAGIC, BLOCK_VERSION, 1, 2, 3, 0};
	s->parts = 2;
	p[0].block_count = 1;
	p[1].first_block = 1;
	p[1].block_count = 2;
	assert_int_equal(index_check(words, size, &view), 0);
	assert_ptr_equal(index_part(&view, 0, 1), &p[1]);
	assert_null(index_part(&view, 0, 2));
	assert_null(index_part(&view, 1, 0));
	for (size_t cut = 0; cut < size; cut++)
		assert_int_equal(index_check(words, cut, &view), DAG_ECORRUPT);
	p[1].block_count = 3;
	assert_int_equal(index_check(words, size, &view), DAG_ECORRUPT);
	p[1].block_count = 2;
	s->parts = 3;
	assert_int_equal(index_check(words, size, &view), DAG_ECORRUPT);
	h->blocks = UINT32_MAX;
	assert_int_equal(index_check(words, size, &view), DAG_ECORRUPT);
	free(words);
}

static void test_block_header(void **state)
{
	struct block_header h = {.version = BLOCK_VERSION, .kind = BLOCK_DATA, .length = 10};

	(void)state;
	assert_int_equal(block_header_check(&h), 0);
	h.version++;
	assert_int_equal(block_header_check(&h), DAG_EVERSION);
	h.version--;
	h.length = UINT32_MAX;
	assert_int_equal(block_header_check(&h), DAG_EPROTO);
}

static void append(struct live_part *p, uint32_t len)
{
	live_append(p, &(struct block_ref){.segment = 1, .length = len, .records = 1});
}

/* The slowest reader holds blocks back and bounds the producer; one that has not come yet is the slowest. */
static void test_live_part_waits_for_all_readers(void **state)
{
	struct live_part p;
	struct block_ref ref;
	uint64_t seq, limit;
	int a, b;

	(void)state;
	live_init(&p, 2, 100);
	p.kept = false;
	assert_int_equal(live_attach(&p, &a, 1, 0, 0), 0);
	append(&p, 60);
	append(&p, 60);
	assert_true(live_next(&p, live_find(&p, &a), &ref, &seq) && seq == 0);
	live_consumed(&p, live_find(&p, &a), 60);
	assert_false(live_release(&p, &ref));
	assert_false(live_limit_changed(&p, &limit));
	assert_int_equal(live_attach(&p, &b, 2, 0, 0), 0);
	live_consumed(&p, live_find(&p, &b), 120);
	assert_true(live_release(&p, &ref));
	assert_false(live_release(&p, &ref));
	assert_true(live_limit_changed(&p, &limit) && limit == 160);
	assert_int_equal(live_attach(&p, &state, 3, 0, 0), DAG_EMISSING);
	assert_int_equal(live_attach(&p, &state, 3, 0, 1), DAG_ELIMIT);
	assert_false(live_all_closed(&p));
	live_close(&p, live_find(&p, &a));
	assert_true(live_release(&p, &ref));
	live_close(&p, live_find(&p, &b));
	assert_true(live_all_closed(&p));
	live_fini(&p);
}

/* A reader that failed is waited for again, and finds everything while the part is kept. */
static void test_kept_part_is_read_again(void **state)
{
	struct live_part p;
	struct block_ref ref;
	uint64_t seq, limit;
	int first, second;

	(void)state;
	live_init(&p, 1, 100);
	assert_int_equal(live_attach(&p, &first, 7, 0, 0), 0);
	append(&p, 60);
	assert_true(live_next(&p, live_find(&p, &first), &ref, &seq));
	live_consumed(&p, live_find(&p, &first), 60);
	assert_false(live_release(&p, &ref));
	assert_true(live_limit_changed(&p, &limit) && limit == 160);
	assert_ptr_equal(live_find_vertex(&p, 7, 0), live_find(&p, &first));
	live_leave(&p, live_find(&p, &first));
	assert_null(live_find_vertex(&p, 7, 0));
	assert_false(live_all_closed(&p));
	assert_int_equal(live_attach(&p, &second, 7, 0, 0), 0);
	assert_true(live_next(&p, live_find(&p, &second), &ref, &seq) && seq == 0 && ref.length == 60);
	assert_false(live_limit_changed(&p, &limit));
	live_consumed(&p, live_find(&p, &second), 60);
	p.kept = false;
	assert_true(live_release(&p, &ref));
	live_leave(&p, live_find(&p, &second));
	assert_int_equal(live_attach(&p, &first, 7, 0, 0), DAG_EMISSING);
	live_fini(&p);
}

static void test_elastic_part_never_limits(void **state)
{
	struct live_part p;
	uint64_t limit;

	(void)state;
	live_init(&p, 1, UINT64_MAX);
	append(&p, 1000);
	assert_false(live_limit_changed(&p, &limit));
	live_fini(&p);
}

/* Lost, repeated and late blocks; silence; and a stream that ends short. */
static void test_fetch(void **state)
{
	struct fetch f;

	(void)state;
	fetch_init(&f, 1000, false, 0);
	assert_int_equal(fetch_on_block(&f, 0, 600, 1), FETCH_TAKE);
	assert_int_equal(fetch_on_block(&f, 0, 600, 1), FETCH_IGNORE);
	assert_int_equal(fetch_on_block(&f, 2, 600, 1), FETCH_ASK_AGAIN);
	assert_int_equal(fetch_consumed(&f, 100), FETCH_NOTHING);
	assert_int_equal(fetch_consumed(&f, 600), FETCH_CREDIT);
	assert_int_equal(f.credit, 1600);
	assert_int_equal(fetch_on_end(&f, 2, 2), FETCH_ASK_AGAIN);
	assert_int_equal(fetch_tick(&f, 1 * DAG_SECOND), FETCH_NOTHING);
	for (uint32_t i = 1; i <= FETCH_TRIES; i++)
		assert_int_equal(fetch_tick(&f, 4 * i * DAG_SECOND), FETCH_OPEN);
	assert_int_equal(fetch_tick(&f, 100 * DAG_SECOND), FETCH_UNREACHABLE);
	assert_int_equal(fetch_on_block(&f, 1, 10, 101 * DAG_SECOND), FETCH_TAKE);
	assert_int_equal(fetch_on_end(&f, 2, 101 * DAG_SECOND), FETCH_TAKE);
	assert_int_equal(fetch_tick(&f, 500 * DAG_SECOND), FETCH_NOTHING);
}

/* F29, F30: each message once and in order, whatever the wire does with it. */
static void test_link_over_a_bad_wire(void **state)
{
	struct link a, b;
	uint64_t delivered = 0;
	uint32_t random = 1;

	(void)state;
	link_init(&a, 7, 0);
	link_init(&b, 7, 0);
	for (int i = 0; i < 500; i++)
		link_sent(&a, base_alloc(1), 1, 0);
	for (dag_instant now = DAG_SECOND; delivered < 500 && now < 1000000 * DAG_SECOND; now += DAG_SECOND) {
		const struct link_message *m;
		size_t n = link_repeat(&a, now, &m);

		for (size_t i = 0; i < n; i++) {
			random = random * 1103515245 + 12345;
			if (random >> 16 & 3) /* a quarter is lost, half of the rest comes twice */
				for (uint32_t twice = 0; twice <= (random >> 20 & 1); twice++)
					if (link_receive(&b, m[i].seq, 0, now) == LINK_DELIVER)
						assert_int_equal(m[i].seq, ++delivered);
		}
		if (random >> 24 & 1)
			link_receive(&a, 0, b.received, now);
	}
	assert_int_equal(delivered, 500);
	link_fini(&a);
	link_fini(&b);
}

/* Looks each half second, until it is to be dialled anew. */
static dag_instant look_until_over(struct silence *s, dag_instant heard, bool hasty, dag_instant from)
{
	dag_instant now = from;

	while (!silence_is_over(s, heard, hasty, now) && now < from + 60 * DAG_SECOND)
		now += DAG_SECOND / 2;
	return now;
}

static void test_a_silent_connection_is_dialled_anew(void **state)
{
	struct silence s = {0};

	(void)state;
	silence_begin(&s, 100 * DAG_SECOND);
	/* The first time soon, where somebody is there; then later. */
	assert_int_equal(look_until_over(&s, 0, true, 100 * DAG_SECOND), 102 * DAG_SECOND + DAG_SECOND / 2);
	silence_begin(&s, 103 * DAG_SECOND);
	assert_int_equal(look_until_over(&s, 0, true, 103 * DAG_SECOND), 108 * DAG_SECOND + DAG_SECOND / 2);
	silence_begin(&s, 109 * DAG_SECOND);
	assert_int_equal(look_until_over(&s, 110 * DAG_SECOND, false, 109 * DAG_SECOND),
		115 * DAG_SECOND + DAG_SECOND / 2);
	/* Who has not looked himself has heard nobody. */
	assert_false(silence_is_over(&s, 110 * DAG_SECOND, false, 200 * DAG_SECOND));
	assert_int_equal(look_until_over(&s, 110 * DAG_SECOND, false, 200 * DAG_SECOND),
		205 * DAG_SECOND + DAG_SECOND / 2);
	/* One that broke is not waited for. */
	silence_begin(&s, 206 * DAG_SECOND);
	s.again = 207 * DAG_SECOND;
	assert_int_equal(look_until_over(&s, 206 * DAG_SECOND, false, 206 * DAG_SECOND), 207 * DAG_SECOND);
	silence_begin(&s, 207 * DAG_SECOND);
	assert_false(silence_is_over(&s, 206 * DAG_SECOND, false, 207 * DAG_SECOND));
}

/* Whose connection is closed is gone, if it was heard till then and for some looks no other connection comes:
 * a peer that is merely silent is not, nor is one while we ourselves do not look. */
static void test_a_link_is_cut_by_a_process_that_ended(void **state)
{
	struct link link;

	(void)state;
	link_init(&link, 7, 0);
	link_closed(&link, LINK_FRESH); /* by a timeout */
	for (uint32_t i = 0; i < 100; i++)
		link_look(&link);
	assert_false(link_is_cut(&link));
	link_receive(&link, 0, 0, LINK_FRESH);
	for (uint32_t i = 0; i < LINK_CUT_LOOKS; i++) {
		link_closed(&link, LINK_FRESH + DAG_SECOND);
		assert_false(link_is_cut(&link));
		link_look(&link);
	}
	assert_true(link_is_cut(&link));
	link_receive(&link, 0, 0, LINK_FRESH + DAG_SECOND);
	assert_false(link_is_cut(&link));
	link_look(&link);
	assert_false(link_is_cut(&link));
	link_fini(&link);
}

static void test_slots_are_shared_equally(void **state)
{
	uint32_t both[2];
	static const struct {
		uint32_t total, wants[3], grants[3];
	} cases[] = {{32, {100, 100, 0}, {16, 16, 0}}, {32, {16, 100, 0}, {16, 16, 0}},
		{64, {16, 100, 0}, {16, 48, 0}}, {32, {0, 5, 0}, {0, 5, 0}},
		{48, {100, 100, 100}, {16, 16, 16}}};

	(void)state;
	for (size_t i = 0; i < DAG_LENGTH(cases); i++) {
		uint32_t grants[3], nothing[3] = {0};

		slots_divide(cases[i].total, cases[i].wants, nothing, grants, 3);
		assert_memory_equal(grants, cases[i].grants, sizeof(grants));
	}
	/* What is of no use in parts goes to the first who needs it, whole. */
	slots_divide(48, (uint32_t[]){32, 32}, (uint32_t[]){32, 32}, (uint32_t *)&both, 2);
	assert_int_equal(both[0], 32);
	assert_int_equal(both[1], 16);
}

/* Of a task's beginning and its taking back one is first, and the other learns of it. */
static void test_a_task_is_begun_or_taken_back(void **state)
{
	struct host_status s = {0};

	(void)state;
	assert_int_equal(host_status_revoke(&s, 1, 4), 4); /* the first is not begun: nothing is taken back */
	assert_true(host_status_claim(&s, 1));
	assert_true(host_status_claim(&s, 2));
	assert_int_equal(host_status_revoke(&s, 2, 4), 2);
	assert_false(host_status_claim(&s, 3));
	assert_false(host_status_claim(&s, 4));
	assert_true(host_status_claim(&s, 5));
}

static void test_excerpt_keeps_head_and_tail(void **state)
{
	struct excerpt e;
	char *text;

	(void)state;
	excerpt_init(&e, 4, 6);
	assert_null(excerpt_text(&e));
	excerpt_add(&e, "abcd", 4);
	excerpt_add(&e, "efghij", 6);
	text = excerpt_text(&e);
	assert_string_equal(text, "abcdefghij");
	free(text);
	excerpt_add(&e, "k", 1);
	excerpt_add(&e, "lmnopqrstuvw", 12);
	text = excerpt_text(&e);
	assert_string_equal(text, "abcd\n… 13 bytes are left out …\nrstuvw");
	free(text);
	excerpt_clear(&e);
	excerpt_add(&e, "xy", 2);
	text = excerpt_text(&e);
	assert_string_equal(text, "xy");
	free(text);
	excerpt_fini(&e);
}

static void test_registry_forgets_the_silent(void **state)
{
	struct registry r;

	(void)state;
	registry_init(&r, free);
	registry_put(&r, 0, "n", 1, malloc(1));
	registry_put(&r, 0, "m", 1, malloc(1));
	assert_false(registry_expire(&r, 2 * DAG_SECOND));
	registry_heard(&r, 3 * DAG_SECOND, "m", 1);
	assert_true(registry_expire(&r, 4 * DAG_SECOND));
	assert_true(r.nodes[0].suspect && !r.nodes[1].suspect);
	assert_true(registry_heard(&r, 5 * DAG_SECOND, "n", 1));
	assert_false(registry_heard(
		&r, 5 * DAG_SECOND, "n", 2)); /* another incarnation's word is not this one's */
	registry_put(&r, 6 * DAG_SECOND, "n", 2, malloc(1));
	assert_int_equal(r.count, 2);
	assert_true(registry_expire(&r, 14 * DAG_SECOND));
	assert_int_equal(r.count, 1);
	assert_string_equal(r.nodes[0].name, "n");
	registry_fini(&r);
}

static void test_spec_survives_its_encoding_and_no_cut(void **state)
{
	const char *argv[] = {"sort", "-u"};
	struct graph_pair pair = {"k", "v"};
	struct graph_stream stream = {0, 3, {GRAPH_BY_HASH, 2, ':'}, GRAPH_PIPE, true};
	struct stage_spec in = {.job = "j",
				  .kind = GRAPH_PROGRAM,
				  .argv = argv,
				  .argc = 2,
				  .params = &pair,
				  .param_count = 1,
				  .scratch = "/x",
				  .in_count = 1,
				  .out_count = 1,
				  .streams = &stream,
				  .stream_count = 1},
			  out;
	struct buffer bytes = {0};
	struct arena arena = {0};

	(void)state;
	stage_spec_encode(&in, &bytes);
	assert_int_equal(stage_spec_decode(bytes.data, bytes.len, &arena, &out), 0);
	assert_string_equal(out.argv[1], "-u");
	assert_string_equal(out.params[0].value, "v");
	assert_null(out.entry);
	assert_true(out.streams[0].elastic && out.streams[0].partition.delimiter == ':');
	for (size_t cut = 0; cut < bytes.len; cut++)
		assert_int_equal(stage_spec_decode(bytes.data, cut, &arena, &out), DAG_EPROTO);
	arena_fini(&arena);
	buffer_fini(&bytes);
}

/* ---- the failure detector ---- */

static void test_the_failure_detector_tells_silence_from_its_own(void **state)
{
	struct detector j;
	struct detector_node n[3] = {
		{0, true, DETECTOR_LIVES}, {0, false, DETECTOR_LIVES}, {0, false, DETECTOR_LIVES}};
	dag_instant now = 0;

	(void)state;
	detector_init(&j, 0);
	for (; now <= 11 * DAG_SECOND; now += DAG_SECOND / 4) {
		n[1].heard = n[2].heard = now;
		detector_look(&j, now, DAG_NEVER, n, 3);
		assert_int_equal(n[0].verdict, now > 10 * DAG_SECOND  ? DETECTOR_IS_DEAD
					       : now > 3 * DAG_SECOND ? DETECTOR_IS_SUSPECT
								      : DETECTOR_LIVES);
		assert_int_equal(n[1].verdict, DETECTOR_LIVES);
	}
	/* A failure detector that slept heard nobody, and blames nobody. */
	now += 40 * DAG_SECOND;
	detector_look(&j, now, DAG_NEVER, n, 3);
	assert_int_equal(n[1].verdict, DETECTOR_LIVES);
	assert_int_equal(n[2].verdict, DETECTOR_LIVES);
}

static void test_the_failure_detector_waits_when_many_are_silent(void **state)
{
	struct detector j;
	struct detector_node n[4] = {{0}};
	dag_instant now = 0;

	(void)state;
	detector_init(&j, 0);
	n[1].missed = true; /* by the name server too */
	for (; now <= 25 * DAG_SECOND; now += DAG_SECOND / 4) {
		n[0].heard = now;
		detector_look(&j, now, now, n, 4);
		assert_int_equal(n[1].verdict == DETECTOR_IS_DEAD, now > 10 * DAG_SECOND);
		assert_int_equal(n[2].verdict == DETECTOR_IS_DEAD, now > 20 * DAG_SECOND);
		assert_false(j.cut_off);
	}
	/* Nobody at all: it is the failure detector that is cut off, and condemns none. */
	for (int i = 0; i < 4; i++)
		n[i] = (struct detector_node){.heard = now, .missed = true};
	for (dag_instant end = now + 60 * DAG_SECOND; now <= end; now += DAG_SECOND / 4)
		detector_look(&j, now, 0, n, 4);
	assert_true(j.cut_off);
	for (int i = 0; i < 4; i++)
		assert_int_equal(n[i].verdict, DETECTOR_IS_SUSPECT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_index_believes_nothing),
		cmocka_unit_test(test_block_header), cmocka_unit_test(test_live_part_waits_for_all_readers),
		cmocka_unit_test(test_kept_part_is_read_again), cmocka_unit_test(test_codecs),
		cmocka_unit_test(test_packets_and_ring), cmocka_unit_test(test_elastic_part_never_limits),
		cmocka_unit_test(test_fetch), cmocka_unit_test(test_link_over_a_bad_wire),
		cmocka_unit_test(test_a_link_is_cut_by_a_process_that_ended),
		cmocka_unit_test(test_slots_are_shared_equally),
		cmocka_unit_test(test_a_task_is_begun_or_taken_back),
		cmocka_unit_test(test_excerpt_keeps_head_and_tail),
		cmocka_unit_test(test_a_silent_connection_is_dialled_anew),
		cmocka_unit_test(test_registry_forgets_the_silent),
		cmocka_unit_test(test_the_failure_detector_tells_silence_from_its_own),
		cmocka_unit_test(test_the_failure_detector_waits_when_many_are_silent),
		cmocka_unit_test(test_spec_survives_its_encoding_and_no_cut)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
