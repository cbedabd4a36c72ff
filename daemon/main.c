/* SPDX-License-Identifier: Apache-2.0 */
/* dagd: options, keys, loop. */
#include "daemon.h"
#include "name.h"
#include "base/size.h"
#include "os/options.h"
#include "os/os.h"
#include "os/print.h"
#include "os/startup.h"
#include "wire/cluster.h"
#include "wire/session.h"
#include "version.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define LEAVE_MS 50

enum option {
	NAMESERVER,
	LISTEN,
	ADVERTISE,
	SLOTS,
	SPOOL,
	MEMORY,
	RACK,
	LABEL,
	NODE,
	CGROUP,
	KEYS,
	VERSION,
	HELP
};

static const struct option_spec options[] = {
	[NAMESERVER] = {"nameserver", 'n', "ENDPOINT", CLUSTER_NAMESERVER_HELP},
	[LISTEN] = {"listen", 'l', "ENDPOINT",
		"HOST[:PORT] to listen at (default: any port of the address that leads to the name server)"},
	[ADVERTISE] = {"advertise", 'a', "ENDPOINT",
		"what others dial (default: the address that leads to the name server)"},
	[SLOTS] = {"slots", 's', "N", "vertices that run at a time (default: the cores that it may use)"},
	[SPOOL] = {"spool", 0, "DIR",
		"folder for channel data beyond shared memory (default: in the state folder)"},
	[MEMORY] = {"memory", 'm', "SIZE",
		"memory that vertices may use; a quarter of it keeps channel data (default: all)"},
	[RACK] = {"rack", 'r', "NAME", "the rack that this node is in"},
	[LABEL] = {"label", 'L', "K=V", "a label that stages can ask for; may be repeated"},
	[NODE] = {"node", 0, "NAME", "this node's name (default: the host's name and a number)"},
	[CGROUP] = {"cgroup", 0, "DIR",
		"a control group (version 2) for its vertices, whose limits the kernel then keeps; 'own': "
		"the "
		"daemon's"},
	[KEYS] = {"keys", 'k', "DIR", CLUSTER_KEYS_HELP},
	[VERSION] = {"version", 'V', NULL, "prints the version"},
	[HELP] = {"help", 'h', NULL, "this text"},
};
static const struct command_spec command = {"dagd", "",
	"A node's daemon: runs vertices, keeps their outputs, serves them to other nodes.", options,
	DAG_LENGTH(options)};

struct settings {
	struct daemon_config config;
	struct cluster cluster;
	const char *nameserver, *listen, *advertise, *keys;
	char *spool;
	struct graph_pair labels[64];
	uint64_t slots, memory;
	bool help, version;
};

static int bad(const char *what, const char *value)
{
	fprintf(stderr, "dagd: --%s %s: %s\n", what, value,
		!strcmp(what, "label") ? "write NAME=VALUE, at most 64 of them"
				       : "not a number that makes sense");
	return DAG_EINVAL;
}

static int on_option(void *ctx, size_t option, const char *value)
{
	struct settings *s = ctx;
	const char *equals;

	switch ((enum option)option) {
	case NAMESERVER:
		s->nameserver = value;
		return 0;
	case LISTEN:
		s->listen = value;
		return 0;
	case ADVERTISE:
		s->advertise = value;
		return 0;
	case SLOTS:
		return size_parse_number(value, &s->slots) < 0 || !s->slots || s->slots > 4096
			       ? bad("slots", value)
			       : 0;
	case SPOOL:
		s->config.spool = value;
		return 0;
	case MEMORY:
		return size_parse_bytes(value, &s->memory) < 0 || s->memory < (64u << 20)
			       ? bad("memory", value)
			       : 0;
	case CGROUP:
		s->config.cgroup = value;
		return 0;
	case RACK:
		s->config.rack = value;
		return 0;
	case LABEL:
		equals = strchr(value, '=');
		if (!equals || s->config.label_count == DAG_LENGTH(s->labels))
			return bad("label", value);
		s->labels[s->config.label_count++] =
			(struct graph_pair){base_strndup(value, (size_t)(equals - value)), equals + 1};
		return 0;
	case NODE:
		if (!name_is_good(value)) {
			fprintf(stderr, "dagd: --node '%s': a name is made of " NAME_RULE "\n", value);
			return DAG_EINVAL;
		}
		s->config.node = value;
		return 0;
	case KEYS:
		s->keys = value;
		return 0;
	case VERSION:
		s->version = true;
		return 0;
	case HELP:
		s->help = true;
		return 0;
	}
	return DAG_EINVAL;
}

