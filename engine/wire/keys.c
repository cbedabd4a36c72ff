/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CURVE keys as czmq's certificates in files. Without a door (door.h) a CURVE server would let every key in.
 */
#include "keys.h"
#include "door.h"
#include "os/os.h"

#include <czmq.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define SELF_TEST_MS 5000

/* Before certificates are used: signals and what is printed are ours. */
static void init_czmq(void)
{
	setenv("ZSYS_SIGHANDLER", "false", 1);
	zsys_handler_set(NULL);
	zsys_init();
	zsys_set_logsender(NULL);
}

static void begin_czmq(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, init_czmq);
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
	DAG_ASSERT(zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &frame_max, sizeof(frame_max)) == 0);
	if (!keys)
		return;
	if (listens) {
		set_int(socket, ZMQ_CURVE_SERVER, 1);
		zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, DOOR_CURVE, strlen(DOOR_CURVE));
	} else {
		zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, keys->public, KEYS_TEXT_LEN);
	}
	zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, keys->public, KEYS_TEXT_LEN);
	zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, keys->secret, KEYS_TEXT_LEN);
}

/* ---- files ---- */

/* A certificate as czmq writes it; `secret` NULL: its public half. */
static int write_cert(const char *path, const char *public, const char *secret)
{
	char *half = secret ? base_format("    secret-key = \"%s\"\n", secret) : base_strdup("");
	char *text = base_format(
		"metadata\n    name = \"dagrun cluster\"\ncurve\n    public-key = \"%s\"\n%s", public, half);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), r = 0;

	errno = fd < 0 ? errno : os_write_at(fd, text, strlen(text), 0);
	if (fd < 0 || errno || fsync(fd) < 0)
		r = DAG_EIO;
	if (fd >= 0)
		close(fd);
	explicit_bzero(text, strlen(text));
	explicit_bzero(half, strlen(half));
	free(text);
	free(half);
	return r;
}

/* A new pair, in a folder that has none. DAG_EIO with errno. */
static int write_pair(const char *folder, const char *public, const char *secret)
{
	char *file = base_format("%s/cluster.key", folder), *hidden = base_format("%s_secret", file),
	     *allowed = base_format("%s/allowed", folder), *copy = base_format("%s/cluster.key", allowed);
	int r = mkdir(allowed, 0700) < 0 && errno != EEXIST ? DAG_EIO : 0;

	if (r == 0)
		r = write_cert(file, public, NULL);
	if (r == 0)
		r = write_cert(copy, public, NULL);
	if (r == 0)
		r = write_cert(hidden, public, secret);
	free(file);
	free(hidden);
	free(allowed);
	free(copy);
	return r;
}

static int make_pair(const char *folder, struct dag_diag *diag)
{
	char public[KEYS_TEXT_LEN], secret[KEYS_TEXT_LEN];
	int r;

	begin_czmq();
	if (zmq_curve_keypair(public, secret) < 0) {
		dag_diag_add(diag, NULL, 0, 0, "this libzmq has no CURVE");
		return DAG_EPERM;
	}
	r = write_pair(folder, public, secret);
	if (r < 0)
		dag_diag_add(diag, NULL, 0, 0, "cannot write keys to %s: %s", folder, strerror(errno));
	explicit_bzero(secret, sizeof(secret));
	return r;
}

int keys_generate(const char *folder, struct dag_diag *diag)
{
	char *file = base_format("%s/cluster.key", folder), *secret = base_format("%s_secret", file);
	int r = 0;

	if (access(secret, F_OK) == 0 || access(file, F_OK) == 0) {
		dag_diag_add(
			diag, NULL, 0, 0, "%s has keys already; remove them or name another folder", folder);
		r = DAG_EEXIST;
	} else if (mkdir(folder, 0700) < 0 && errno != EEXIST) {
		dag_diag_add(diag, NULL, 0, 0, "cannot make the folder %s: %s", folder, strerror(errno));
		r = DAG_EIO;
	}
	if (r == 0)
		r = make_pair(folder, diag);
	free(file);
	free(secret);
	return r;
}

