/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person sees while a job runs, on stderr: on a terminal some lines that are drawn anew in place,
 * elsewhere a line every few seconds. At the end a summary.
 *
 * What is drawn must be erased again whatever happened to the terminal meanwhile, which may have wrapped it
 * anew, or not yet have told its size. So the cursor waits at the first line, and all below is ours; and
 * while lines are drawn, the terminal itself cuts them at its edge.
 */
#include "shell.h"
#include "base/size.h"
#include "os/os.h"
#include "os/print.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DRAW_EVERY (250 * DAG_MS)
#define LINE_EVERY (5 * DAG_SECOND)
#define FIRST_DRAW (300 * DAG_MS) /* a job that is over by then draws nothing */
#define LINES_MAX 16u
#define NAME_COLUMNS 16
#define COLUMNS_MAX                                                                                          \
	40 /* of a line: a terminal that is made narrower than its lines pushes some of them out of reach */

struct progress {
	bool terminal, hidden;
	uint32_t lines; /* drawn, below the cursor */
	dag_instant last;
};

struct totals {
	uint64_t done, all, running, failed, bytes;
};

void progress_new(struct manager *m)
{
	const char *term = getenv("TERM");
	struct progress *p = base_alloc(sizeof(*p));

	p->terminal = isatty(STDERR_FILENO) && !m->config->quiet && term && *term && strcmp(term, "dumb");
	p->last = os_now();
	m->progress = p;
}

static uint32_t terminal_rows(void)
{
	struct winsize size;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row ? size.ws_row : 24;
}

/* Past the filter of what is printed: these bytes are ours, or cleaned. */
static void write_raw(const struct buffer *b)
{
	size_t done = 0;

	fflush(stderr);
	while (done < b->len) {
		ssize_t n = write(STDERR_FILENO, b->data + done, b->len - done);

		if (n <= 0)
			return; /* nobody looks */
		done += (size_t)n;
	}
}

/* What is below the cursor goes. From its second column on, since a terminal that is told to clear all of
 * itself may keep that as history. */
static void put_erase(struct progress *p, struct buffer *b)
{
	if (p->lines)
		buffer_format(b, "\r \x1b[J\r\x1b[K");
	p->lines = 0;
}

static void erase(struct progress *p)
{
	struct buffer b = {0};

	put_erase(p, &b);
	write_raw(&b);
	buffer_fini(&b);
}

void progress_hide(struct manager *m)
{
	erase(m->progress);
	m->progress->hidden = true;
}

void progress_say(struct manager *m, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = base_vformat(format, args);
	va_end(args);
	print_clean(text);
	if (m->config->say) {
		m->config->say(m->config->say_ctx, text);
	} else {
		erase(m->progress);
		fprintf(stderr, "dagrun: %s\n", text);
		fflush(stderr);
	}
	free(text);
}

/* ---- the lines ---- */

static void put_line(struct progress *p, struct buffer *b, char *text)
{
	size_t len = 0;

	print_clean(text);
	for (int columns = 0; text[len] && columns < COLUMNS_MAX; columns++)
		do
			len++;
		while (((unsigned char)text[len] & 0xc0) == 0x80);
	buffer_format(b, "%s%.*s", p->lines++ ? "\r\n" : "", (int)len, text);
	free(text);
}

static struct totals add_up(struct manager *m)
{
	struct totals t = {0};

	for (uint32_t i = 0; i < m->graph->stage_count; i++) {
		struct jm_stage_view v;

		if (m->graph->stages[i]->kind == GRAPH_INPUT)
			continue;
		jm_stage_view(m->jm, i, &v);
		t.done += v.done;
		t.all += v.width;
		t.running += v.running;
		t.failed += v.failures;
		t.bytes += v.bytes_in;
	}
	for (struct node *n = m->nodes; n; n = n->next)
		t.bytes += n->gone ? 0 : n->bytes_read;
	return t;
}

static char *total_text(struct manager *m, dag_instant now)
{
	struct totals t = add_up(m);
	char *failed =
		     t.failed ? base_format(", %llu failed", (unsigned long long)t.failed) : base_strdup(""),
	     *text;

	text = base_format("%.0f s: %llu/%llu done, %llu running%s", (double)(now - m->started) / DAG_SECOND,
		(unsigned long long)t.done, (unsigned long long)t.all, (unsigned long long)t.running, failed);
	free(failed);
	return text;
}

/* A long name keeps its end, by which those of one family differ. */
static char *name_text(const char *name)
{
	size_t len = strlen(name);

	if (len <= NAME_COLUMNS)
		return base_format("%-*s", NAME_COLUMNS, name);
	name += len - (NAME_COLUMNS - 1);
	while (((unsigned char)*name & 0xc0) == 0x80)
		name++;
	return base_format("…%s", name);
}

static char *stage_text(const struct graph_stage *s, const struct jm_stage_view *v)
{
	char *name = name_text(s->name), *text;
	struct buffer more = {0};

	if (v->failures)
		buffer_format(&more, ", %llu failed", (unsigned long long)v->failures);
	if (v->running)
		buffer_format(&more, ", %u running", v->running);
	text = base_format(
		"  %s %u/%u%.*s", name, v->done, v->width, (int)more.len, more.len ? (char *)more.data : "");
	buffer_fini(&more);
	free(name);
	return text;
}

