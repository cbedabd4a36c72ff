/* SPDX-License-Identifier: Apache-2.0 */
/* What host and daemon say to each other. One message loop serves every thread that waits (host_wait). */
#include "host.h"
#include "os/os.h"

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#define NUDGE_EVERY (DAG_MS / 2)
#define NUDGE_FOR 2u           /* ends: for one, the daemon's own look is soon enough */
#define LONG_RUN (DAG_MS / 10) /* its end is told at once where a slot is free */

bool host_init(struct host *host, host_dispatch_fn *dispatch)
{
	host->sock = HOST_SOCKET_FD;
	host->bell = HOST_BELL_FD;
	host->dispatch = dispatch;
	host->guard = getppid();
	host->threads = 1;
	host->inbox.fd = -1;
	pthread_mutex_init(&host->lock, NULL);
	pthread_cond_init(&host->changed, NULL);
	host->status =
		mmap(NULL, sizeof(*host->status), PROT_READ | PROT_WRITE, MAP_SHARED, HOST_STATUS_FD, 0);
	if (host->status == MAP_FAILED)
		return false;
	close(HOST_STATUS_FD);
	return true;
}

void host_add_threads(struct host *host, int more)
{
	host->threads += more;
}

void host_expect_bell(struct host *host)
{
	host->piped = true;
}

void host_send(struct host *host, const struct host_msg *msg, const void *tail, size_t tail_len)
{
	struct host_packet packet;

	packet.len = 0;
	host_packet_add(&packet, msg, tail, tail_len);
	atomic_fetch_add(&host->sent, 1);
	/* The socket blocks: a daemon that is behind holds its hosts up, and nothing is lost. */
	if (host_packet_send(host->sock, packet.bytes, packet.len, -1) < 0)
		_exit(1);
}

/* Ends that the daemon neither was nudged for nor took of its own. */
static uint32_t unheard(const struct host *host)
{
	return DAG_MIN(host->untold, host_ring_waiting(host->status));
}

/* The kernel wakes the daemon where it ran last. If that were here, it would wait for us to sleep, though
 * another core has nothing to do: so we go there first. */
static void make_way(struct host *host)
{
	if (atomic_load(&host->status->core_free))
		os_leave_core(atomic_load(&host->status->daemon_core), host->guard);
}

static void nudge(struct host *host)
{
	struct host_msg msg = {.kind = HOST_NUDGE};

	if (unheard(host)) {
		make_way(host);
		host_send(host, &msg, NULL, 0);
	}
	host->untold = 0;
	host->nudged = os_now();
}

/* The daemon may sleep, and looks into the ring by itself only now and then. */
bool host_put_end(struct host *host, uint32_t task, const struct host_done *done)
{
	struct host_ended ended = {.task = task, .done = *done};
	bool ok;

	if (done->error || done->counter_count || done->errors)
		return false;
	pthread_mutex_lock(&host->lock);
	ended.sent = atomic_load(&host->sent);
	ok = host_ring_put(host->status, &ended);
	host->untold += ok;
	if (unheard(host) >= HOST_RING_SIZE / 2 ||
		(done->run_ns > LONG_RUN && atomic_load(&host->status->slot_free)) ||
		(unheard(host) >= NUDGE_FOR && os_now() - host->nudged > NUDGE_EVERY))
		nudge(host);
	pthread_mutex_unlock(&host->lock);
	return ok;
}

/* Takes one message if there is one; waits for it if the socket may block now. */
static bool take_message(struct host *host)
{
	struct host_msg msg;
	const void *tail;
	size_t tail_len;
	int fd, r;

	r = host_msg_recv(host->sock, &host->inbox, &msg, &tail, &tail_len, &fd);
	if (r < 0)
		_exit(1); /* the daemon is gone, and with it everything that this vertex could do */
	pthread_mutex_lock(&host->lock);
	if (r > 0)
		host->dispatch(host, &msg, tail, tail_len, fd);
	return r > 0;
}

static bool socket_readable(struct host *host, int timeout_ms)
{
	struct pollfd fds[2] = {{host->sock, POLLIN, 0}, {host->bell, POLLIN, 0}};

	while (poll(fds, 2, timeout_ms) < 0 && errno == EINTR)
		;
	if (fds[1].revents)
		os_bell_hush(host->bell);
	return fds[0].revents != 0;
}

static bool has_message(struct host *host)
{
	return host_packet_has_more(&host->inbox) || socket_readable(host, 0);
}

/* To sleep and be woken takes longer than most answers do. */
static void linger(struct host *host)
{
	dag_instant until = atomic_load(&host->status->core_free) ? os_now() + HOST_LINGER : 0;

	while (os_now() < until && !has_message(host))
		;
}

void host_wait(struct host *host)
{
	bool alone;

	if (host->leader) {
		pthread_cond_wait(&host->changed, &host->lock);
		return;
	}
	host->leader = true;
	alone = host->threads == 1 && !host->piped;
	pthread_mutex_unlock(&host->lock);
	if (alone)
		linger(host);
	if (alone || host_packet_has_more(&host->inbox) || socket_readable(host, -1))
		take_message(host);
	else
		pthread_mutex_lock(&host->lock);
	host->leader = false;
	pthread_cond_broadcast(&host->changed);
}

void host_look(struct host *host)
{
	while (!host->leader && has_message(host)) {
		host->leader = true;
		pthread_mutex_unlock(&host->lock);
		take_message(host);
		host->leader = false;
		pthread_cond_broadcast(&host->changed);
	}
}

void host_changed(struct host *host)
{
	if (host->threads == 1)
		return;
	pthread_cond_broadcast(&host->changed);
	if (host->leader)
		os_bell_ring(host->bell);
}

void host_rest(struct host *host)
{
	if (unheard(host) && !has_message(host))
		nudge(host);
	host_wait(host);
}
