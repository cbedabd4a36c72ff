/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What vertices wrote to their stderr, in a file of the job's folder: the last lines of each, whether it
 * ended well or not. A tool's warning is of use only to somebody who can find it again.
 */
#include "shell.h"
#include "base/size.h"
#include "os/print.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define FILE_BYTES_MAX (64u << 20)

static char *file_path(const struct manager *m)
{
	return base_format("%s/" SAID_FILE, m->job_folder);
}

static void open_file(struct manager *m)
{
	char *path = file_path(m);

	m->said.fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	m->said.failed = m->said.fd < 0;
	free(path);
}

void said_hear(struct manager *m, const struct node *node, const Dagrun__Done *d)
{
	const struct graph_stage *s;
	struct buffer b = {0};
	char *tail;

	if (!d->stderr_bytes || !jm_is_live(m->jm, d->vertex, d->attempt, node->number))
		return;
	if (!d->error) {
		m->said.vertices++;
		m->said.bytes += d->stderr_bytes;
	}
	if (!m->said.fd && !m->said.failed)
		open_file(m);
	if (m->said.failed || m->said.written > FILE_BYTES_MAX)
		return;
	s = m->graph->stages[m->graph->vertex_stage[d->vertex]];
	tail = base_strdup(d->stderr_tail);
	print_clean(tail);
	buffer_format(&b, "== %s[%u] attempt %u on %s, %llu bytes\n%s%s", s->name,
		d->vertex - s->first_vertex, JM_ATTEMPT_NUMBER(d->attempt), node->id,
		(unsigned long long)d->stderr_bytes, tail,
		*tail && tail[strlen(tail) - 1] == '\n' ? "" : "\n");
	/* Where it cannot be kept, the job matters more; the summary says so. */
	m->said.failed = write(m->said.fd, b.data, b.len) != (ssize_t)b.len;
	m->said.written += b.len;
	buffer_fini(&b);
	free(tail);
}

char *said_summary(const struct manager *m)
{
	char bytes[SIZE_TEXT_LEN], *path, *text;

	if (!m->said.vertices)
		return NULL;
	path = file_path(m);
	text = base_format("%u %s wrote %s to stderr%s%s", m->said.vertices,
		m->said.vertices == 1 ? "vertex" : "vertices", size_format(m->said.bytes, bytes),
		m->said.failed ? ", which could not be kept in " : "; the last lines of each are in ", path);
	free(path);
	return text;
}

void said_destroy(struct manager *m)
{
	if (m->said.fd > 0)
		close(m->said.fd);
	m->said.fd = 0;
}