/* Whoever else can read or write the secret has the cluster. */
static int check_secret(const char *folder, const char *secret, struct dag_diag *diag)
{
	struct stat st;

	if (stat(secret, &st) < 0)
		dag_diag_add(diag, NULL, 0, 0, "no keys in %s: %s: %s; make some with: dagrun keygen %s",
			folder, secret, strerror(errno), folder);
	else if (st.st_mode & 077)
		dag_diag_add(diag, NULL, 0, 0, "%s can be read by others; run: chmod 600 %s", secret, secret);
	else if (st.st_uid != geteuid() && geteuid() != 0)
		dag_diag_add(diag, NULL, 0, 0, "%s belongs to another user; make keys of your own", secret);
	else
		return 0;
	return DAG_EPERM;
}

int keys_load(const char *folder, struct wire_keys **ret_keys, struct dag_diag *diag)
{
	char *file = base_format("%s/cluster.key", folder), *secret = base_format("%s_secret", file);
	struct wire_keys *keys;
	zcert_t *cert = NULL;
	int r = check_secret(folder, secret, diag);

	if (r < 0)
		goto out;
	begin_czmq();
	cert = zcert_load(file);
	if (!cert || !strcmp(zcert_secret_txt(cert), "0000000000000000000000000000000000000000")) {
		dag_diag_add(diag, NULL, 0, 0, "%s is not a key file", secret);
		r = DAG_EPERM;
		goto out;
	}
	keys = base_alloc(sizeof(*keys));
	memcpy(keys->public, zcert_public_txt(cert), KEYS_TEXT_LEN);
	memcpy(keys->secret, zcert_secret_txt(cert), KEYS_TEXT_LEN);
	keys->allowed = base_format("%s/allowed", folder);
	*ret_keys = keys;
out:
	zcert_destroy(&cert);
	free(file);
	free(secret);
	return r;
}

/* Made beside its place and moved there whole: of two processes that do it at once one is too late. */
static int make_own(const char *state, const char *folder, struct dag_diag *diag)
{
	char *made = base_format("%s/.keys-XXXXXX", state);
	int r = 0;

	if (!mkdtemp(made)) {
		dag_diag_add(diag, NULL, 0, 0, "cannot make keys in %s: %s", state, strerror(errno));
		r = DAG_EIO;
		goto out;
	}
	r = make_pair(made, diag);
	if (r == 0 && rename(made, folder) < 0 && errno != ENOTEMPTY && errno != EEXIST) {
		dag_diag_add(diag, NULL, 0, 0, "cannot make %s: %s", folder, strerror(errno));
		r = DAG_EIO;
	}
	if (r == 0)
		os_sync_path(state);
	os_remove_tree(made); /* where it is still there */
out:
	free(made);
	return r;
}

/* Nobody else can have put keys there. */
static int check_own(const char *folder, struct dag_diag *diag)
{
	struct stat st;

	if (lstat(folder, &st) < 0)
		dag_diag_add(diag, NULL, 0, 0, "cannot read %s: %s", folder, strerror(errno));
	else if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 077)
		dag_diag_add(diag, NULL, 0, 0,
			"%s is no folder that you alone can read; remove it, and it is made anew", folder);
	else
		return 0;
	return DAG_EPERM;
}

int keys_load_own(struct wire_keys **ret_keys, struct dag_diag *diag)
{
	char *state = os_state_folder(), *folder = base_format("%s/keys", state ? state : "");
	int r = 0;

	if (!state) {
		dag_diag_add(diag, NULL, 0, 0,
			"keys of your own cannot be kept: there is no state folder (%s); set XDG_STATE_HOME, "
			"or say --keys DIR",
			strerror(errno));
		r = DAG_EPERM;
	} else if (access(folder, F_OK) < 0 && errno == ENOENT) {
		r = make_own(state, folder, diag);
	}
	if (r == 0)
		r = check_own(folder, diag);
	if (r == 0)
		r = keys_load(folder, ret_keys, diag);
	free(state);
	free(folder);
	return r;
}

/* ---- use ---- */

int keys_guard(struct wire_keys *keys, struct dag_diag *diag)
{
	int r = door_new(&keys->door, keys->allowed);
	struct rlimit core;

	if (getrlimit(RLIMIT_CORE, &core) == 0) {
		core.rlim_cur = 0;
		setrlimit(RLIMIT_CORE, &core);
	}
	if (r < 0)
		dag_diag_add(diag, NULL, 0, 0, "cannot start the key checker: %s",
			r == DAG_EBUSY ? "this process has one already" : strerror(errno));
	return r;
}

void keys_destroy(struct wire_keys **keys)
{
	struct wire_keys *k = *keys;

	if (!k)
		return;
	door_destroy(&k->door);
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
