/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CURVE keys through czmq: certificates in files, and zauth as the ZAP handler, without which a CURVE server
 * would let every key in.
 */
#include "keys.h"

#include <czmq.h>
#include <errno.h>
#include <sys/stat.h>

#define SELF_TEST_MS 5000

void *wire_context(void)
{
	static void *context;

	if (!context) {
		setenv("ZSYS_SIGHANDLER", "false", 1);
		zsys_handler_set(NULL);
		context = zsys_init();
		zsys_set_logsender(NULL);
	}
	return context;
}

static void set_int(void *socket, int option, int value)
{
	DAG_ASSERT(zmq_setsockopt(socket, option, &value, sizeof(value)) == 0);
}

void wire_socket_options(void *socket, const struct wire_keys *keys, bool listens, int64_t frame_max)
{
	set_int(socket, ZMQ_LINGER, 0);
	set_int(socket, ZMQ_SNDHWM, 0); /* bounded by acknowledgements and credit, which drop nothing */
	set_int(socket, ZMQ_RCVHWM, 0);
	set_int(socket, ZMQ_HANDSHAKE_IVL, 5000);
	set_int(socket, ZMQ_HEARTBEAT_IVL, 1000);
	set_int(socket, ZMQ_HEARTBEAT_TIMEOUT, 10000);
	set_int(socket, ZMQ_RECONNECT_IVL, 50);
	set_int(socket, ZMQ_RECONNECT_IVL_MAX, 1000);
	set_int(socket, ZMQ_CONNECT_TIMEOUT, 5000);
	set_int(socket, ZMQ_IPV6, 0);
	DAG_ASSERT(zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &frame_max, sizeof(frame_max)) == 0);
	if (!keys)
		return;
	if (listens) {
		set_int(socket, ZMQ_CURVE_SERVER, 1);
		zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, "dagrun", 6);
	} else {
		zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, keys->public, KEYS_TEXT_LEN);
	}
	zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, keys->public, KEYS_TEXT_LEN);
	zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, keys->secret, KEYS_TEXT_LEN);
}

bool wire_is_local(const char *endpoint)
{
	return wire_is_inproc(endpoint) || !strncmp(endpoint, "ipc://", 6) ||
	       !strncmp(endpoint, "tcp://127.", 10) || !strncmp(endpoint, "tcp://localhost:", 16);
}

char *wire_with_port(const char *endpoint, const char *port)
{
	const char *colon = strrchr(endpoint, ':');

	return base_format(
		"%.*s:%s", colon ? (int)(colon - endpoint) : (int)strlen(endpoint), endpoint, port);
}

int keys_generate(const char *folder, struct dag_diag *diag)
{
	char *file = base_format("%s/cluster.key", folder), *allowed = base_format("%s/allowed", folder);
	char *copy = base_format("%s/cluster.key", allowed), *secret = base_format("%s_secret", file);
	zcert_t *cert = NULL;
	int r = 0;

	wire_context();
	if (access(secret, F_OK) == 0 || access(file, F_OK) == 0) {
		dag_diag_add(
			diag, NULL, 0, 0, "%s has keys already; remove them or name another folder", folder);
		r = DAG_EEXIST;
		goto out;
	}
	if ((mkdir(folder, 0700) < 0 && errno != EEXIST) || (mkdir(allowed, 0700) < 0 && errno != EEXIST)) {
		dag_diag_add(diag, NULL, 0, 0, "cannot make the folder %s: %s", allowed, strerror(errno));
		r = DAG_EIO;
		goto out;
	}
	umask(077);
	cert = zcert_new();
	if (!cert) {
		dag_diag_add(diag, NULL, 0, 0, "this libzmq has no CURVE");
		r = DAG_EPERM;
		goto out;
	}
	zcert_set_meta(cert, "name", "dagrun cluster");
	if (zcert_save(cert, file) < 0 || zcert_save_public(cert, copy) < 0) {
		dag_diag_add(diag, NULL, 0, 0, "cannot write keys to %s: %s", folder, strerror(errno));
		r = DAG_EIO;
	}
out:
	zcert_destroy(&cert);
	free(file);
	free(secret);
	free(allowed);
	free(copy);
	return r;
}

