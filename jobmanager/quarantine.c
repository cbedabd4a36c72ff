/* SPDX-License-Identifier: Apache-2.0 */
/* Records that were passed over, in a file beside the job's first output: where each was, why, and its first
 * bytes. */
#include "output.h"
#include "os/os.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

void quarantine_fact(struct manager *m, const char *fact)
{
	if (!strncmp(fact, "quarantined ", 12))
		*DAG_APPEND(m->quarantined, m->quarantined_count, m->quarantined_cap) = base_strdup(fact);
}

void quarantine_destroy(struct manager *m)
{
	for (size_t i = 0; i < m->quarantined_count; i++)
		free(m->quarantined[i]);
	free(m->quarantined);
}

/* Beside the first output that is a file, under its name without {index}; NULL where there is no such file,
 * or its name is too long. */
static char *path_of(const struct manager *m)
{
	for (size_t i = 0; i < m->graph->output_count; i++) {
		const struct output *o = &m->outputs[i];
		char *beside, *followed;

		if (o->is_stream)
			continue;
		if (!o->spec->per_vertex)
			beside = base_format("%s.quarantine", o->path);
		else
			beside = base_format("%.*s%s.quarantine", (int)o->index_at, o->path,
				o->path + o->index_at + strlen("{index}"));
		followed = strlen(strrchr(beside, '/') + 1) <= NAME_MAX ? output_follow(beside) : NULL;
		free(beside);
		return followed;
	}
	return NULL;
}

static void put_bytes(FILE *f, const char *hex, int len)
{
	for (int i = 0; i + 1 < len; i += 2) {
		unsigned c;

		sscanf(hex + i, "%2x", &c);
		if (c >= 0x20 && c < 0x7f && c != '\\')
			fputc((int)c, f);
		else
			fprintf(f, "\\x%02x", c);
	}
}

/* stage[index] port producer record (for people from 1, as in messages) TAB reason TAB bytes */
static void put_line(const struct manager *m, FILE *f, const char *fact)
{
	unsigned vertex, attempt, port, producer;
	unsigned long long number;
	int hex = 0, end = 0;

	if (sscanf(fact, "quarantined %u %u %u %u %llu %n%*s%n", &vertex, &attempt, &port, &producer, &number,
		    &hex, &end) < 5 ||
		vertex >= m->graph->vertex_count)
		return;
	fprintf(f, "%s[%u] port %u producer %u record %llu\t",
		m->graph->stages[m->graph->vertex_stage[vertex]]->name, graph_index(m->graph, vertex), port,
		producer, number + 1);
	for (const char *c = fact + end + (fact[end] == ' '); *c; c++)
		fputc((unsigned char)*c < 0x20 ? ' ' : *c, f);
	fputc('\t', f);
	if (fact[hex] != '-')
		put_bytes(f, fact + hex, end - hex);
	fputc('\n', f);
}

char *quarantine_write(struct manager *m, struct exchange *x)
{
	char *path = m->quarantined_count ? path_of(m) : NULL, *temporary, *error = NULL;
	FILE *f;

	if (m->config->verify)
		return NULL;
	if (!path) {
		for (size_t i = 0; i < m->quarantined_count; i++)
			put_line(m, stderr, m->quarantined[i]);
		return NULL;
	}
	temporary = output_temporary(path, m->job);
	unlink(temporary); /* of an earlier run of this job */
	f = fopen(temporary, "wxe");
	for (size_t i = 0; f && i < m->quarantined_count; i++)
		put_line(m, f, m->quarantined[i]);
	if (!f || fflush(f) || fsync(fileno(f)) < 0)
		error = base_format("cannot write %s: %s", path, strerror(errno));
	else
		exchange_add(x, path, temporary);
	if (f)
		fclose(f);
	free(temporary);
	free(path);
	return error;
}