/* What a person looks for first: what runs, then what failed, what has begun, what waits, what is done. */
enum rank { RUNS, FAILED, BEGUN, WAITS, DONE, RANKS };

static enum rank rank_of(const struct jm_stage_view *v)
{
	if (v->done == v->width)
		return DONE;
	return v->running ? RUNS : v->failures ? FAILED : v->done ? BEGUN : WAITS;
}

/* How many stages of each rank have a line, if so many lines there are. */
static void share_lines(const uint32_t count[RANKS], uint32_t lines, uint32_t ret_shown[RANKS])
{
	for (int rank = 0; rank < RANKS; rank++) {
		ret_shown[rank] = DAG_MIN(count[rank], lines);
		lines -= ret_shown[rank];
	}
}

static uint32_t count_ranks(struct manager *m, uint32_t ret_count[RANKS])
{
	uint32_t all = 0;

	memset(ret_count, 0, RANKS * sizeof(*ret_count));
	for (uint32_t i = 0; i < m->graph->stage_count; i++) {
		struct jm_stage_view v;

		if (m->graph->stages[i]->kind == GRAPH_INPUT)
			continue;
		jm_stage_view(m->jm, i, &v);
		ret_count[rank_of(&v)]++;
		all++;
	}
	return all;
}

/* The stages that have a line, in the order of the graph; then how many have none. */
static void put_stages(struct manager *m, uint32_t lines, struct buffer *b)
{
	uint32_t count[RANKS], shown[RANKS], done = 0, left = 0;

	if (count_ranks(m, count) > lines)
		lines--; /* for those without one */
	share_lines(count, lines, shown);
	for (uint32_t i = 0; i < m->graph->stage_count; i++) {
		struct jm_stage_view v;
		enum rank rank;

		if (m->graph->stages[i]->kind == GRAPH_INPUT)
			continue;
		jm_stage_view(m->jm, i, &v);
		rank = rank_of(&v);
		if (shown[rank]) {
			shown[rank]--;
			put_line(m->progress, b, stage_text(m->graph->stages[i], &v));
		} else {
			left++;
			done += rank == DONE;
		}
	}
	if (left)
		put_line(m->progress, b, base_format("  and %u more stages, %u done", left, done));
}

static void draw(struct manager *m, dag_instant now)
{
	uint32_t lines = DAG_MIN(DAG_MAX(terminal_rows() / 2, 1u), LINES_MAX);
	struct buffer b = {0};

	put_erase(m->progress, &b);
	buffer_format(&b, "\x1b[?7l");
	put_line(m->progress, &b, total_text(m, now));
	if (lines > 1)
		put_stages(m, lines - 1, &b);
	buffer_format(&b, "\r");
	if (m->progress->lines > 1)
		buffer_format(&b, "\x1b[%uA", m->progress->lines - 1);
	buffer_format(&b, "\x1b[?7h");
	write_raw(&b);
	buffer_fini(&b);
}

static void print_line(struct manager *m, dag_instant now)
{
	struct totals t = add_up(m);
	char bytes[SIZE_TEXT_LEN];

	fprintf(stderr, "dagrun: %.0f s: %llu of %llu vertices done, %llu running, %llu failed, %s read\n",
		(double)(now - m->started) / DAG_SECOND, (unsigned long long)t.done,
		(unsigned long long)t.all, (unsigned long long)t.running, (unsigned long long)t.failed,
		size_format(t.bytes, bytes));
	fflush(stderr);
}

void progress_tick(struct manager *m, dag_instant now)
{
	struct progress *p = m->progress;

	if (m->ending || p->hidden || m->config->quiet || now - m->started < FIRST_DRAW || !m->jm)
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
	char *said;

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
		"dagrun: job %s (%s) done: %u stage%s, %llu %s, %llu attempt%s, %s read, %s written, "
		"%.*f s\n",
		m->job, m->graph->name, stages, DAG_S(stages), (unsigned long long)vertices,
		DAG_VERTICES(vertices), (unsigned long long)attempts, DAG_S(attempts),
		size_format(read, bytes), size_format(outputs_bytes(m), out), seconds < 1 ? 3 : 2, seconds);
	for (size_t i = 0; i < m->counter_count; i++)
		fprintf(stderr, "dagrun:   %s: %s: %lld\n", m->graph->stages[m->counters[i].stage]->name,
			m->counters[i].name, (long long)m->counters[i].value);
	for (size_t i = 0; i < m->graph->output_count; i++)
		if (strcmp(m->graph->outputs[i].path, "-"))
			fprintf(stderr, "dagrun:   %s: %s\n",
				m->graph->stages[m->graph->outputs[i].stage]->name,
				m->graph->outputs[i].path);
	said = said_summary(m);
	if (said)
		fprintf(stderr, "dagrun:   %s\n", said);
	free(said);
}

void progress_destroy(struct manager *m)
{
	free(m->progress);
	m->progress = NULL;
}
