/* SPDX-License-Identifier: Apache-2.0 */
/* One message a packet, the descriptor beside it. */
#include "host_proto.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

int host_msg_send(int sock, const struct host_msg *msg, const void *tail, size_t tail_len, int fd)
{
	struct iovec iov[2] = {{(void *)msg, sizeof(*msg)}, {(void *)tail, tail_len}};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct msghdr header = {.msg_iov = iov, .msg_iovlen = tail_len ? 2 : 1};

	DAG_ASSERT(tail_len <= HOST_TAIL_MAX);
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
		return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? DAG_EBUSY : DAG_ELOST;
	}
}

int host_msg_recv(int sock, struct host_msg *msg, void *tail, size_t *ret_tail_len, int *ret_fd)
{
	struct iovec iov[2] = {{msg, sizeof(*msg)}, {tail, HOST_TAIL_MAX}};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr header = {.msg_iov = iov,
		.msg_iovlen = 2,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	ssize_t n;

	*ret_fd = -1;
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
			memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	if ((size_t)n < sizeof(*msg) || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		if (*ret_fd >= 0)
			close(*ret_fd);
		*ret_fd = -1;
		return DAG_EPROTO;
	}
	*ret_tail_len = (size_t)n - sizeof(*msg);
	return 1;
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
