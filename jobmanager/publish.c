/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outputs from their first lock to their names. They lie beside their destinations until the intent to
 * publish is durable. Then what goes to a stream is written, which nobody can take back, and all files get
 * their names together or not at all. Whatever ends the job before that removes them.
 */
#include "output.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_LEAST 4u
#define OPEN_MOST 256u
#define SETTLE_LOOK_US 2000
#define DESCRIPTORS_OTHERS 128u /* need, at the least */
#define DESCRIPTORS_EACH 8u     /* of those that are left, for one open output: it needs three, hosts too */

/* ---- before the job begins ---- */

/* Makes a folder with all above it, and notes which are new, the outermost first. */
static int make_folder(struct manager *m, const char *path, struct dag_diag *diag)
{
	struct stat st;
	char *parent;
	int r;

	if (stat(path, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			return 0;
		dag_diag_add(diag, NULL, 0, 0, "'%s' is not a folder", path);
		return DAG_EIO;
	}
	parent = output_folder(path);
	r = strcmp(parent, path) ? make_folder(m, parent, diag) : 0;
	free(parent);
	if (r < 0)
		return r;
	if (mkdir(path, 0777) < 0 && errno != EEXIST) {
		dag_diag_add(diag, NULL, 0, 0, "cannot make the folder '%s': %s", path, strerror(errno));
		return DAG_EIO;
	}
	*DAG_APPEND(m->outputs_state->made, m->outputs_state->made_count, m->outputs_state->made_cap) =
		base_strdup(path);
	return 0;
}

/* Takes over what an earlier run of the job manager has written and synced; false where it is not there. */
static bool take_over(const struct manager *m, struct output *o, uint32_t count, uint64_t bytes)
{
	struct stat st;

	for (uint32_t i = 0; i < (o->spec->per_vertex ? count : 1); i++) {
		struct output_file *f = &o->files[i];
		char *path = output_file_temporary(m, o, i);

		if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid()) {
			free(path);
			return false;
		}
		f->temporary = path;
		f->inode = st.st_ino;
	}
	if (o->spec->per_vertex)
		return true;
	if (st.st_size < (off_t)bytes)
		return false;
	o->size = st.st_size;
	o->synced = o->ends[count - 1] = (off_t)bytes;
	return true;
}

/* An earlier run of the job manager has decided to publish. */
static bool is_decided(const struct manager *m)
{
	return jm_fate(m->jm) == JM_FATE_DECIDED;
}

/* Files of the earlier run, or none. */
static int open_files(struct manager *m, struct output *o)
{
	uint64_t bytes;
	uint32_t count = jm_synced(m->jm, o->number, &bytes);
	int r = 0;

	/* They are whole, and some may have their names already; what went to stdout was not kept. */
	if (is_decided(m) && strcmp(o->spec->path, "-")) {
		for (uint32_t i = 0; i < o->file_count; i++)
			o->files[i].temporary = output_file_temporary(m, o, i);
		return 0;
	}
	if (count && take_over(m, o, count, bytes))
		return 0;
	if (count)
		jm_forget_output(m->jm, o->number);
	for (uint32_t i = 0; i < o->file_count; i++) {
		free(o->files[i].temporary);
		o->files[i].temporary = NULL;
	}
	/* The test whether it can be written at all. */
	if (!o->spec->per_vertex) {
		o->vertex = m->graph->stages[o->spec->stage]->first_vertex;
		r = output_open(m, o);
		output_close(m, o);
	}
	return r;
}

static int refuse(const struct output *o, struct dag_diag *diag, const char *why)
{
	dag_diag_add(diag, o->spec->place.file, o->spec->place.line, o->spec->place.column,
		"cannot write the output '%s': %s", o->spec->path, why);
	return DAG_EIO;
}

static int take_output(struct manager *m, struct output *o, struct dag_diag *diag)
{
	char *folder = output_folder(o->path), *obstacle = NULL;
	int r = make_folder(m, folder, diag);

	free(folder);
	if (r == 0)
		r = output_lock(m, o, diag);
	for (uint32_t i = 0; i < o->file_count && r == 0; i++) {
		obstacle = !i || o->files[i].exists ? exchange_obstacle(o->files[i].path) : NULL;
		if (obstacle)
			r = refuse(o, diag, obstacle);
		free(obstacle);
	}
	return r;
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp((*(struct output_file *const *)a)->path, (*(struct output_file *const *)b)->path);
}

