/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where outputs lie: files beside their destinations, named .NAME.dagrun-JOB, under a lock; and their
 * publication, when the intent is durable: each is renamed, all of them. Until then nothing is visible, and
 * whatever ends the job removes them.
 */
#include "output.h"
#include "os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_BUFFER (1u << 20)

/* ---- files ---- */

char *output_temporary(const char *path, const char *job)
{
	const char *slash = strrchr(path, '/');

	return base_format("%.*s/.%s.dagrun-%s", (int)(slash - path), path, slash + 1, job);
}

static char *lock_path(const char *path)
{
	return output_temporary(path, "lock");
}

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == path ? base_strdup("/") : base_strndup(path, (size_t)(slash - path));
}

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
	parent = folder_of(path);
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

/* The job that `name` in the output's folder is a temporary of, or NULL. */
static const char *job_of(const struct output *o, const char *name)
{
	const char *base = strrchr(o->spec->path, '/') + 1,
		   *index = o->spec->per_vertex ? o->spec->path + o->spec->index_at : NULL;
	size_t len = index ? (size_t)(index - base) : strlen(base);

	if (*name++ != '.' || strncmp(name, base, len))
		return NULL;
	name += len;
	if (index) {
		base = index + strlen("{index}");
		name += strspn(name, "0123456789");
		if (strncmp(name, base, strlen(base)))
			return NULL;
		name += strlen(base);
	}
	return strncmp(name, ".dagrun-", 8) ? NULL : name + 8;
}

/* Its publication was cut between two files: only it can go forward. */
static bool has_decided(const struct manager *m, const char *job)
{
	char *folder = base_format("%s/jobs/%s", m->state_folder, job);
	struct journal_saved saved = {0};
	struct dag_diag diag = {0};
	bool decided = false;

	if (journal_load(folder, true, &saved, &diag) == 0) {
		for (size_t i = 0; i < saved.fact_count && !decided; i++)
			decided = !strcmp(saved.facts[i], "publishing");
		for (size_t i = 0; i < saved.fact_count && decided; i++)
			decided = strcmp(saved.facts[i], "published") && strncmp(saved.facts[i], "ended", 5);
	}
	dag_diag_fini(&diag);
	journal_saved_fini(&saved);
	free(folder);
	return decided;
}

/* What jobs that died left beside the destination: its lock is ours now, so they cannot live. */
static int remove_stale(struct manager *m, const struct output *o, struct dag_diag *diag)
{
	char *folder = folder_of(o->spec->path);
	DIR *dir = opendir(folder);
	struct dirent *e;
	int r = 0;

	while (r == 0 && dir && (e = readdir(dir))) {
		const char *job = job_of(o, e->d_name);

		if (!job || !strcmp(job, "lock") || !strcmp(job, m->job))
			continue;
		if (has_decided(m, job)) {
			dag_diag_add(diag, o->spec->place.file, o->spec->place.line, o->spec->place.column,
				"job %s was stopped while it published the output '%s': 'dagrun resume %s' "
				"completes that, 'dagrun clean %s' gives it up",
				job, o->spec->path, job, job);
			r = DAG_EBUSY;
		} else
			unlinkat(dirfd(dir), e->d_name, 0);
	}
	if (dir)
		closedir(dir);
	free(folder);
	return r;
}

void outputs_remove(const char *path, const char *job)
{
	char *folder = folder_of(path), *lock = lock_path(path), *end = base_format(".dagrun-%s", job);
	DIR *dir = opendir(folder);
	struct dirent *e;
	int fd;

	/* By its end: of an output with {index} each vertex has one. */
	while (dir && (e = readdir(dir)))
		if (strlen(e->d_name) > strlen(end) &&
			!strcmp(e->d_name + strlen(e->d_name) - strlen(end), end))
			unlinkat(dirfd(dir), e->d_name, 0);
	if (dir)
		closedir(dir);
	fd = open(lock, O_RDWR | O_CLOEXEC);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		unlink(lock);
	if (fd >= 0)
		close(fd);
	free(folder);
	free(lock);
	free(end);
}

