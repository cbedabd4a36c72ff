/* SPDX-License-Identifier: Apache-2.0 */
/* dagns: options, keys, loop. */
#include "nameserver.h"
#include "os/options.h"
#include "os/os.h"
#include "os/startup.h"
#include "wire/session.h"

#include <signal.h>
#include <stdio.h>

static const struct option_spec options[] = {
	{"listen", 'l', "ENDPOINT", "where to listen, such as tcp://127.0.0.1:7700 (the default)"},
	{"keys", 'k', "DIR", "the cluster's keys (see dagrun keygen); needed off loopback"},
	{"help", 'h', NULL, "this text"},
};
static const struct command_spec command = {"dagns", "",
	"Keeps the list of a cluster's nodes: daemons register here, jobs look here.", options,
	DAG_LENGTH(options)};

struct settings {
	const char *listen, *keys;
	bool help;
};

static int on_option(void *ctx, size_t option, const char *value)
{
	struct settings *s = ctx;

	if (option == 0)
		s->listen = value;
	else if (option == 1)
		s->keys = value;
	else
		s->help = true;
	return 0;
}

static void on_signal(uv_signal_t *handle, int signal)
{
	(void)signal;
	uv_stop(handle->loop);
}

static int serve(const struct settings *s, struct wire_keys *keys, struct dag_diag *diag)
{
	uv_loop_t loop;
	struct wire_loop *wire;
	struct nameserver *ns;
	uv_signal_t on_int, on_term;
	char *endpoint = NULL;
	int r;

	uv_loop_init(&loop);
	wire_loop_new(&wire, &loop);
	r = nameserver_new(&loop, wire, s->listen, keys, &ns, &endpoint, diag);
	if (r == 0) {
		uv_signal_init(&loop, &on_int);
		uv_signal_init(&loop, &on_term);
		uv_signal_start(&on_int, on_signal, SIGINT);
		uv_signal_start(&on_term, on_signal, SIGTERM);
		fprintf(stderr, "dagns: listening on %s%s\n", endpoint, keys ? " with keys" : "");
		uv_run(&loop, UV_RUN_DEFAULT);
		uv_close((uv_handle_t *)&on_int, NULL);
		uv_close((uv_handle_t *)&on_term, NULL);
		nameserver_destroy(&ns);
	}
	wire_loop_destroy(&wire);
	while (uv_run(&loop, UV_RUN_NOWAIT))
		;
	uv_loop_close(&loop);
	free(endpoint);
	return r;
}

int main(int argc, char **argv)
{
	struct settings s = {.listen = "tcp://127.0.0.1:7700"};
	struct wire_keys *keys = NULL;
	struct dag_diag diag = {0};
	int r;

	startup_standard_descriptors();
	r = options_parse("dagns", &command, argc, argv, on_option, &s);
	if (r < 0)
		return EXIT_USAGE;
	if (s.help) {
		options_help("dagns", &command);
		return 0;
	}
	if (r < argc) {
		fprintf(stderr, "dagns: unexpected '%s'; see 'dagns --help'\n", argv[r]);
		return EXIT_USAGE;
	}
	if (!wire_is_local(s.listen) && !s.keys) {
		fprintf(stderr,
			"dagns: %s can be reached from other machines: that needs --keys DIR (make them "
			"with: dagrun keygen DIR)\n",
			s.listen);
		return EXIT_USAGE;
	}
	if (startup("dagns", 64) < 0)
		return 1;
	r = s.keys ? keys_load(s.keys, &keys, &diag) : 0;
	if (r == 0 && keys)
		r = keys_self_test(keys, &diag);
	if (r == 0)
		r = serve(&s, keys, &diag);
	os_tell(&diag, "dagns", NULL, NULL);
	keys_destroy(&keys);
	return r < 0 ? 1 : 0;
}
