/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program's ports as paths in its working folder: named pipes, files, lists of names. A pipe can be read
 * once, so each place of the text that names one has a pipe of its own: whichever is opened first gets the
 * bytes, and a second one is an error instead of a share of them.
 */
#include "blocks.h"
#include "channel.h"
#include "files.h"
#include "program.h"
#include "task.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MANY 16u          /* producers of a port, of which */
#define SMALL (16u << 10) /* bytes of records, and less, are files instead of pipes */

static char *path_of(const struct program *prog, const char *name)
{
	return base_format("%s/%s", prog->v->scratch, name);
}

/* Whether a port is carried already; of all producers together for ALL_PRODUCERS. */
static atomic_bool *claim_of(struct program *prog, uint32_t port, uint32_t producer)
{
	uint32_t count = prog->v->in[port].producers;

	if (!prog->claims[port])
		prog->claims[port] = base_alloc((count + 1) * sizeof(atomic_bool));
	return &prog->claims[port][DAG_MIN(producer, count)];
}

void ports_add_pump(
	struct program *prog, bool out, uint32_t port, uint32_t producer, int fd, const char *name)
{
	*DAG_APPEND(prog->pumps, prog->pump_count, prog->pump_cap) = (struct pump){.v = prog->v,
		.pidfd = &prog->pidfd,
		.ended = &prog->ended,
		.claim = out ? NULL : claim_of(prog, port, producer),
		.out = out,
		.port = port,
		.producer = producer,
		.fd = fd,
		.path = name ? path_of(prog, name) : NULL};
}

static int cannot_make(struct program *prog, const char *what, const char *name)
{
	return task_fail(prog->v, errno == ENOSPC ? DAG_ENOSPC : DAG_EIO,
		base_format(errno == EEXIST ? "cannot make the %s %s: a file of 'files' has this name"
					    : "cannot make the %s %s: %s",
			what, name, strerror(errno)));
}

static int make_pipe(struct program *prog, bool out, uint32_t port, uint32_t producer, const char *name)
{
	char *path = path_of(prog, name);
	int r = mkfifo(path, 0600);

	free(path);
	if (r < 0)
		return cannot_make(prog, "named pipe", name);
	ports_add_pump(prog, out, port, producer, -1, name);
	return 0;
}