/*
 * The lock of a destination: a file beside it that its holder removes at its end. Whoever locks a file that
 * was removed meanwhile tries again, so exactly one job holds it.
 */
static int lock_output(struct manager *m, struct output *o, struct dag_diag *diag)
{
	struct stat held, there;
	char holder[64] = {0};

	o->lock_path = lock_path(o->spec->path);
	for (;;) {
		o->lock_fd = open(o->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (o->lock_fd < 0) {
			dag_diag_add(diag, o->spec->place.file, o->spec->place.line, o->spec->place.column,
				"cannot write the output '%s': %s", o->spec->path, strerror(errno));
			return DAG_EIO;
		}
		if (flock(o->lock_fd, LOCK_EX | LOCK_NB) < 0)
			break;
		if (fstat(o->lock_fd, &held) == 0 && stat(o->lock_path, &there) == 0 &&
			held.st_ino == there.st_ino) {
			o->locked = true;
			if (ftruncate(o->lock_fd, 0) < 0 || pwrite(o->lock_fd, m->job, strlen(m->job), 0) < 0)
				errno = 0; /* only a name for others to read */
			return remove_stale(m, o, diag);
		}
		close(o->lock_fd);
	}
	if (pread(o->lock_fd, holder, sizeof(holder) - 1, 0) < 0)
		errno = 0;
	dag_diag_add(diag, o->spec->place.file, o->spec->place.line, o->spec->place.column,
		"job %s is writing the output '%s' already", *holder ? holder : "(just started)",
		o->spec->path);
	return DAG_EBUSY;
}

int output_open_temporary(const struct manager *m, struct output_file *f)
{
	struct stat st;
	mode_t mode = 0666;

	if (stat(f->path, &st) == 0)
		mode = st.st_mode & 0777;
	f->temporary = output_temporary(f->path, m->job);
	f->fd = open(f->temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	return f->fd < 0 ? DAG_EIO : 0;
}

/* Takes over what an earlier run of the job manager has written and synced; false where it is not there. */
static bool take_over(const struct manager *m, struct output *o, uint32_t count, uint64_t bytes)
{
	struct stat st;

	for (uint32_t i = 0; i < (o->spec->per_vertex ? count : 1); i++) {
		struct output_file *f = &o->files[i];

		f->temporary = output_temporary(f->path, m->job);
		f->fd = open(f->temporary, O_RDWR | O_CLOEXEC);
		if (f->fd < 0)
			return false;
	}
	if (o->spec->per_vertex)
		return true;
	if (fstat(o->files[0].fd, &st) < 0 || st.st_size < (off_t)bytes)
		return false;
	o->size = st.st_size;
	o->synced = o->ends[count - 1] = (off_t)bytes;
	return true;
}

/* Files of the earlier run, or none. */
static int open_files(struct manager *m, struct output *o)
{
	uint64_t bytes;
	uint32_t count = jm_synced(m->jm, o->number, &bytes);

	if (count && take_over(m, o, count, bytes))
		return 0;
	if (count)
		jm_forget_output(m->jm, o->number);
	for (uint32_t i = 0; i < o->file_count; i++) {
		if (o->files[i].fd >= 0)
			close(o->files[i].fd);
		o->files[i].fd = -1;
		free(o->files[i].temporary);
		o->files[i].temporary = NULL;
	}
	return o->spec->per_vertex ? 0 : output_open_temporary(m, &o->files[0]);
}

/* An earlier run of the job manager has decided to publish. */
static bool is_decided(const struct manager *m)
{
	return jm_fate(m->jm) == JM_FATE_DECIDED;
}

static int prepare_output(struct manager *m, struct output *o, struct dag_diag *diag)
{
	const struct graph_stage *s = m->graph->stages[o->spec->stage];
	struct stat st;
	char *folder;
	int r;

	o->file_count = o->spec->per_vertex ? s->width : 1;
	o->files = base_alloc(o->file_count * sizeof(*o->files));
	for (uint32_t i = 0; i < o->file_count; i++)
		o->files[i].fd = -1;
	o->lock_fd = -1;
	o->ends = base_alloc((s->width + 1) * sizeof(*o->ends));
	if (!strcmp(o->spec->path, "-")) {
		o->to_stdout = true;
		o->files[0].path = base_strdup("-");
		o->files[0].temporary = base_format("%s/stdout-%u-%s", m->state_folder, o->number, m->job);
		o->files[0].fd = open(o->files[0].temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		unlink(o->files[0].temporary);
		return o->files[0].fd < 0 ? DAG_EIO : 0;
	}
	folder = folder_of(o->spec->path);
	r = make_folder(m, folder, diag);
	free(folder);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < o->file_count; i++)
		o->files[i].path = graph_output_path(o->spec, i);
	if (stat(o->files[0].path, &st) == 0 && !S_ISREG(st.st_mode)) {
		dag_diag_add(diag, o->spec->place.file, o->spec->place.line, o->spec->place.column,
			"the output '%s' exists and is not a regular file", o->files[0].path);
		return DAG_EIO;
	}
	r = lock_output(m, o, diag);
	o->on_disk = r == 0 && os_is_on_disk(o->lock_fd) && !os_is_network_fs(o->lock_path);
	/* Their files are whole, and some may have their names already. */
	for (uint32_t i = 0; i < o->file_count && is_decided(m); i++)
		o->files[i].temporary = output_temporary(o->files[i].path, m->job);
	if (r == 0 && !is_decided(m)) {
		r = open_files(m, o);
		if (r < 0)
			dag_diag_add(diag, o->spec->place.file, o->spec->place.line, o->spec->place.column,
				"cannot write the output '%s': %s", o->spec->path, strerror(errno));
	}
	return r;
}

int outputs_prepare(struct manager *m, struct dag_diag *diag)
{
	int r = 0;

	m->outputs_state = base_alloc(sizeof(*m->outputs_state));
	m->outputs = base_alloc((m->graph->output_count + 1) * sizeof(*m->outputs));
	for (uint32_t i = 0; i < m->graph->output_count && r == 0; i++) {
		struct output *o = &m->outputs[i];

		o->spec = &m->graph->outputs[i];
		o->number = i;
		o->format = m->graph->stages[o->spec->stage]->out[o->spec->port].format;
		r = prepare_output(m, o, diag);
	}
	return r;
}

/* ---- publication ---- */

/* Those of its vertices: some may have been left out. */
static uint32_t file_count(const struct manager *m, const struct output *o)
{
	return o->spec->per_vertex ? jm_width(m->jm, o->spec->stage) : 1;
}

struct publication {
	uv_work_t work;
	struct manager *manager;
	char *error;
};

static char *copy_to_stdout(int fd)
{
	char *buf = base_alloc(COPY_BUFFER);
	char *error = NULL;
	off_t at = 0;
	ssize_t n;

	while (!error && (n = pread(fd, buf, COPY_BUFFER, at)) > 0) {
		at += n;
		for (ssize_t done = 0; done < n && !error;) {
			ssize_t w = write(STDOUT_FILENO, buf + done, (size_t)(n - done));

			if (w < 0 && errno == EINTR)
				continue;
			if (w < 0)
				error = base_format("cannot write to stdout: %s", strerror(errno));
			else
				done += w;
		}
	}
	free(buf);
	return error;
}

static void publish(uv_work_t *work)
{
	struct publication *p = work->data;
	struct manager *m = p->manager;

	p->error = quarantine_write(m);
	for (size_t i = 0; i < m->graph->output_count && !p->error; i++) {
		struct output *o = &m->outputs[i];

		for (uint32_t j = 0; j < file_count(m, o) && !p->error && !o->to_stdout; j++) {
			struct output_file *f = &o->files[j];

			if (rename(f->temporary, f->path) < 0 &&
				!(errno == ENOENT && is_decided(m) && access(f->path, F_OK) == 0))
				p->error = base_format("cannot publish %s: %s", f->path, strerror(errno));
			else {
				free(f->temporary);
				f->temporary = NULL;
			}
		}
	}
	for (size_t i = 0; i < m->graph->output_count && !p->error; i++)
		if (!m->outputs[i].to_stdout) {
			char *folder = folder_of(m->outputs[i].spec->path);

			os_sync_path(folder);
			free(folder);
		}
	for (size_t i = 0; i < m->graph->output_count && !p->error; i++)
		if (m->outputs[i].to_stdout)
			p->error = copy_to_stdout(m->outputs[i].files[0].fd);
}

static void on_published(uv_work_t *work, int status)
{
	struct publication *p = work->data;

	(void)status;
	manager_step(p->manager, &(struct jm_event){.kind = JM_PUBLISHED,
					 .error = p->error ? DAG_EIO : 0,
					 .text = p->error ? p->error : NULL});
	free(p->error);
	free(p);
}

void outputs_publish(struct manager *m)
{
	struct publication *p = base_alloc(sizeof(*p));

	p->work.data = p;
	p->manager = m;
	uv_queue_work(&m->loop, &p->work, publish, on_published);
}

/* ---- the end ---- */

void outputs_destroy(struct manager *m)
{
	struct outputs_state *state = m->outputs_state;

	if (!state)
		return;
	for (size_t i = 0; i < m->graph->output_count; i++) {
		struct output *o = &m->outputs[i];

		for (uint32_t j = 0; j < o->file_count; j++) {
			struct output_file *f = &o->files[j];

			if (f->temporary && !o->to_stdout && f->fd >= 0)
				unlink(f->temporary);
			if (f->fd >= 0)
				close(f->fd);
			free(f->temporary);
			free(f->path);
		}
		if (o->locked)
			unlink(o->lock_path);
		if (o->lock_fd >= 0)
			close(o->lock_fd);
		free(o->lock_path);
		free(o->files);
		free(o->ends);
		buffer_fini(&o->pending);
		buffer_fini(&o->spare);
		hash_state_destroy(&o->arrival.hash);
	}
	/* Innermost first; a folder that something was published in stays, as rmdir sees to. */
	for (size_t i = state->made_count; i-- > 0;) {
		rmdir(state->made[i]);
		free(state->made[i]);
	}
	free(state->made);
	free(state);
	free(m->outputs);
	m->outputs_state = NULL;
}

/* What can be said before anything runs; the real test is the file that outputs_prepare makes. */
int manager_check_outputs(const struct graph *graph, struct dag_diag *diag)
{
	size_t errors = diag->count;

	for (size_t i = 0; i < graph->output_count; i++) {
		const struct graph_output *o = &graph->outputs[i];
		struct stat st;
		char *folder;

		if (!strcmp(o->path, "-"))
			continue;
		if (stat(o->path, &st) == 0 && !S_ISREG(st.st_mode)) {
			dag_diag_add(diag, o->place.file, o->place.line, o->place.column,
				"the output '%s' exists and is not a regular file", o->path);
			continue;
		}
		folder = folder_of(o->path);
		while (stat(folder, &st) < 0 && errno == ENOENT && strcmp(folder, "/")) {
			char *parent = folder_of(folder);

			free(folder);
			folder = parent;
		}
		if (stat(folder, &st) < 0 || !S_ISDIR(st.st_mode) || access(folder, W_OK) < 0)
			dag_diag_add(diag, o->place.file, o->place.line, o->place.column,
				"cannot write the output '%s': %s: %s", o->path, folder,
				stat(folder, &st) == 0 && !S_ISDIR(st.st_mode) ? "not a folder"
									       : strerror(errno));
		free(folder);
	}
	return diag->count > errors ? DAG_EINVAL : 0;
}
