/* SPDX-License-Identifier: Apache-2.0 */
/* A plain loop between the record API and a descriptor of a program. */
#include "pump.h"
#include "put.h"
#include "stages.h"
#include "task.h"
#include "writer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RELEASE_SIGNAL (SIGRTMIN + 5)
#define PUMP_BUFFER (128u << 10)
#define PUMP_WHOLE (32u << 10) /* bytes that are written from where they lie */
#define PUMP_ROOM 4096u        /* least bytes of a block that a program's are read to */
#define PUMP_FLUSH_MS 20       /* a slow program's records become readable at least this often */
#define PUMP_END_MS 250        /* between a program's closing of its stdin and its end, where that is why */

int pump_write(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return DAG_ECLOSED;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int check_text(struct dag_vertex *v, uint32_t port, const struct dag_record *r)
{
	bool bad = (r->key_len && (memchr(r->key, '\t', r->key_len) || memchr(r->key, '\n', r->key_len))) ||
		   (r->len && memchr(r->data, '\n', r->len));

	if (!bad)
		return 0;
	return task_fail(v, DAG_EFORMAT,
		base_format(
			"record %llu of input port %u has a tab in its key or a line feed, which the "
			"program could not tell from a record's end: let a stage before write such bytes in "
			"another way, or take a field as the key (key: 1)",
			(unsigned long long)r->number + 1, port));
}

static void put_record(
	struct buffer *b, enum dag_format_kind format, const struct dag_record *r, bool unended)
{
	if (format == DAG_FORMAT_KV) {
		buffer_append(b, r->key, r->key_len);
		buffer_append(b, "\t", 1);
	}
	buffer_append(b, r->data, r->len);
	if (format == DAG_FORMAT_KV || (format == DAG_FORMAT_LINES && !unended))
		buffer_append(b, "\n", 1);
}

static int next_of(struct pump *p, struct dag_record *r)
{
	if (p->producer == ALL_PRODUCERS)
		return dag_read(p->v, p->port, r);
	return dag_read_from(p->v, p->port, p->producer, r);
}

/* Nothing waits at hand in the current block: what is buffered should go to the program before a wait. */
static bool block_ended(const struct pump *p)
{
	const struct in_port *port = &p->v->in[p->port];
	uint32_t producer = p->producer == ALL_PRODUCERS ? port->current : p->producer;

	if (producer >= port->producers)
		return true;
	if (port->channels[producer].source)
		return !source_has_record(port->channels[producer].source);
	return port->channels[producer].at == port->channels[producer].end;
}

/* The program does not read any more: it has ended, or will need this input no longer. */
static void stop_feeding(struct pump *p)
{
	struct pollfd ended = {*p->pidfd, POLLIN, 0};

	if (errno != EPIPE) {
		task_fail(p->v, errno == ENOSPC ? DAG_ENOSPC : DAG_EIO,
			base_format("cannot hand on input port %u: %s", p->port, strerror(errno)));
		return;
	}
	/* If it has failed, another attempt may want to read from the start; its end tells which it is. Of a
	 * port read by several paths the others may go on. */
	if (p->producer == ALL_PRODUCERS && poll(&ended, 1, PUMP_END_MS) == 0)
		dag_close(p->v, p->port);
}

void pump_in(struct pump *p)
{
	const struct in_port *in = &p->v->in[p->port];
	enum dag_format_kind format = in->format.kind;
	struct buffer b = {0};
	struct dag_record r;
	bool ok = true;
	int n = 0;

	while (ok && (n = next_of(p, &r)) > 0) {
		if ((format == DAG_FORMAT_KV || format == DAG_FORMAT_LINES) &&
			check_text(p->v, p->port, &r) < 0)
			break;
		if (format == DAG_FORMAT_BYTES && r.len >= PUMP_WHOLE) {
			ok = pump_write(p->fd, (char *)b.data, b.len) == 0 &&
			     pump_write(p->fd, r.data, r.len) == 0;
			b.len = 0;
			continue;
		}
		put_record(&b, format, &r, in->channels[r.producer].unended);
		if (b.len < PUMP_BUFFER && !block_ended(p))
			continue;
		ok = pump_write(p->fd, (char *)b.data, b.len) == 0;
		b.len = 0;
	}
	if (ok && n == 0 && b.len)
		ok = pump_write(p->fd, (char *)b.data, b.len) == 0;
	if (!ok)
		stop_feeding(p);
	buffer_fini(&b);
}

/* Who wrote to the named pipe has closed it, and somebody else may open it until the program's end. The new
 * descriptor is there before the old one goes, or a writer would find nobody who reads. */
static bool reopen(struct pump *p)
{
	int fd = open(p->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return false;
	close(p->fd);
	p->fd = fd;
	return true;
}

/* Until there is something to read: 1, or 0 at the end. A program that writes nothing for a while: what it
 * wrote before goes on its way. */
static int await_program(struct pump *p)
{
	struct pollfd look = {p->fd, POLLIN, 0};

	for (int patience = PUMP_FLUSH_MS;;) {
		look.revents = 0;
		look.fd = p->fd;
		if (poll(&look, 1, patience) == 0) {
			int r = writer_flush_port(p->v, p->port);

			if (r < 0)
				return r;
			patience = -1;
		}
		if (look.revents & POLLIN)
			return 1;
		if (look.revents && (!p->path || atomic_load(p->ended) || !reopen(p)))
			return look.revents != POLLHUP; /* of an error the read tells */
	}
}

static ssize_t read_program(const struct pump *p, void *buf, size_t n)
{
	ssize_t got;

	do
		got = read(p->fd, buf, n);
	while (got < 0 && errno == EINTR);
	return got < 0 ? DAG_EIO : got;
}

static ssize_t fill_from_program(void *ctx, void *buf, size_t n)
{
	return await_program(ctx) <= 0 ? 0 : read_program(ctx, buf, n);
}

static void fail_read(const struct pump *p, int error)
{
	task_fail(p->v, error,
		base_format(
			"cannot read what the program wrote to port %u: %s", p->port, dag_strerror(error)));
}

/* Bytes that nobody looks into, from the pipe to the block. */
static void carry_bytes(struct pump *p)
{
	for (;;) {
		ssize_t n;
		size_t len;
		void *room;

		/* No room is taken for the end: where there is none, it might wait for a reader that waits
		 * for the end. */
		if (await_program(p) <= 0 || put_bytes_room(p->v, p->port, PUMP_ROOM, &room, &len) < 0)
			return;
		n = read_program(p, room, len);
		if (n < 0)
			fail_read(p, (int)n);
		if (n <= 0 || dag_commit(p->v, p->port, (size_t)n) < 0)
			return;
	}
}

/* What is cut into lines, though nobody said that it is. */
static void note_no_text(const struct pump *p, const struct source *source)
{
	static const char *const ways = "say format: bytes at the stage if it is no text, {fixed: N} for "
					"records of N bytes, or lines if it "
					"is right so";

	if (source_has_nul(source))
		stages_note(p->v, HOST_NOTE_NO_TEXT,
			"what is written to port %u has a NUL byte, and is cut into lines, since somebody "
			"reads its "
			"records: %s",
			p->port, ways);
	else if (source_is_unended(source) && p->v->index + 1 < p->v->width)
		stages_note(p->v, HOST_NOTE_NO_TEXT,
			"the last line that is written to port %u has no line feed, which makes it a line of "
			"its "
			"own for those who read records: %s",
			p->port, ways);
}

static int put_out(struct pump *p, const struct source *source, const struct dag_record *r)
{
	struct graph_format format = p->v->stage->spec.out[p->port];

	if (format.kind == DAG_FORMAT_KV)
		return dag_write_kv(p->v, p->port, r->key, r->key_len, r->data, r->len);
	if (graph_is_as_written(format) && source_is_unended(source))
		return put_unended(p->v, p->port, r->data, r->len);
	return dag_write(p->v, p->port, r->data, r->len);
}

static void carry_records(struct pump *p)
{
	struct graph_format format = p->v->stage->spec.out[p->port];
	struct source *source = source_new(format, fill_from_program, p);
	struct dag_record r;
	uint64_t number = 0;
	int n;

	if (graph_is_as_written(format))
		source_watch(source);
	while ((n = source_next(source, &r)) > 0) {
		if (put_out(p, source, &r) < 0)
			break;
		number++;
	}
	if (n == DAG_EFORMAT) {
		char name[32];

		task_fail(p->v, n,
			base_format("record %llu that the program wrote to port %u is not %s",
				(unsigned long long)number + 1, p->port, graph_format_name(format, name)));
	} else if (n == DAG_ELIMIT) {
		task_fail_long(p->v, "output", p->port, number);
	} else if (n < 0) {
		fail_read(p, n);
	} else if (graph_is_as_written(format)) {
		note_no_text(p, source);
	}
	source_destroy(&source);
}

static void pump_out(struct pump *p)
{
	if (p->v->stage->spec.out[p->port].kind == DAG_FORMAT_BYTES && put_is_plain(p->v, p->port))
		carry_bytes(p);
	else
		carry_records(p);
}

/* What it read is not all, or what it wrote is wrong: nothing that it does from now on counts. */
static void end_failed(struct pump *p)
{
	bool failed;

	pthread_mutex_lock(&p->v->lock);
	failed = p->v->error != 0;
	pthread_mutex_unlock(&p->v->lock);
	if (failed)
		syscall(SYS_pidfd_send_signal, *p->pidfd, SIGKILL, NULL, 0);
}

/* The program has opened the pipe that this thread waited at. From now on there is another one in its place,
 * which nobody writes to: who opens it is found waiting there (stuck.c). */
static bool claim(struct pump *p)
{
	if (!p->path || !p->claim)
		return true;
	if (atomic_load(p->ended))
		return false;
	if (!atomic_exchange(p->claim, true)) {
		unlink(p->path);
		if (mkfifo(p->path, 0600) < 0)
			errno = 0; /* then there is nothing to be opened */
		return true;
	}
	task_fail(p->v, DAG_EFAILED, pump_read_twice(p));
	return false;
}

char *pump_read_twice(const struct pump *p)
{
	return base_format(
		"the program opened input port %u a second time: a named pipe can be read only once, "
		"by one program; write {in.%u:file} for a file, which can be read again",
		p->port, p->port);
}

/* Nobody wants what the port still brings: who opens it later must not wait for a reader. */
static void abandon(const struct pump *p)
{
	if (p->out && p->path && !atomic_load(p->ended))
		unlink(p->path);
}

static void on_release(int number)
{
	(void)number;
}

void pump_release(struct pump *p)
{
	struct sigaction wakes = {.sa_handler = on_release}; /* and starts no call again */
	int fd = p->path ? open(p->path, (p->out ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_CLOEXEC) : -1;

	if (fd >= 0)
		close(fd);
	/* Where the program has put something else into its place, no other end can be opened. */
	if (!atomic_load(&p->opening))
		return;
	sigaction(RELEASE_SIGNAL, &wakes, NULL);
	pthread_kill(p->thread, RELEASE_SIGNAL);
}

/* An input's that the program removed without reading it is one that it did not read. */
static void open_pipe(struct pump *p)
{
	struct stat st;

	atomic_store(&p->opening, true);
	do
		p->fd = open(p->path, (p->out ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
	while (p->fd < 0 && errno == EINTR && !atomic_load(p->ended));
	atomic_store(&p->opening, false);
	if (p->fd >= 0 && fstat(p->fd, &st) == 0 && S_ISFIFO(st.st_mode))
		return;
	if (p->fd >= 0) { /* what the program has put there */
		close(p->fd);
		p->fd = -1;
		errno = ENOENT;
	}
	if (errno != EINTR && errno != ENOENT)
		task_fail(p->v, DAG_EIO, base_format("cannot open %s: %s", p->path, strerror(errno)));
	else if (p->out)
		task_fail(p->v, DAG_EFAILED,
			base_format(
				"the program removed or replaced the named pipe {out.%u} and did not write "
				"into it; write to it as to a file that is there: 'cat FILE > {out.%u}'",
				p->port, p->port));
}

void *pump_run(void *arg)
{
	struct pump *p = arg;

	if (p->fd < 0)
		open_pipe(p);
	if (p->fd < 0)
		;
	else if (p->out)
		pump_out(p);
	else if (claim(p))
		pump_in(p);
	end_failed(p);
	abandon(p);
	/* The end of its input, or, by SIGPIPE, that nobody reads it any more. */
	if (p->fd >= 0)
		close(p->fd);
	return NULL;
}