int keys_load(const char *folder, struct wire_keys **ret_keys, struct dag_diag *diag)
{
	char *file = base_format("%s/cluster.key", folder), *secret = base_format("%s_secret", file);
	struct wire_keys *keys;
	struct stat st;
	zcert_t *cert = NULL;
	int r = DAG_EPERM;

	wire_context();
	if (stat(secret, &st) < 0) {
		dag_diag_add(diag, NULL, 0, 0, "no keys in %s: %s: %s; make some with: dagrun keygen %s",
			folder, secret, strerror(errno), folder);
		goto out;
	}
	if (st.st_mode & 077) {
		dag_diag_add(diag, NULL, 0, 0, "%s can be read by others; run: chmod 600 %s", secret, secret);
		goto out;
	}
	cert = zcert_load(file);
	if (!cert || !strcmp(zcert_secret_txt(cert), "0000000000000000000000000000000000000000")) {
		dag_diag_add(diag, NULL, 0, 0, "%s is not a key file", secret);
		goto out;
	}
	keys = base_alloc(sizeof(*keys));
	memcpy(keys->public, zcert_public_txt(cert), KEYS_TEXT_LEN);
	memcpy(keys->secret, zcert_secret_txt(cert), KEYS_TEXT_LEN);
	keys->allowed = base_format("%s/allowed", folder);
	keys->auth = zactor_new(zauth, NULL);
	if (!keys->auth) {
		dag_diag_add(diag, NULL, 0, 0, "cannot start the key checker: %s", strerror(errno));
		keys_destroy(&keys);
		goto out;
	}
	zstr_sendx(keys->auth, "CURVE", keys->allowed, NULL);
	zsock_wait(keys->auth);
	*ret_keys = keys;
	r = 0;
out:
	zcert_destroy(&cert);
	free(file);
	free(secret);
	return r;
}

void keys_destroy(struct wire_keys **keys)
{
	struct wire_keys *k = *keys;

	if (!k)
		return;
	zactor_destroy((zactor_t **)&k->auth);
	free(k->allowed);
	explicit_bzero(k->secret, sizeof(k->secret));
	free(k);
	*keys = NULL;
}

/* What the handshake came to: 1 let in, 0 refused, −1 neither in time. */
static int try_handshake(
	const char *endpoint, const struct wire_keys *server, const char *public, const char *secret)
{
	void *socket = zmq_socket(wire_context(), ZMQ_DEALER), *monitor;
	char *watch = base_format("inproc://dagrun.self-test.%p.%s", socket, public);
	int result = -1;

	wire_socket_options(socket, server, false, WIRE_CONTROL_MAX);
	zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, public, KEYS_TEXT_LEN);
	zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secret, KEYS_TEXT_LEN);
	zmq_socket_monitor(socket, watch,
		ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
			ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL);
	monitor = zmq_socket(wire_context(), ZMQ_PAIR);
	zmq_connect(monitor, watch);
	zmq_connect(socket, endpoint);
	for (int waited = 0; waited < SELF_TEST_MS && result < 0; waited += 100) {
		zmq_pollitem_t item = {monitor, 0, ZMQ_POLLIN, 0};
		unsigned char event[6], address[256];
		uint16_t kind;

		if (zmq_poll(&item, 1, 100) <= 0)
			continue;
		if (zmq_recv(monitor, event, sizeof(event), 0) < 2 ||
			zmq_recv(monitor, address, sizeof(address), 0) < 0)
			break;
		memcpy(&kind, event, sizeof(kind));
		result = kind == ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
	}
	zmq_socket_monitor(socket, NULL, 0);
	zmq_close(monitor);
	zmq_close(socket);
	free(watch);
	return result;
}

int keys_self_test(const struct wire_keys *keys, struct dag_diag *diag)
{
	void *listener = zmq_socket(wire_context(), ZMQ_ROUTER);
	char endpoint[256], public[KEYS_TEXT_LEN], secret[KEYS_TEXT_LEN];
	size_t len = sizeof(endpoint);
	int r = DAG_EPERM;

	wire_socket_options(listener, keys, true, WIRE_CONTROL_MAX);
	if (zmq_bind(listener, "tcp://127.0.0.1:*") < 0 ||
		zmq_getsockopt(listener, ZMQ_LAST_ENDPOINT, endpoint, &len) < 0 ||
		zmq_curve_keypair(public, secret) < 0)
		dag_diag_add(diag, NULL, 0, 0, "the key self-test cannot listen on loopback: %s",
			zmq_strerror(errno));
	else if (try_handshake(endpoint, keys, public, secret) != 0)
		dag_diag_add(diag, NULL, 0, 0, "key self-test failed: a stranger's key was not refused");
	else if (try_handshake(endpoint, keys, keys->public, keys->secret) != 1)
		dag_diag_add(diag, NULL, 0, 0,
			"key self-test failed: our own key is not let in; is it in %s?", keys->allowed);
	else
		r = 0;
	zmq_close(listener);
	return r;
}