/* However they are spelt: the last one to be published would be the only one. */
static int check_distinct(struct manager *m, struct dag_diag *diag)
{
	struct output_file **all;
	size_t n = 0, count = 0;
	int r = 0;

	for (size_t i = 0; i < m->graph->output_count; i++)
		n += m->outputs[i].is_stream ? 0 : m->outputs[i].file_count;
	if (m->graph->output_count < 2)
		return 0;
	all = base_alloc((n + 1) * sizeof(struct output_file *));
	for (size_t i = 0; i < m->graph->output_count; i++)
		for (uint32_t j = 0; j < m->outputs[i].file_count && !m->outputs[i].is_stream; j++)
			all[count++] = &m->outputs[i].files[j];
	qsort(all, n, sizeof(struct output_file *), compare_paths);
	for (size_t i = 1; i < n && r == 0; i++)
		if (!strcmp(all[i - 1]->path, all[i]->path)) {
			dag_diag_add(diag, m->graph->file, 0, 0, "two outputs are written to the file '%s'",
				all[i]->path);
			r = DAG_EINVAL;
		}
	free(all);
	return r;
}

/* So many outputs may have their file open at a time. */
static size_t open_limit(void)
{
	struct rlimit limit;
	rlim_t n = getrlimit(RLIMIT_NOFILE, &limit) < 0 ? OPEN_MOST : limit.rlim_cur;

	n = n > DESCRIPTORS_OTHERS ? (n - DESCRIPTORS_OTHERS) / DESCRIPTORS_EACH : 0;
	return DAG_MIN(DAG_MAX((size_t)n, (size_t)OPEN_LEAST), (size_t)OPEN_MOST);
}

static void init_outputs(struct manager *m)
{
	struct outputs_state *s = m->outputs_state = base_alloc(sizeof(*s));

	s->open_max = open_limit();
	s->open = base_alloc(s->open_max * sizeof(struct output *));
	s->decided = is_decided(m);
	m->outputs = base_alloc((m->graph->output_count + 1) * sizeof(*m->outputs));
	for (uint32_t i = 0; i < m->graph->output_count; i++) {
		struct output *o = &m->outputs[i];

		o->spec = &m->graph->outputs[i];
		o->number = i;
		o->format = m->graph->stages[o->spec->stage]->out[o->spec->port].format;
		o->ends = base_alloc((m->graph->stages[o->spec->stage]->width + 1) * sizeof(*o->ends));
		o->fd = o->stream_fd = -1;
	}
}

int outputs_prepare(struct manager *m, struct dag_diag *diag)
{
	int r = 0;

	init_outputs(m);
	for (size_t i = 0; i < m->graph->output_count && r == 0; i++)
		r = output_find(&m->outputs[i], m->graph->stages[m->outputs[i].spec->stage]->width, diag);
	if (r == 0)
		r = check_distinct(m, diag);
	/* Before anything lies there: whoever finds the job dead must know where to look. */
	if (r == 0)
		r = outputs_list(m, diag);
	for (size_t i = 0; i < m->graph->output_count && r == 0; i++)
		if (!m->outputs[i].is_stream)
			r = take_output(m, &m->outputs[i], diag);
	if (r == 0)
		r = outputs_sweep(m, diag);
	for (size_t i = 0; i < m->graph->output_count && r == 0; i++) {
		r = open_files(m, &m->outputs[i]);
		if (r < 0)
			r = refuse(&m->outputs[i], diag, strerror(errno));
	}
	return r;
}

/* ---- publication ---- */

struct publication {
	uv_work_t work;
	struct manager *manager;
	char *error;
	char **earlier;   /* about each output, or NULL */
	const char *left; /* what nobody reads any more */
	bool streamed;
};