/* How a daemon ends: it says so, and gives that a moment to get out. */
struct ending {
	struct daemon *daemon;
	uv_signal_t on_int, on_term, on_hup;
	uv_timer_t moment;
	bool begun;
};

static void on_moment(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

static void on_signal(uv_signal_t *handle, int signal)
{
	struct ending *e = handle->data;

	(void)signal;
	if (e->begun) {
		uv_stop(handle->loop);
		return;
	}
	e->begun = true;
	daemon_leave(e->daemon);
	uv_timer_start(&e->moment, on_moment, LEAVE_MS, 0);
}

static void ending_begin(struct ending *e, uv_loop_t *loop, struct daemon *daemon)
{
	*e = (struct ending){.daemon = daemon};
	uv_signal_init(loop, &e->on_int);
	uv_signal_init(loop, &e->on_term);
	uv_signal_init(loop, &e->on_hup);
	uv_timer_init(loop, &e->moment);
	e->on_int.data = e->on_term.data = e->on_hup.data = e;
	uv_signal_start(&e->on_int, on_signal, SIGINT);
	uv_signal_start(&e->on_term, on_signal, SIGTERM);
	if (startup_ends_on_hangup())
		uv_signal_start(&e->on_hup, on_signal, SIGHUP);
}

static void ending_close(struct ending *e)
{
	uv_close((uv_handle_t *)&e->on_int, NULL);
	uv_close((uv_handle_t *)&e->on_term, NULL);
	uv_close((uv_handle_t *)&e->on_hup, NULL);
	uv_close((uv_handle_t *)&e->moment, NULL);
}

/*
 * Blocks are sent from where they lie, in files that vertices write to. One that a vertex cuts short under us
 * is zeros from there on, which its readers find by their hashes.
 */
static void on_cut_short(int signal, siginfo_t *info, void *context)
{
	long page = sysconf(_SC_PAGESIZE);
	void *at = (void *)((uintptr_t)info->si_addr & ~((uintptr_t)page - 1));

	(void)context;
	if (info->si_code != BUS_ADRERR ||
		mmap(at, (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			0) == MAP_FAILED) {
		struct sigaction usual = {.sa_handler = SIG_DFL};

		sigaction(signal, &usual, NULL); /* it happens again, and is our end */
	}
}

static void survive_cut_files(void)
{
	struct sigaction act = {.sa_sigaction = on_cut_short, .sa_flags = SA_SIGINFO};

	sigaction(SIGBUS, &act, NULL);
}

static int serve(struct settings *s, struct dag_diag *diag)
{
	uv_loop_t loop;
	struct wire_loop *wire;
	struct daemon *daemon;
	struct ending ending;
	int r;

	uv_loop_init(&loop);
	wire_loop_new(&wire, &loop);
	r = daemon_new(&loop, wire, &s->config, &daemon, diag);
	if (r == 0) {
		ending_begin(&ending, &loop, daemon);
		fprintf(stderr, "dagd: node %s listening on %s%s, %u slot%s, name server %s\n",
			daemon_node(daemon), daemon_control(daemon), s->config.keys ? " with keys" : "",
			s->config.slots, DAG_S(s->config.slots), s->config.nameserver);
		os_tell(diag, "dagd", NULL, NULL);
		dag_diag_fini(diag);
		uv_run(&loop, UV_RUN_DEFAULT);
		ending_close(&ending);
		daemon_destroy(&daemon);
	}
	wire_loop_destroy(&wire);
	while (uv_run(&loop, UV_RUN_NOWAIT))
		;
	uv_loop_close(&loop);
	return r;
}

/* The name by which this machine's daemon is found again, and the folder for what it keeps. */
static int complete_name(struct settings *s)
{
	struct daemon_config *c = &s->config;
	char *why = NULL, *state = c->node && c->spool ? NULL : os_state_folder_or(&why);
	int r = 0;

	if (why) {
		fprintf(stderr, "dagd: %s\n", why);
		free(why);
		return DAG_EIO;
	}
	if (!c->node)
		c->node = name_choose(state);
	if (!c->node) {
		fprintf(stderr, "dagd: there is no name to be had in %s/nodes; give one with --node\n",
			state);
		r = DAG_EIO;
	} else if (!c->spool) {
		s->spool = base_format("%s/spool/%s", state, c->node);
		c->spool = s->spool;
	}
	free(state);
	return r;
}

/* Fills in what was not said. */
static int complete(struct settings *s)
{
	struct daemon_config *c = &s->config;
	char *folder = os_program_folder();

	c->slots = s->slots ? (uint32_t)s->slots : (uint32_t)os_cores();
	if (c->slots > os_slots_max()) {
		fprintf(stderr,
			"dagd: with the file descriptors that are allowed (ulimit -n), %u vertices can run "
			"at a "
			"time, not %u\n",
			os_slots_max(), c->slots);
		c->slots = os_slots_max();
	}
	c->memory = s->memory ? s->memory : os_memory();
	c->spool_memory = c->memory / 4;
	c->labels = s->labels;
	c->host_program = base_format("%s/daghost", folder);
	free(folder);
	return complete_name(s);
}

/* ---- where ---- */

/* Our host as seen from the name server's; waits until its name is known and a way leads there. */
static char *own_host(const char *nameserver)
{
	char *own = endpoint_own_host(nameserver);

	if (!own)
		fprintf(stderr,
			"dagd: no address of this machine leads to the name server at %s (is its name known, "
			"and the network up?); trying on\n",
			nameserver);
	while (!own) {
		sleep(1);
		own = endpoint_own_host(nameserver);
	}
	return own;
}

static int bad_endpoint(const char *option, char *text)
{
	fprintf(stderr, "dagd: --%s %s\n", option, text);
	free(text);
	return EXIT_USAGE;
}

/* What others dial, where that is not what is bound. */
static int find_advertised(struct settings *s)
{
	char *own, *text, *endpoint;

	if (s->advertise) {
		if (endpoint_parse(s->advertise, "*", true, &endpoint, &text) < 0)
			return bad_endpoint("advertise", text);
		s->config.advertise = endpoint;
	} else if (endpoint_is_any(s->config.listen)) {
		own = own_host(s->config.nameserver);
		s->config.advertise = base_format("tcp://%s:*", own);
		free(own);
	}
	return 0;
}

/* Where to listen and what opens it; the exit code, 0 for success. */
static int find_endpoints(struct settings *s, struct dag_diag *diag)
{
	char *own, *text, *endpoint;
	int r = cluster_find(&s->cluster, s->nameserver, s->keys, diag);

	if (r < 0)
		return r == DAG_EINVAL ? EXIT_USAGE : 1;
	s->config.nameserver = s->cluster.nameserver;
	s->config.keys = s->cluster.keys;
	if (!s->config.nameserver) {
		fprintf(stderr,
			"dagd: --nameserver HOST:PORT is needed, or $DAGRUN_NAMESERVER; see 'dagd --help'\n");
		return EXIT_USAGE;
	}
	if (s->listen) {
		if (endpoint_parse(s->listen, "*", true, &endpoint, &text) < 0)
			return bad_endpoint("listen", text);
		r = endpoint_to_bind(endpoint, (char **)&s->config.listen, &text);
		free(endpoint);
		if (r < 0)
			return bad_endpoint("listen", text);
	} else {
		own = own_host(s->config.nameserver);
		s->config.listen = base_format("tcp://%s:*", own);
		free(own);
	}
	if (!wire_is_local(s->config.listen) &&
		(!s->cluster.keys_said || !strcmp(s->cluster.keys_said, CLUSTER_NONE))) {
		fprintf(stderr,
			"dagd: %s can be reached from other machines: that needs --keys DIR (make them with: "
			"dagrun keygen DIR)\n",
			s->config.listen);
		return EXIT_USAGE;
	}
	return find_advertised(s);
}

int main(int argc, char **argv)
{
	static struct settings s;
	struct dag_diag diag = {0};
	int r;

	startup_standard_descriptors();
	print_clean_standard();
	r = options_parse("dagd", &command, argc, argv, on_option, &s);
	if (r < 0)
		return EXIT_USAGE;
	if (s.help) {
		options_help("dagd", &command);
		return startup_finish("dagd", 0);
	}
	if (s.version) {
		printf("dagd " DAGRUN_VERSION "\n");
		return startup_finish("dagd", 0);
	}
	if (r < argc) {
		fprintf(stderr, "dagd: unexpected '%s'; see 'dagd --help'\n", argv[r]);
		return EXIT_USAGE;
	}
	if (startup("dagd", 256) < 0)
		return 1;
	survive_cut_files();
	os_be_patient();
	r = find_endpoints(&s, &diag);
	if (r) {
		os_tell(&diag, "dagd", NULL, NULL);
		return r;
	}
	if (complete(&s) < 0)
		return 1;
	r = s.cluster.keys ? keys_guard(s.cluster.keys, &diag) : 0;
	if (r == 0 && s.cluster.keys)
		r = keys_self_test(s.cluster.keys, &diag);
	if (r == 0)
		r = serve(&s, &diag);
	os_tell(&diag, "dagd", NULL, NULL);
	cluster_fini(&s.cluster);
	return r < 0 ? 1 : 0;
}
