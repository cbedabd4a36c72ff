/* SPDX-License-Identifier: Apache-2.0 */
/* dagns: options, keys, loop. */
#include "nameserver.h"
#include "os/options.h"
#include "os/os.h"
#include "os/print.h"
#include "os/startup.h"
#include "wire/cluster.h"
#include "wire/session.h"
#include "version.h"

#include <signal.h>
#include <stdio.h>

static const struct option_spec options[] = {
	{"listen", 'l', "ENDPOINT", "HOST[:PORT] to listen at (default: 127.0.0.1:7700)"},
	{"keys", 'k', "DIR", CLUSTER_KEYS_HELP},
	{"version", 'V', NULL, "prints the version"},
	{"help", 'h', NULL, "this text"},
};
static const struct command_spec command = {"dagns", "",
	"Keeps the list of a cluster's nodes: daemons register here, jobs look here.", options,
	DAG_LENGTH(options)};

struct settings {
	const char *listen, *keys;
	bool help, version;
};

static int on_option(void *ctx, size_t option, const char *value)
{
	struct settings *s = ctx;

	if (option == 0)
		s->listen = value;
	else if (option == 1)
		s->keys = value;
	else if (option == 2)
		s->version = true;
	else
		s->help = true;
	return 0;
}

static void on_signal(uv_signal_t *handle, int signal)
{
	(void)signal;
	uv_stop(handle->loop);
}

static int serve(const char *listen, struct wire_keys *keys, struct dag_diag *diag)
{
	uv_loop_t loop;
	struct wire_loop *wire;
	struct nameserver *ns;
	uv_signal_t on_int, on_term, on_hup;
	char *endpoint = NULL;
	int r;

	uv_loop_init(&loop);
	wire_loop_new(&wire, &loop);
	r = nameserver_new(&loop, wire, listen, keys, &ns, &endpoint, diag);
	if (r == 0) {
		uv_signal_init(&loop, &on_int);
		uv_signal_init(&loop, &on_term);
		uv_signal_init(&loop, &on_hup);
		uv_signal_start(&on_int, on_signal, SIGINT);
		uv_signal_start(&on_term, on_signal, SIGTERM);
		if (startup_ends_on_hangup())
			uv_signal_start(&on_hup, on_signal, SIGHUP);
		fprintf(stderr, "dagns: listening on %s%s\n", endpoint, keys ? " with keys" : "");
		os_tell(diag, "dagns", NULL, NULL);
		uv_run(&loop, UV_RUN_DEFAULT);
		uv_close((uv_handle_t *)&on_int, NULL);
		uv_close((uv_handle_t *)&on_term, NULL);
		uv_close((uv_handle_t *)&on_hup, NULL);
		nameserver_destroy(&ns);
	}
	wire_loop_destroy(&wire);
	while (uv_run(&loop, UV_RUN_NOWAIT))
		;
	uv_loop_close(&loop);
	free(endpoint);
	return r;
}

/* Where to bind and what opens it; the exit code, 0 for success. */
static int find_endpoint(
	const struct settings *s, char **ret_listen, struct wire_keys **ret_keys, struct dag_diag *diag)
{
	char *endpoint = NULL, *text = NULL, *said = cluster_keys_said(s->keys);
	int r = endpoint_parse(s->listen, ENDPOINT_NAMESERVER_PORT, true, &endpoint, &text);

	if (r == 0)
		r = endpoint_to_bind(endpoint, ret_listen, &text);
	if (r < 0)
		dag_diag_add(diag, NULL, 0, 0, "--listen %s", text);
	else
		r = cluster_find_keys(said, *ret_listen, ret_keys, diag);
	free(endpoint);
	free(text);
	free(said);
	return r == 0 ? 0 : r == DAG_EINVAL ? EXIT_USAGE : 1;
}

int main(int argc, char **argv)
{
	struct settings s = {.listen = "127.0.0.1"};
	struct wire_keys *keys = NULL;
	struct dag_diag diag = {0};
	char *listen = NULL;
	int r;

	startup_standard_descriptors();
	print_clean_standard();
	r = options_parse("dagns", &command, argc, argv, on_option, &s);
	if (r < 0)
		return EXIT_USAGE;
	if (s.help) {
		options_help("dagns", &command);
		return startup_finish("dagns", 0);
	}
	if (s.version) {
		printf("dagns " DAGRUN_VERSION "\n");
		return startup_finish("dagns", 0);
	}
	if (r < argc) {
		fprintf(stderr, "dagns: unexpected '%s'; see 'dagns --help'\n", argv[r]);
		return EXIT_USAGE;
	}
	if (startup("dagns", 64) < 0)
		return 1;
	r = find_endpoint(&s, &listen, &keys, &diag);
	if (r)
		goto out;
	r = keys ? keys_guard(keys, &diag) : 0;
	if (r == 0 && keys)
		r = keys_self_test(keys, &diag);
	if (r == 0)
		r = serve(listen, keys, &diag);
	r = r < 0 ? 1 : 0;
out:
	os_tell(&diag, "dagns", NULL, NULL);
	keys_destroy(&keys);
	free(listen);
	return r;
}
