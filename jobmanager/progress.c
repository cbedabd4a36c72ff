/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person sees while a job runs, on stderr: on a terminal one line a stage, drawn anew in place;
 * elsewhere a line every few seconds. At the end a summary.
 */
#include "shell.h"
#include "base/size.h"
#include "os/os.h"

#include <stdio.h>
#include <unistd.h>

#define DRAW_EVERY (250 * DAG_MS)
#define LINE_EVERY (5 * DAG_SECOND)
#define FIRST_DRAW (300 * DAG_MS) /* a job that is over by then draws nothing */
#define STAGES_DRAWN_MAX 30u

struct progress {
	bool terminal;
	uint32_t lines; /* drawn, to be drawn over */
	dag_instant last;
};

void progress_new(struct manager *m)
{
	m->progress = base_alloc(sizeof(*m->progress));
	m->progress->terminal = isatty(STDERR_FILENO) && !m->config->quiet;
	m->progress->last = os_now();
}

static void erase(struct progress *p)
{
	while (p->lines) {
		fputs("\x1b[A\x1b[2K", stderr);
		p->lines--;
	}
}

void progress_say(struct manager *m, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = base_vformat(format, args);
	va_end(args);
	if (m->config->say) {
		m->config->say(m->config->say_ctx, text);
		free(text);
		return;
	}
	/* Nothing that a vertex or file says may move a person's cursor. */
	for (char *c = text; *c; c++)
		if (((unsigned char)*c < 0x20 && *c != '\n' && *c != '\t') || *c == 0x7f)
			*c = '?';
	erase(m->progress);
	fprintf(stderr, "dagrun: %s\n", text);
	fflush(stderr);
	free(text);
}

static void draw(struct manager *m, dag_instant now)
{
	struct progress *p = m->progress;
	uint32_t drawn = 0;

	erase(p);
	for (uint32_t i = 0; i < m->graph->stage_count && drawn < STAGES_DRAWN_MAX; i++) {
		const struct graph_stage *s = m->graph->stages[i];
		struct jm_stage_view v;
		char bytes[SIZE_TEXT_LEN];

		if (s->kind == GRAPH_INPUT)
			continue;
		jm_stage_view(m->jm, i, &v);
		fprintf(stderr, "%-16.16s %6u/%-6u done %5u running %4llu failed %10s read %7.1f s\n",
			s->name, v.done, v.width, v.running, (unsigned long long)v.failures,
			size_format(v.bytes_in, bytes), (double)(now - m->started) / DAG_SECOND);
		drawn++;
	}
	p->lines = drawn;
	fflush(stderr);
}

static void print_line(struct manager *m, dag_instant now)
{
	uint64_t done = 0, all = 0, running = 0, failed = 0, bytes = 0;
	char text[SIZE_TEXT_LEN];

	for (uint32_t i = 0; i < m->graph->stage_count; i++) {
		struct jm_stage_view v;

		if (m->graph->stages[i]->kind == GRAPH_INPUT)
			continue;
		jm_stage_view(m->jm, i, &v);
		done += v.done;
		all += v.width;
		running += v.running;
		failed += v.failures;
		bytes += v.bytes_in;
	}
	for (struct node *n = m->nodes; n; n = n->next)
		bytes += n->gone ? 0 : n->bytes_read;
	fprintf(stderr, "dagrun: %.0f s: %llu of %llu vertices done, %llu running, %llu failed, %s read\n",
		(double)(now - m->started) / DAG_SECOND, (unsigned long long)done, (unsigned long long)all,
		(unsigned long long)running, (unsigned long long)failed, size_format(bytes, text));
	fflush(stderr);
}

void progress_tick(struct manager *m, dag_instant now)
{
	struct progress *p = m->progress;

	if (m->ending || m->config->quiet || now - m->started < FIRST_DRAW || !m->jm)
		return;
	if (now - p->last < (p->terminal ? DRAW_EVERY : LINE_EVERY))
		return;
	p->last = now;
	if (p->terminal)
		draw(m, now);
	else
		print_line(m, now);
}

void progress_summary(struct manager *m)
{
	char bytes[SIZE_TEXT_LEN], out[SIZE_TEXT_LEN];
	double seconds = (double)(os_now() - m->started) / DAG_SECOND;
	uint64_t attempts = 0, vertices = 0, read = 0;
	uint32_t stages = 0;

	erase(m->progress);
	if (m->config->quiet || m->config->verify)
		return;
	for (uint32_t i = 0; i < m->graph->stage_count; i++) {
		struct jm_stage_view v;

		if (m->graph->stages[i]->kind == GRAPH_INPUT)
			continue;
		jm_stage_view(m->jm, i, &v);
		stages++;
		vertices += v.width;
		attempts += v.attempts;
		read += v.bytes_in;
	}
	fprintf(stderr,
		"dagrun: job %s (%s) done: %u stages, %llu vertices, %llu attempts, %s read, %s written, "
		"%.*f s\n",
		m->job, m->graph->name, stages, (unsigned long long)vertices, (unsigned long long)attempts,
		size_format(read, bytes), size_format(outputs_bytes(m), out), seconds < 1 ? 3 : 2, seconds);
	for (size_t i = 0; i < m->counter_count; i++)
		fprintf(stderr, "dagrun:   %s: %s: %lld\n", m->graph->stages[m->counters[i].stage]->name,
			m->counters[i].name, (long long)m->counters[i].value);
	for (size_t i = 0; i < m->graph->output_count; i++)
		if (strcmp(m->graph->outputs[i].path, "-"))
			fprintf(stderr, "dagrun:   %s: %s\n",
				m->graph->stages[m->graph->outputs[i].stage]->name,
				m->graph->outputs[i].path);
}

void progress_destroy(struct manager *m)
{
	free(m->progress);
	m->progress = NULL;
}
