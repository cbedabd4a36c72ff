/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bare limit beside a pipe: ZeroMQ PUSH to PULL over TCP on loopback between two processes, messages of 1
 * MiB; the receiver touches every byte once (a sum), as a reader would. The sender sends one buffer again and
 * again, without a copy, or with `made` fills each message from it, as a program does that has something to
 * say. Prints GB/s.
 *
 * usage: zmq_pipe BYTES [curve] [made]
 */
#include "rate.h"
#include "base/size.h"

#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#define MESSAGE (1u << 20)

/* As text; empty without CURVE. */
static char server_public[41], server_secret[41], client_public[41], client_secret[41];

static void keep(void *data, void *hint)
{
	(void)data;
	(void)hint;
}

static void push(const char *endpoint, uint64_t bytes, bool made)
{
	void *ctx = zmq_ctx_new(), *s = zmq_socket(ctx, ZMQ_PUSH);
	char *data = base_alloc(MESSAGE);
	int one = 1; /* message waits: memory is used again while it is in the cache */

	memset(data, 'x', MESSAGE);
	if (*server_public) {
		zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, server_public, 41);
		zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, client_public, 41);
		zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, client_secret, 41);
	}
	if (made)
		zmq_setsockopt(s, ZMQ_SNDHWM, &one, sizeof(one));
	zmq_connect(s, endpoint);
	for (uint64_t at = 0; at < bytes; at += MESSAGE) {
		zmq_msg_t m;

		if (made) {
			zmq_msg_init_size(&m, MESSAGE);
			memcpy(zmq_msg_data(&m), data, MESSAGE);
		} else
			zmq_msg_init_data(&m, data, MESSAGE, keep, NULL);
		zmq_msg_send(&m, s, 0);
	}
	zmq_close(s);
	zmq_ctx_term(ctx);
}

int main(int argc, char **argv)
{
	uint64_t bytes, sum = 0, got = 0;
	char endpoint[64];
	size_t len = sizeof(endpoint);
	double started;
	void *ctx, *s;
	int pipe_fd[2], one = 1;
	bool curve = argc > 2 && !strcmp(argv[2], "curve"),
	     made = argc > 2 && !strcmp(argv[argc - 1], "made");

	if (argc != 2 + curve + made || size_parse_bytes(argv[1], &bytes) < 0 || pipe(pipe_fd) < 0)
		return 2;
	if (curve && (zmq_curve_keypair(server_public, server_secret) < 0 ||
			     zmq_curve_keypair(client_public, client_secret) < 0))
		return 2;
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 128 << 20);
	if (fork() == 0) { /* before any context exists */
		if (read(pipe_fd[0], endpoint, sizeof(endpoint)) > 0)
			push(endpoint, bytes, made);
		_exit(0);
	}
	ctx = zmq_ctx_new();
	s = zmq_socket(ctx, ZMQ_PULL);
	if (*server_public) {
		zmq_setsockopt(s, ZMQ_CURVE_SERVER, &one, sizeof(one));
		zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, server_secret, 41);
	}
	zmq_bind(s, "tcp://127.0.0.1:*");
	zmq_getsockopt(s, ZMQ_LAST_ENDPOINT, endpoint, &len);
	if (write(pipe_fd[1], endpoint, sizeof(endpoint)) < 0)
		return 1;
	started = now_s();
	while (got < bytes) {
		zmq_msg_t m;
		const uint64_t *words;
		size_t n;

		zmq_msg_init(&m);
		if (zmq_msg_recv(&m, s, 0) < 0)
			return 1;
		words = zmq_msg_data(&m);
		n = zmq_msg_size(&m);
		for (size_t i = 0; i < n / 8; i++)
			sum += words[i];
		got += n;
		zmq_msg_close(&m);
	}
	print_rate(got, started, sum);
	wait(NULL);
	return 0;
}
