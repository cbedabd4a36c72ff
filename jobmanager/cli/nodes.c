/* SPDX-License-Identifier: Apache-2.0 */
/* dagrun nodes: what the name server knows. */
#include "cli.h"
#include "base/size.h"
#include "os/os.h"
#include "wire/cluster.h"
#include "wire/session.h"

#include <jansson.h>
#include <stdio.h>

#define PATIENCE_MS 5000

enum option { NAMESERVER, KEYS, JSON, HELP };

static const struct option_spec options[] = {
	[NAMESERVER] = {"nameserver", 'n', "ENDPOINT", CLUSTER_NAMESERVER_HELP},
	[KEYS] = {"keys", 'k', "DIR", CLUSTER_KEYS_HELP},
	[JSON] = {"json", 'j', NULL, "prints JSON"},
	[HELP] = {"help", 'h', NULL, "this text"},
};

struct query {
	uv_loop_t loop;
	uv_timer_t tick;
	struct session *session;
	const char *nameserver, *keys;
	bool json, help, answered, refused;
	json_t *root; /* what was heard so far; made at the first message */
	dag_instant started;
};

static int on_option(void *ctx, size_t option, const char *value)
{
	struct query *q = ctx;

	if (option == NAMESERVER)
		q->nameserver = value;
	else if (option == KEYS)
		q->keys = value;
	else if (option == JSON)
		q->json = true;
	else
		q->help = true;
	return 0;
}

static void add_json(json_t *root, const Dagrun__Nodes *nodes)
{
	for (size_t i = 0; i < nodes->n_nodes; i++) {
		const Dagrun__Register *n = nodes->nodes[i]->info;
		json_t *labels = json_object();

		for (size_t j = 0; j < n->n_labels; j++)
			json_object_set_new(labels, n->labels[j]->name, json_string(n->labels[j]->value));
		json_array_append_new(
			root, json_pack("{s:s, s:s, s:s, s:i, s:I, s:s, s:o, s:b, s:f}", "node", n->node,
				      "control", n->control, "data", n->data, "slots", (int)n->slots,
				      "memory", (json_int_t)n->memory, "rack", n->rack, "labels", labels,
				      "suspect", (int)nodes->nodes[i]->suspect, "age_s",
				      (double)nodes->nodes[i]->age_ms / 1000));
	}
}

static void print_header(void)
{
	printf("%-24s %5s %10s %-10s %-9s %s\n", "node", "slots", "memory", "rack", "state", "endpoint");
}

static void print_rows(const Dagrun__Nodes *nodes)
{
	for (size_t i = 0; i < nodes->n_nodes; i++) {
		const Dagrun__Register *n = nodes->nodes[i]->info;
		char memory[SIZE_TEXT_LEN];

		printf("%-24s %5u %10s %-10s %-9s %s\n", n->node, n->slots, size_format(n->memory, memory),
			*n->rack ? n->rack : "-", nodes->nodes[i]->suspect ? "suspect" : "up", n->control);
	}
}

static void on_message(void *ctx, struct session *s, const Dagrun__Envelope *e)
{
	struct query *q = ctx;

	(void)s;
	if (e->body_case != DAGRUN__ENVELOPE__BODY_NODES || q->answered)
		return;
	if (!q->root && !q->json)
		print_header();
	if (!q->root)
		q->root = json_array();
	if (q->json)
		add_json(q->root, e->nodes);
	else
		print_rows(e->nodes);
	if (e->nodes->more)
		return;
	q->answered = true;
	if (q->json) {
		json_dumpf(q->root, stdout, JSON_INDENT(2));
		printf("\n");
	}
	uv_stop(&q->loop);
}

static void on_refused(void *ctx, struct session *s, const char *text)
{
	struct query *q = ctx;

	(void)s;
	fprintf(stderr, "dagrun: the name server at %s refuses: %s\n", q->nameserver, text);
	q->refused = true;
	uv_stop(&q->loop);
}

static void on_tick(uv_timer_t *tick)
{
	struct query *q = tick->data;

	session_tick(q->session, os_now());
	if (session_is_hopeless(q->session, os_now()))
		uv_stop(&q->loop);
	if (os_now() - q->started > PATIENCE_MS * DAG_MS)
		uv_stop(&q->loop);
}

static void say_trouble(const struct session *s, const char *nameserver)
{
	const char *trouble = session_trouble(s, os_now() + PATIENCE_MS * DAG_MS);

	fprintf(stderr, "dagrun: the name server at %s does not answer: %s\n", nameserver, trouble);
}

static int ask(struct query *q, const struct cluster *c)
{
	static const struct session_handlers handlers = {.on_message = on_message, .on_refused = on_refused};
	Dagrun__Watch watch = DAGRUN__WATCH__INIT;
	struct wire_loop *wire;
	SESSION_ENVELOPE(e, WATCH);

	uv_loop_init(&q->loop);
	wire_loop_new(&wire, &q->loop);
	q->session = session_dial(
		wire, c->keys, c->nameserver, "nodes", DAGRUN__ROLE__MANAGER, os_random(), &handlers, q);
	q->started = os_now();
	if (q->session) {
		session_expect(q->session, "nameserver");
		e.watch = &watch;
		session_send(q->session, &e);
		uv_timer_init(&q->loop, &q->tick);
		q->tick.data = q;
		uv_timer_start(&q->tick, on_tick, 100, 100);
		uv_run(&q->loop, UV_RUN_DEFAULT);
		uv_close((uv_handle_t *)&q->tick, NULL);
		if (!q->answered && !q->refused)
			say_trouble(q->session, c->nameserver);
	}
	json_decref(q->root);
	session_destroy(&q->session);
	wire_loop_destroy(&wire);
	while (uv_run(&q->loop, UV_RUN_NOWAIT))
		;
	uv_loop_close(&q->loop);
	return q->answered ? 0 : EXIT_UNREACHABLE;
}

static int run(int argc, char **argv)
{
	static struct query q;
	struct cluster cluster = {0};
	int r = options_parse("dagrun nodes", &cli_nodes.spec, argc, argv, on_option, &q);

	if (r < 0)
		return EXIT_USAGE;
	if (q.help) {
		options_help("dagrun nodes", &cli_nodes.spec);
		return 0;
	}
	if (r < argc) {
		fprintf(stderr, "dagrun: unexpected '%s'; see 'dagrun nodes --help'\n", argv[r]);
		return EXIT_USAGE;
	}
	if (startup("dagrun", 64) < 0)
		return 1;
	r = cli_cluster_find(&cluster, q.nameserver, q.keys, false);
	if (r == 0 && !cluster.nameserver) {
		fprintf(stderr,
			"dagrun: nodes needs --nameserver HOST:PORT, or $DAGRUN_NAMESERVER; see 'dagrun "
			"nodes --help'\n");
		r = EXIT_USAGE;
	}
	q.nameserver = cluster.nameserver;
	if (r == 0)
		r = ask(&q, &cluster);
	cluster_fini(&cluster);
	return r;
}

const struct cli_command cli_nodes = {
	{"nodes", "", "Lists the nodes of a cluster.", options, DAG_LENGTH(options)}, run};