/* Those of its vertices: some may have been left out. */
static uint32_t file_count(const struct manager *m, const struct output *o)
{
	return o->spec->per_vertex ? jm_width(m->jm, o->spec->stage) : 1;
}

static char *write_streams(struct publication *p)
{
	struct manager *m = p->manager;
	char *error = NULL;

	for (size_t i = 0; i < m->graph->output_count && !error; i++) {
		struct output *o = &m->outputs[i];
		int fd = o->is_stream ? open(o->files[0].temporary, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
		bool closed = false;
		char *why;

		if (!o->is_stream)
			continue;
		why = fd < 0 ? base_strdup(strerror(errno))
			     : stream_write(fd, o->stream_fd, &m->outputs_state->canceled, &closed);
		if (closed)
			p->left = o->stream_fd == STDOUT_FILENO ? "its stdout" : o->spec->path;
		if (why)
			error = base_format("cannot write to %s: %s",
				o->stream_fd == STDOUT_FILENO ? "stdout" : o->path, why);
		else
			p->streamed = true;
		free(why);
		if (fd >= 0)
			close(fd);
	}
	return error;
}

static char *collect(struct manager *m, struct exchange *x)
{
	char *error = quarantine_write(m, x);

	for (size_t i = 0; i < m->graph->output_count && !error; i++) {
		struct output *o = &m->outputs[i];

		for (uint32_t j = 0; j < file_count(m, o) && !o->is_stream; j++) {
			const struct output_file *f = &o->files[j];

			/* A file without rights for its owner was writable until now. */
			if (f->mode && chmod(f->temporary, f->mode) < 0)
				return base_format("cannot publish %s: %s", f->path, strerror(errno));
			exchange_add(x, f->path, f->temporary);
		}
	}
	return error;
}

static void publish(uv_work_t *work)
{
	struct publication *p = work->data;
	struct manager *m = p->manager;
	struct exchange *x = &m->outputs_state->exchange;
	char *note = base_format("%s/" OUTPUTS_NOTE, m->job_folder), *more;

	if (!exchange_read(x, note))
		p->error = collect(m, x);
	if (!p->error)
		p->error = exchange_prepare(x);
	if (!p->error && x->count)
		p->error = exchange_note(x, note);
	if (!p->error)
		p->error = write_streams(p);
	if (!p->error) {
		p->error = exchange_all(x);
		if (p->error && p->streamed) {
			more = base_format("%s; what goes to stdout was written before", p->error);
			free(p->error);
			p->error = more;
		}
	} else if (!exchange_undo(x)) /* an earlier run had begun */
		m->outputs_state->torn = true;
	if (!p->error)
		exchange_settle(x);
	for (size_t i = 0; i < m->graph->output_count && !p->error; i++)
		p->earlier[i] = output_earlier(&m->outputs[i], file_count(m, &m->outputs[i]));
	free(note);
}

static void on_published(uv_work_t *work, int status)
{
	struct publication *p = work->data;
	struct manager *m = p->manager;

	(void)status;
	m->outputs_state->workers--;
	m->outputs_state->publishing = false;
	m->outputs_state->published = !p->error;
	m->reader_left = p->left;
	for (size_t i = 0; i < m->graph->output_count; i++) {
		if (p->earlier[i])
			progress_say(m, "%s", p->earlier[i]);
		free(p->earlier[i]);
	}
	free(p->earlier);
	manager_step(m, &(struct jm_event){.kind = JM_PUBLISHED,
				.error = !p->error                               ? 0
					 : m->outputs_state->canceled || p->left ? DAG_ECANCELED
										 : DAG_EIO,
				.text = p->error});
	free(p->error);
	free(p);
}

/* Not by outputs_publish itself: who calls that is in the midst of what a step asked for. */
void outputs_tell_nothing(struct manager *m)
{
	if (!m->outputs_state->nothing)
		return;
	m->outputs_state->nothing = false;
	m->outputs_state->published = true;
	manager_step(m, &(struct jm_event){.kind = JM_PUBLISHED});
}

void outputs_publish(struct manager *m)
{
	struct publication *p;

	/* libuv's four threads, which start with their first work, are a part of a short job's time. */
	if (!m->graph->output_count) {
		m->outputs_state->begun = m->outputs_state->nothing = true;
		return;
	}
	p = base_alloc(sizeof(*p));
	p->work.data = p;
	p->manager = m;
	p->earlier = base_alloc((m->graph->output_count + 1) * sizeof(char *));
	m->outputs_state->publishing = m->outputs_state->begun = true;
	m->outputs_state->workers++;
	uv_queue_work(&m->loop, &p->work, publish, on_published);
}

void outputs_decide(struct manager *m)
{
	m->outputs_state->decided = true;
}

void outputs_cancel(struct manager *m)
{
	m->outputs_state->canceled = true;
}

bool outputs_publishing(const struct manager *m)
{
	return m->outputs_state && m->outputs_state->publishing;
}

enum outputs_fate outputs_fate(const struct manager *m)
{
	const struct outputs_state *s = m->outputs_state;

	return !s || !s->begun ? OUTPUTS_NONE : s->published ? OUTPUTS_ALL : OUTPUTS_BEGUN;
}

/* ---- the end ---- */

static void remove_file(const struct output_file *f)
{
	struct stat st;

	/* What stands there may be what was there before. */
	if (f->temporary && f->inode && lstat(f->temporary, &st) == 0 && st.st_ino == f->inode)
		unlink(f->temporary);
}

static void free_output(struct output *o, bool keep)
{
	for (uint32_t j = 0; j < o->file_count && o->files; j++) {
		struct output_file *f = &o->files[j];

		if (!keep || o->is_stream)
			remove_file(f);
		free(f->temporary);
		free(f->path);
	}
	if (o->is_stream && o->stream_fd != STDOUT_FILENO && o->stream_fd >= 0)
		close(o->stream_fd);
	if (o->fd >= 0)
		close(o->fd);
	output_unlock(o);
	free(o->path);
	free(o->files);
	free(o->ends);
	buffer_fini(&o->pending);
	buffer_fini(&o->spare);
	hash_state_destroy(&o->arrival.hash);
}

/* Where the job has ended, nothing is left that the note or the list could tell of. */
static void end_exchange(struct manager *m, bool keep)
{
	struct outputs_state *s = m->outputs_state;
	char *note = base_format("%s/" OUTPUTS_NOTE, m->job_folder),
	     *list = base_format("%s/" OUTPUTS_LIST, m->job_folder);

	if (!keep && !s->torn) {
		exchange_drop(&s->exchange);
		unlink(note);
	}
	if (m->ending && !s->torn)
		unlink(list);
	exchange_fini(&s->exchange);
	free(note);
	free(list);
}

bool outputs_settle(struct manager *m, dag_instant patience)
{
	dag_instant until = os_now() + patience;
	bool ended = m->ending;

	if (!m->outputs_state)
		return true;
	m->ending = true;
	while (m->outputs_state->workers && (!patience || os_now() < until))
		if (patience) {
			uv_run(&m->loop, UV_RUN_NOWAIT);
			usleep(SETTLE_LOOK_US);
		} else
			uv_run(&m->loop, UV_RUN_ONCE);
	m->ending = ended;
	return !m->outputs_state->workers;
}

void outputs_destroy(struct manager *m)
{
	struct outputs_state *s = m->outputs_state;
	bool keep;

	if (!s)
		return;
	/* Who resumes the job completes what was decided, if the journal knows of the job at all. */
	keep = s->decided && !m->ending && (m->config->saved || (m->journal && journal_durable(m->journal)));
	outputs_settle(m, 0);
	for (size_t i = 0; i < m->graph->output_count; i++)
		free_output(&m->outputs[i], keep);
	end_exchange(m, keep);
	outputs_close_locks(s);
	/* Innermost first; a folder that something was published in stays, as rmdir sees to. */
	for (size_t i = s->made_count; i-- > 0;) {
		rmdir(s->made[i]);
		free(s->made[i]);
	}
	free(s->made);
	free(s->open);
	free(s->waiting);
	free(s);
	free(m->outputs);
	m->outputs_state = NULL;
}
