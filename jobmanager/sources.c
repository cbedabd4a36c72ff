/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inputs that a daemon cannot see, read here and sent over the manager's own connection. A split is cut at
 * records here, so that what a daemon gets are whole records: the same rule as in engine/vertex/source.c.
 */
#include "shell.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCAN_CHUNK (64u << 10)
#define REQUEST_MAX (512u << 10)
#define OPEN_MAX 64u /* files; of more than that the one whose last request is longest ago is closed */

/* The exact bytes of a split, once they were looked for. */
struct source_file {
	struct source_file *next;
	uint32_t vertex;
	int fd;
	uint64_t begin, end;
};

/* The position after the first LF at or behind `from`; the file's size where there is none. */
static int64_t after_line(int fd, uint64_t from, uint64_t size)
{
	char buf[SCAN_CHUNK];

	while (from < size) {
		ssize_t n = pread(fd, buf, sizeof(buf), (off_t)from);
		const char *lf;

		if (n <= 0)
			return n < 0 ? DAG_EIO : (int64_t)size;
		lf = memchr(buf, '\n', (size_t)n);
		if (lf)
			return (int64_t)(from + (uint64_t)(lf - buf) + 1);
		from += (uint64_t)n;
	}
	return (int64_t)size;
}

static int cut_split(
	struct source_file *s, const struct graph_split *split, struct graph_format format, uint64_t size)
{
	bool by_line = format.kind == DAG_FORMAT_LINES || format.kind == DAG_FORMAT_KV;
	int64_t begin = (int64_t)split->offset, end = (int64_t)(split->offset + split->length);

	if (by_line && split->length) {
		if (begin > 0)
			begin = after_line(s->fd, (uint64_t)begin - 1, size);
		if (end > 0)
			end = after_line(s->fd, (uint64_t)end - 1, size);
	}
	if (begin < 0 || end < 0)
		return DAG_EIO;
	s->begin = (uint64_t)begin;
	s->end = (uint64_t)DAG_MAX(end, begin);
	return 0;
}

static bool is_unchanged(int fd, const struct graph_file *file)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (uint64_t)st.st_size == file->size &&
	       st.st_mtim.tv_sec * DAG_SECOND + st.st_mtim.tv_nsec == file->mtime_ns &&
	       st.st_ino == file->inode;
}

/* A split that was sent to its end is not asked for again, but by another attempt. */
static void close_source(struct manager *m, struct source_file *s)
{
	for (struct source_file **at = &m->sources; *at; at = &(*at)->next)
		if (*at == s) {
			*at = s->next;
			close(s->fd);
			free(s);
			return;
		}
}

static void close_oldest(struct manager *m)
{
	struct source_file *s = m->sources;

	for (uint32_t n = 1; s->next; n++, s = s->next)
		if (n == OPEN_MAX) {
			close_source(m, s->next);
			return;
		}
}

/* It is the first of the list then. */
static struct source_file *find_source(struct manager *m, uint32_t vertex)
{
	for (struct source_file **at = &m->sources; *at; at = &(*at)->next) {
		struct source_file *s = *at;

		if (s->vertex != vertex)
			continue;
		*at = s->next;
		s->next = m->sources;
		m->sources = s;
		return s;
	}
	return NULL;
}

static int open_source(struct manager *m, uint32_t vertex, struct source_file **ret)
{
	const struct graph_stage *in = m->graph->stages[m->graph->vertex_stage[vertex]];
	const struct graph_split *split = &in->splits[vertex - in->first_vertex];
	const struct graph_file *file = &in->input_files[split->file];
	struct source_file *s;
	int fd, r;

	s = find_source(m, vertex);
	if (s) {
		*ret = s;
		return is_unchanged(s->fd, file) ? 0 : DAG_ECHANGED;
	}
	fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? DAG_EMISSING : DAG_EIO;
	if (!is_unchanged(fd, file)) {
		close(fd);
		return DAG_ECHANGED;
	}
	s = base_alloc(sizeof(*s));
	s->vertex = vertex;
	s->fd = fd;
	r = cut_split(s, split, in->out[0].format, file->size);
	if (r < 0) {
		close(fd);
		free(s);
		return r;
	}
	s->next = m->sources;
	m->sources = s;
	close_oldest(m);
	*ret = s;
	return 0;
}

void sources_serve(struct manager *m, struct node *node, const Dagrun__SourceRequest *request)
{
	Dagrun__SourceData data = DAGRUN__SOURCE_DATA__INIT;
	struct source_file *s = NULL;
	size_t length = DAG_MIN(request->length, REQUEST_MAX);
	unsigned char *buf = base_alloc(length);
	uint64_t at;
	SESSION_ENVELOPE(e, SOURCE_DATA);

	if (request->vertex >= m->graph->vertex_count ||
		m->graph->stages[m->graph->vertex_stage[request->vertex]]->kind != GRAPH_INPUT) {
		free(buf);
		return;
	}
	data.channel = request->channel;
	data.position = request->position;
	data.text = (char *)"";
	data.error = open_source(m, request->vertex, &s);
	if (data.error == 0) {
		ssize_t n;

		at = s->begin + request->position;
		length = at < s->end ? DAG_MIN(length, (size_t)(s->end - at)) : 0;
		n = length ? pread(s->fd, buf, length, (off_t)at) : 0;
		if (n != (ssize_t)length)
			data.error = n < 0 ? DAG_EIO : DAG_ECHANGED;
		data.data.data = buf;
		data.data.len = n > 0 ? (size_t)n : 0;
		data.last = at + length >= s->end;
	}
	if (data.error)
		data.text = (char *)dag_strerror(data.error);
	e.source_data = &data;
	session_send(node->session, &e);
	if (s && data.last)
		close_source(m, s);
	free(buf);
}

void sources_destroy(struct manager *m)
{
	while (m->sources)
		close_source(m, m->sources);
}