static int create(struct program *prog, const char *name)
{
	char *path = path_of(prog, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	free(path);
	return fd < 0 ? cannot_make(prog, "file", name) : fd;
}

/* {in.N:file}: the whole input, before the program starts. */
static int make_file(struct program *prog, uint32_t port, const char *name)
{
	struct pump p = {.v = prog->v, .pidfd = &prog->pidfd, .port = port, .producer = ALL_PRODUCERS};

	if (prog->filed[port])
		return 0;
	prog->filed[port] = true;
	p.fd = create(prog, name);
	if (p.fd < 0)
		return p.fd;
	pump_in(&p);
	close(p.fd);
	return prog->v->error;
}

/* Opens sealed inputs that are read side by side, so that their threads need not wait for the daemon. */
static void open_inputs(struct dag_vertex *v, uint32_t port)
{
	struct in_port *in = &v->in[port];

	if (in->flags & (HOST_PORT_LIVE | HOST_PORT_FIFO | HOST_PORT_FILES))
		return;
	blocks_open_range(v, port, 0, in->producers);
	for (uint32_t i = 0; i < in->producers; i++)
		blocks_wait_open(v, port, i, &in->channels[i]);
}

/* Of files some at a time: those that are small are read and closed before the next ones are there. */
static void open_file(struct dag_vertex *v, uint32_t port, uint32_t producer)
{
	struct in_port *in = &v->in[port];
	uint32_t ahead = files_ahead(v, port);

	if (!(in->flags & HOST_PORT_FILES))
		return;
	if (producer % ahead == 0)
		blocks_open_range(v, port, producer, DAG_MIN(producer + ahead, in->producers));
	blocks_wait_open(v, port, producer, &in->channels[producer]);
}

/* To hand over a pipe is two switches between threads, for which a busy machine takes its time: of many
 * producers, little ones are files. */
static bool is_small(const struct in_port *in, uint32_t producer)
{
	const struct in_channel *ch = &in->channels[producer];

	return in->producers >= MANY && !ch->error && ch->state == CHANNEL_OPEN &&
	       ((ch->kind == HOST_CHANNEL_SEALED && ch->part->bytes <= SMALL) ||
		       (ch->kind == HOST_CHANNEL_SOURCE && source_left(ch->source) <= SMALL));
}

static int make_small(struct program *prog, uint32_t port, uint32_t producer, const char *name)
{
	struct pump p = {.v = prog->v, .pidfd = &prog->pidfd, .port = port, .producer = producer};

	*claim_of(prog, port, producer) = true;
	p.fd = create(prog, name);
	if (p.fd < 0)
		return p.fd;
	pump_in(&p);
	close(p.fd);
	channel_drop_source(&prog->v->in[port].channels[producer]);
	return prog->v->error;
}

/* The file that an earlier place of the text has made. */
static int link_small(struct program *prog, const struct word *w, uint32_t producer, const char *name)
{
	char first[WORDS_PATH_MAX], *from, *to;
	int r;

	words_path(w, producer, 0, first);
	from = path_of(prog, first);
	to = path_of(prog, name);
	r = link(from, to);
	free(from);
	free(to);
	return r < 0 ? cannot_make(prog, "file", name) : 0;
}

/* A path for each producer: a pipe, or a file. */
static int make_paths(struct program *prog, const struct word *w, uint32_t turn)
{
	const struct in_port *in = &prog->v->in[w->port];
	char name[WORDS_PATH_MAX];
	int r = 0;

	open_inputs(prog->v, w->port);
	for (uint32_t i = 0; i < in->producers && r == 0; i++) {
		words_path(w, i, turn, name);
		open_file(prog->v, w->port, i);
		if (*claim_of(prog, w->port, i))
			r = link_small(prog, w, i, name);
		else if (is_small(in, i))
			r = make_small(prog, w->port, i, name);
		else
			r = make_pipe(prog, false, w->port, i, name);
	}
	return r;
}

static int make_list(struct program *prog, const struct word *w, uint32_t turn)
{
	char name[WORDS_PATH_MAX];
	struct buffer b = {0};
	int fd, r = 0;

	for (uint32_t i = 0; i < prog->v->in[w->port].producers; i++) {
		size_t len = words_path(w, i, turn, name);

		buffer_append(&b, name, len);
		buffer_append(&b, "\n", 1);
	}
	words_path(w, ALL_PRODUCERS, turn, name);
	fd = create(prog, name);
	if (fd < 0)
		r = fd;
	else if (b.len && pump_write(fd, (char *)b.data, b.len) < 0)
		r = cannot_make(prog, "file", name);
	if (fd >= 0)
		close(fd);
	buffer_fini(&b);
	return r;
}

/* Makes what the word names. */
static int make_port(struct program *prog, const struct word *w, uint32_t turn)
{
	char name[WORDS_PATH_MAX];
	int r;

	words_path(w, ALL_PRODUCERS, turn, name);
	if (w->kind == WORD_OUT) {
		bool named = prog->out_named[w->port];

		prog->out_named[w->port] = true;
		return named ? 0 : make_pipe(prog, true, w->port, ALL_PRODUCERS, name);
	}
	prog->in_named[w->port] = true;
	if (w->file)
		return make_file(prog, w->port, name);
	if (!w->each && !w->list)
		return make_pipe(prog, false, w->port, ALL_PRODUCERS, name);
	r = make_paths(prog, w, turn);
	return r == 0 && w->list ? make_list(prog, w, turn) : r;
}

/* What a word means here: a port that is a file somewhere is that file everywhere. */
static void settle(struct program *prog, struct word *w, uint32_t *ret_turn)
{
	*ret_turn = 0;
	if (w->kind != WORD_IN)
		return;
	if (prog->uses.file[w->port] && !w->each && !w->list)
		w->file = true;
	if (!w->file)
		*ret_turn = prog->turns[w->port]++;
}

static int expand_port(struct program *prog, struct word *w, struct buffer *b)
{
	uint32_t turn, count = w->each ? prog->v->in[w->port].producers : 1;
	char name[WORDS_PATH_MAX];
	int r;

	settle(prog, w, &turn);
	r = make_port(prog, w, turn);
	for (uint32_t i = 0; i < count && r == 0; i++) {
		size_t len = words_path(w, w->each ? i : ALL_PRODUCERS, turn, name);

		if (i)
			buffer_append(b, " ", 1);
		buffer_append(b, name, len);
	}
	return r;
}

int ports_expand(struct program *prog, const char *text, struct buffer *b)
{
	struct word w;
	int r = 0;

	while (*text && r == 0) {
		text += words_next(text, &w);
		if (w.kind == WORD_TEXT)
			buffer_append(b, w.text, w.len);
		else if (w.kind == WORD_INDEX || w.kind == WORD_WIDTH)
			buffer_format(b, "%u", w.kind == WORD_INDEX ? prog->v->index : prog->v->width);
		else
			r = expand_port(prog, &w, b);
	}
	return r;
}

int ports_expand_arg(struct program *prog, const char *arg,
	void (*add)(struct program *prog, const char *data, size_t len))
{
	struct buffer b = {0};
	char name[WORDS_PATH_MAX];
	struct word w;
	uint32_t turn;
	int r;

	/* A whole argument that is {in.N.*} becomes one argument a producer. */
	if (*arg && !arg[words_next(arg, &w)] && w.each) {
		settle(prog, &w, &turn);
		r = make_port(prog, &w, turn);
		for (uint32_t i = 0; i < prog->v->in[w.port].producers && r == 0; i++)
			add(prog, name, words_path(&w, i, turn, name));
		return r;
	}
	r = ports_expand(prog, arg, &b);
	add(prog, (char *)b.data, b.len);
	buffer_fini(&b);
	return r;
}

int ports_survey(struct program *prog)
{
	const struct stage_spec *spec = &prog->v->stage->spec;
	uint32_t port;

	for (uint32_t i = 0; i < spec->argc; i++)
		words_count(spec->argv[i], &prog->uses);
	for (uint32_t i = 0; i < spec->env_count; i++)
		words_count(spec->env[i].value, &prog->uses);
	port = words_mixed(&prog->uses);
	if (port == DAG_PORTS_MAX)
		return 0;
	return task_fail(prog->v, DAG_EINVAL,
		base_format("input port %u is named both as a whole ({in.%u} or {in.%u:file}) and by its "
			    "producers ({in.%u.*} or {in.%u.list}), but its bytes come once",
			port, port, port, port, port));
}

void ports_fini(struct program *prog)
{
	for (size_t i = 0; i < prog->pump_count; i++)
		free(prog->pumps[i].path);
	free(prog->pumps);
	for (uint32_t i = 0; i < GRAPH_PORTS_MAX; i++)
		free(prog->claims[i]);
}
