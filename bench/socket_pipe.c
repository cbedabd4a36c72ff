/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bare limit beside a pipe between nodes: a TCP connection over loopback, written 256 KiB at a time; the
 * reader touches every byte once. Prints GB/s.
 *
 * usage: socket_pipe BYTES
 */
#include "rate.h"
#include "base/size.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WRITE (256u << 10)

static void produce(const struct sockaddr_in *to, uint64_t bytes)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char *data = base_alloc(WRITE);

	memset(data, 'x', WRITE);
	if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
		_exit(1);
	for (uint64_t at = 0; at < bytes;) {
		ssize_t n = write(fd, data, DAG_MIN((uint64_t)WRITE, bytes - at));

		if (n <= 0)
			_exit(1);
		at += (uint64_t)n;
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd;
	uint64_t bytes, got = 0, sum = 0;
	char *data = base_alloc(WRITE);
	double started;
	ssize_t n;

	if (argc != 2 || size_parse_bytes(argv[1], &bytes) < 0 ||
		bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(listener, 1) < 0 ||
		getsockname(listener, (struct sockaddr *)&at, &len) < 0)
		return 2;
	if (fork() == 0)
		produce(&at, bytes);
	fd = accept(listener, NULL, NULL);
	started = now_s();
	while ((n = read(fd, data, WRITE)) > 0) {
		for (ssize_t i = 0; i + 8 <= n; i += 8) {
			uint64_t word;

			memcpy(&word, data + i, sizeof(word));
			sum += word;
		}
		got += (uint64_t)n;
	}
	print_rate(got, started, sum);
	wait(NULL);
	return 0;
}
