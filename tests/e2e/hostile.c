/* SPDX-License-Identifier: Apache-2.0 */
/* Vertices that do to their daemon what they can: over their host's socket, its status page, its segments. */
#include <dagrun/vertex.h>

#include "vertex/host_proto.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define LINE_MAX_ 4096

/* Calls f for each mapping of this process whose file's path has the word in it. */
static void each_mapping(const char *word, void (*f)(void *base, const char *path, void *ctx), void *ctx)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[LINE_MAX_];

	while (maps && fgets(line, sizeof(line), maps)) {
		char *path = strchr(line, '/');

		if (!path || !strstr(path, word))
			continue;
		path[strcspn(path, "\n")] = 0;
		f((void *)strtoul(line, NULL, 16), path, ctx);
	}
	if (maps)
		fclose(maps);
}

static void take_base(void *base, const char *path, void *ctx)
{
	(void)path;
	*(void **)ctx = base;
}

static struct host_status *status_page(void)
{
	void *base = NULL;

	each_mapping("dagrun-status", take_base, &base);
	return base;
}

static uint32_t own_task(void)
{
	return (uint32_t)atomic_load(&status_page()->claim);
}

static int say(uint32_t kind, struct host_msg *msg, size_t tail_len, int fd)
{
	static struct host_packet packet;
	static char tail[HOST_TAIL_MAX];

	msg->kind = kind;
	msg->task = own_task();
	memset(tail, 's', sizeof(tail));
	packet.len = 0;
	host_packet_add(&packet, msg, tail, tail_len);
	return host_packet_send(HOST_SOCKET_FD, packet.bytes, packet.len, fd);
}

/* More skipped records than may be, each as long as can be. */
static int skips(struct dag_vertex *v)
{
	struct host_msg msg = {0};

	(void)v;
	for (int i = 0; i < 2000; i++)
		if (say(HOST_SKIPPED, &msg, HOST_TAIL_MAX, -1) < 0)
			break;
	return 0;
}

static void cut(void *base, const char *path, void *ctx)
{
	(void)base;
	(void)ctx;
	if (truncate(path, 0) < 0)
		perror(path);
}

/* Its segments are cut short, and the end is told for good. */
static int cuts_and_ends(struct dag_vertex *v)
{
	struct host_msg msg = {0};

	(void)v;
	dag_write(v, 0, "x", 1);
	each_mapping("/seg-", cut, NULL);
	say(HOST_SPACE, &msg, 0, -1);
	memset(&msg, 0, sizeof(msg));
	msg.u.done.index = (struct block_ref){.segment = 1, .offset = 0, .length = 512};
	say(HOST_DONE, &msg, 0, -1);
	pause();
	return 0;
}

/* They are cut short, and it dies: the pool has them then. */
static int cuts_and_dies(struct dag_vertex *v)
{
	char line[1000];

	memset(line, 'y', sizeof(line));
	for (int i = 0; i < 5000; i++)
		dag_write(v, 0, line, sizeof(line));
	each_mapping("/seg-", cut, NULL);
	abort();
}

/* Ends that wait for messages which never come. */
static int future_end(struct dag_vertex *v)
{
	struct host_ended ended = {.sent = 1ull << 40, .task = own_task()};

	(void)v;
	host_ring_put(status_page(), &ended);
	pause();
	return 0;
}

static int damaged_ring(struct dag_vertex *v)
{
	(void)v;
	atomic_fetch_add(&status_page()->ring_written, 1u << 31);
	pause();
	return 0;
}

static int closes_socket(struct dag_vertex *v)
{
	(void)v;
	close(HOST_SOCKET_FD);
	pause();
	return 0;
}

static int nonsense(struct dag_vertex *v)
{
	(void)v;
	send(HOST_SOCKET_FD, "nonsense", 8, 0);
	pause();
	return 0;
}

/* Two descriptors where one may be; 3,000 are more than its daemon may have here. */
static int descriptors(struct dag_vertex *v)
{
	static struct host_packet packet;
	struct host_msg msg = {.kind = HOST_LOG};
	struct iovec iov = {packet.bytes, 0};
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {0};
	struct msghdr header = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&header);
	int fds[2] = {1, 2};

	(void)v;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(c), fds, sizeof(fds));
	packet.len = 0;
	host_packet_add(&packet, &msg, "x", 1);
	iov.iov_len = packet.len;
	for (int i = 0; i < 3000; i++)
		if (sendmsg(HOST_SOCKET_FD, &header, MSG_NOSIGNAL) < 0)
			return DAG_EIO;
	return 0;
}

/* Segments that nobody takes. */
static int wants_space(struct dag_vertex *v)
{
	struct host_msg msg = {0};

	(void)v;
	msg.u.segment.size = 1 << 20;
	for (int i = 0; i < 100000; i++)
		if (say(HOST_SPACE, &msg, 0, -1) < 0)
			break;
	pause();
	return 0;
}

/* It says that its node has gone, so that it runs again for ever. */
static int claims_loss(struct dag_vertex *v)
{
	struct host_msg msg = {0};

	(void)v;
	msg.u.done.error = DAG_ELOST;
	say(HOST_DONE, &msg, 0, -1);
	pause();
	return 0;
}

/* A block that lies nowhere. */
static int places_block(struct dag_vertex *v)
{
	struct host_msg msg = {0};

	(void)v;
	say(HOST_LIVE, &msg, sizeof(struct block_ref), -1);
	pause();
	return 0;
}

DAG_PLUGIN(hostile, DAG_ENTRY(skips, DAG_OUT(LINES), ""), DAG_ENTRY(cuts_and_ends, DAG_OUT(LINES), ""),
	DAG_ENTRY(cuts_and_dies, DAG_OUT(LINES), ""), DAG_ENTRY(future_end, DAG_OUT(LINES), ""),
	DAG_ENTRY(damaged_ring, DAG_OUT(LINES), ""), DAG_ENTRY(closes_socket, DAG_OUT(LINES), ""),
	DAG_ENTRY(nonsense, DAG_OUT(LINES), ""), DAG_ENTRY(descriptors, DAG_OUT(LINES), ""),
	DAG_ENTRY(wants_space, DAG_OUT(LINES), ""), DAG_ENTRY(claims_loss, DAG_OUT(LINES), ""),
	DAG_ENTRY(places_block, DAG_OUT(LINES), ""));
