/* SPDX-License-Identifier: Apache-2.0 */
/* Packets, and the ring. */
#include "host_proto.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Before each message of a packet. Messages and tails begin at multiples of 16. */
struct head {
	uint32_t tail_len, unused[3];
};

#define PADDED(n) (((n) + 15) & ~(size_t)15)
#define FIXED (sizeof(struct head) + PADDED(sizeof(struct host_msg)))

_Static_assert(sizeof(struct head) == 16, "what follows must be aligned");
_Static_assert(FIXED + HOST_TAIL_MAX <= HOST_PACKET_MAX, "any message must fit");

bool host_packet_add(struct host_packet *p, const struct host_msg *msg, const void *tail, size_t tail_len)
{
	struct head head = {(uint32_t)tail_len, {0}};
	unsigned char *to = p->bytes + p->len;

	DAG_ASSERT(tail_len <= HOST_TAIL_MAX);
	if (p->len + FIXED + PADDED(tail_len) > HOST_PACKET_MAX)
		return false;
	memcpy(to, &head, sizeof(head));
	memcpy(to + sizeof(head), msg, sizeof(*msg));
	if (tail_len)
		memcpy(to + FIXED, tail, tail_len);
	p->len += FIXED + PADDED(tail_len);
	return true;
}

int host_packet_send(int sock, const void *bytes, size_t len, int fd)
{
	struct iovec iov = {(void *)bytes, len};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		struct cmsghdr *c;

		header.msg_control = control.bytes;
		header.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&header);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	for (;;) {
		if (sendmsg(sock, &header, MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno == EINTR)
			continue;
		return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ETOOMANYREFS
			       ? DAG_EBUSY
			       : DAG_ELOST;
	}
}

static int receive(int sock, struct host_packet *p)
{
	struct iovec iov = {p->bytes, sizeof(p->bytes)};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	/* Room for one descriptor exactly: in what aligns it a second one would fit, and stay. */
	struct msghdr header = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = CMSG_LEN(sizeof(int))};
	ssize_t n;

	p->len = p->at = 0;
	p->fd = -1;
	do
		n = recvmsg(sock, &header, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : DAG_ELOST;
	if (n == 0)
		return DAG_ELOST;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
			c->cmsg_len >= CMSG_LEN(sizeof(int)))
			memcpy(&p->fd, CMSG_DATA(c), sizeof(int));
	p->len = (size_t)n;
	return header.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? DAG_EPROTO : 1;
}

static int refuse(struct host_packet *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	p->len = p->at = 0;
	return DAG_EPROTO;
}

int host_msg_recv(int sock, struct host_packet *p, struct host_msg *ret_msg, const void **ret_tail,
	size_t *ret_tail_len, int *ret_fd)
{
	const unsigned char *from;
	struct head head;

	*ret_fd = -1;
	if (p->at == p->len) {
		int r = receive(sock, p);

		if (r <= 0)
			return r == DAG_EPROTO ? refuse(p) : r;
	}
	if (p->len - p->at < FIXED)
		return refuse(p);
	from = p->bytes + p->at;
	memcpy(&head, from, sizeof(head));
	if (head.tail_len > HOST_TAIL_MAX || PADDED(head.tail_len) > p->len - p->at - FIXED)
		return refuse(p);
	memcpy(ret_msg, from + sizeof(head), sizeof(*ret_msg));
	*ret_tail = from + FIXED;
	*ret_tail_len = head.tail_len;
	p->at += FIXED + PADDED(head.tail_len);
	if (p->at == p->len) {
		*ret_fd = p->fd;
		p->fd = -1;
	}
	return 1;
}

bool host_ring_put(struct host_status *status, const struct host_ended *ended)
{
	uint32_t written = atomic_load_explicit(&status->ring_written, memory_order_relaxed);

	if (written - atomic_load_explicit(&status->ring_taken, memory_order_acquire) >= HOST_RING_SIZE)
		return false;
	status->ring[written % HOST_RING_SIZE] = *ended;
	atomic_store_explicit(&status->ring_written, written + 1, memory_order_release);
	return true;
}

uint32_t host_ring_waiting(const struct host_status *status)
{
	return atomic_load_explicit(&status->ring_written, memory_order_relaxed) -
	       atomic_load_explicit(&status->ring_taken, memory_order_relaxed);
}

bool host_ring_look(
	const struct host_status *status, uint32_t taken, uint64_t received, struct host_ended *ret)
{
	*ret = status->ring[taken % HOST_RING_SIZE];
	return ret->sent <= received;
}

bool host_ring_take(struct host_status *status, uint32_t *taken, uint64_t received, struct host_ended *ret)
{
	if (host_ring_written(status) == *taken || !host_ring_look(status, *taken, received, ret))
		return false;
	atomic_store_explicit(&status->ring_taken, ++*taken, memory_order_release);
	return true;
}

bool host_status_claim(struct host_status *status, uint32_t task)
{
	uint64_t claim = atomic_load(&status->claim);

	do {
		if (task <= (uint32_t)(claim >> 32))
			return false;
	} while (!atomic_compare_exchange_weak(
		&status->claim, &claim, (claim & ~(uint64_t)UINT32_MAX) | task));
	return true;
}

uint32_t host_status_revoke(struct host_status *status, uint32_t first, uint32_t last)
{
	uint64_t claim = atomic_load(&status->claim);

	do {
		if ((uint32_t)claim < first)
			return last;
	} while (!atomic_compare_exchange_weak(
		&status->claim, &claim, (uint64_t)last << 32 | (uint32_t)claim));
	return (uint32_t)claim;
}
