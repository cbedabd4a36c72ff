/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job's outputs. They come over as their vertices commit, into files beside their destinations, named
 * .NAME.dagrun-JOB; are synced; and when the intent to publish is durable they are renamed, all of them.
 * Until then nothing is visible, and whatever ends the job removes them.
 */
#include "shell.h"
#include "os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define WINDOW (8ull << 20)
#define WRITE_BUFFER (1u << 20)
#define SEGMENT_SIZE (4ull << 20)

/* One file of an output: the only one, or that of one vertex. */
struct output_file {
	char *path, *temporary;
	int fd;
};

struct output {
	const struct graph_output *spec;
	struct graph_format format;
	uint32_t number;
	bool to_stdout;
	struct output_file *files;
	uint32_t file_count;
	char *lock_path;
	int lock_fd;
	bool locked;
	/* What is being fetched: */
	uint64_t channel; /* 0: nothing */
	uint32_t vertex, attempt, node;
	off_t begin; /* of this vertex's records in the file */
	off_t size;  /* written */
	struct buffer pending;
	uint64_t records, bytes, consumed;
	struct hash_state *hash;
	uint64_t bytes_total;
};

/* Memory that fetched blocks are put into. */
struct output_segment {
	struct output_segment *next;
	uint32_t id;
	uint64_t size;
	unsigned char *base;
};

struct outputs_state {
	struct output_segment *segments;
	uint32_t last_segment;
	uint64_t last_channel;
	char **made; /* folders that were made for the job */
	size_t made_count, made_cap;
};

/* ---- files ---- */

static char *temporary_path(const struct manager *m, const char *path)
{
	const char *slash = strrchr(path, '/');

	return base_format("%.*s/.%s.dagrun-%s", (int)(slash - path), path, slash + 1, m->job);
}

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == path ? base_strdup("/") : base_strndup(path, (size_t)(slash - path));
}

static char *path_of_vertex(const char *pattern, uint32_t index)
{
	const char *at = strstr(pattern, "{index}");

	return base_format("%.*s%u%s", (int)(at - pattern), pattern, index, at + strlen("{index}"));
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

/* What a job that died left beside the destination: its lock is ours now, so it cannot live. */
static void remove_stale(struct manager *m, const struct output *o)
{
	char *folder = folder_of(o->spec->path),
	     *prefix = base_format(".%s.dagrun-", strrchr(o->spec->path, '/') + 1);
	DIR *dir = opendir(folder);
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (!strncmp(e->d_name, prefix, strlen(prefix)) &&
			strcmp(e->d_name + strlen(prefix), "lock") &&
			strcmp(e->d_name + strlen(prefix), m->job))
			unlinkat(dirfd(dir), e->d_name, 0);
	if (dir)
		closedir(dir);
	free(folder);
	free(prefix);
}

/*
 * The lock of a destination: a file beside it that its holder removes at its end. Whoever locks a file that
 * was removed meanwhile tries again, so exactly one job holds it.
 */
static int lock_output(struct manager *m, struct output *o, struct dag_diag *diag)
{
	const char *slash = strrchr(o->spec->path, '/');
	struct stat held, there;
	char holder[64] = {0};

	o->lock_path =
		base_format("%.*s/.%s.dagrun-lock", (int)(slash - o->spec->path), o->spec->path, slash + 1);
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
			remove_stale(m, o);
			return 0;
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

static int open_temporary(const struct manager *m, struct output_file *f)
{
	struct stat st;
	mode_t mode = 0666;

	if (stat(f->path, &st) == 0)
		mode = st.st_mode & 0777;
	f->temporary = temporary_path(m, f->path);
	f->fd = open(f->temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	return f->fd < 0 ? DAG_EIO : 0;
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
		o->files[i].path =
			o->spec->per_vertex ? path_of_vertex(o->spec->path, i) : base_strdup(o->spec->path);
	if (stat(o->files[0].path, &st) == 0 && !S_ISREG(st.st_mode)) {
		dag_diag_add(diag, o->spec->place.file, o->spec->place.line, o->spec->place.column,
			"the output '%s' exists and is not a regular file", o->files[0].path);
		return DAG_EIO;
	}
	r = lock_output(m, o, diag);
	if (r == 0 && !o->spec->per_vertex) {
		r = open_temporary(m, &o->files[0]);
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

/* ---- fetching ---- */

static void tell_failed(struct manager *m, struct output *o, int error, const char *text)
{
	struct jm_event event = {.kind = JM_FETCH_FAILED,
		.output = o->number,
		.vertex = o->vertex,
		.attempt = o->attempt,
		.error = error,
		.text = text};

	data_stop(m->data, o->channel);
	o->channel = 0;
	manager_step(m, &event);
}

static struct output_file *file_of(const struct manager *m, struct output *o)
{
	const struct graph_stage *s = m->graph->stages[o->spec->stage];

	return &o->files[o->spec->per_vertex ? o->vertex - s->first_vertex : 0];
}

void outputs_fetch(struct manager *m, const struct jm_effect *e)
{
	struct output *o = &m->outputs[e->output];
	struct node *node = nodes_find(m, e->node);
	struct data_open open = {
		.vertex = e->vertex, .attempt = e->attempt, .stream = o->spec->stream, .credit = WINDOW};
	struct output_file *f;

	o->vertex = e->vertex;
	o->attempt = e->attempt;
	o->node = e->node;
	o->records = o->bytes = o->consumed = 0;
	o->pending.len = 0;
	f = file_of(m, o);
	if (f->fd < 0 && open_temporary(m, f) < 0) {
		char *text = base_format("cannot write %s: %s", f->path, strerror(errno));

		tell_failed(m, o, DAG_EIO, text);
		free(text);
		return;
	}
	o->begin = o->spec->per_vertex ? 0 : o->size;
	o->size = o->begin;
	if (!o->hash)
		o->hash = hash_state_new();
	hash_state_reset(o->hash);
	if (!node) {
		tell_failed(m, o, DAG_EUNREACHABLE, "its node is gone");
		return;
	}
	o->channel = ++m->outputs_state->last_channel;
	strcpy(open.job, m->job);
	data_fetch(m->data, o->channel, node->data, &open);
}

static int flush_pending(struct manager *m, struct output *o)
{
	const struct output_file *f = file_of(m, o);
	size_t at = 0;

	while (at < o->pending.len) {
		ssize_t n = pwrite(f->fd, o->pending.data + at, o->pending.len - at, o->size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ENOSPC || errno == EDQUOT ? DAG_ENOSPC : DAG_EIO;
		at += (size_t)n;
		o->size += n;
	}
	o->bytes_total += o->pending.len;
	o->pending.len = 0;
	return 0;
}

/* A block's records as the file shall have them. */
static int put_records(struct manager *m, struct output *o, const unsigned char *at, const unsigned char *end)
{
	bool kv = o->format.kind == DAG_FORMAT_KV, text = kv || o->format.kind == DAG_FORMAT_LINES;

	while (at < end) {
		uint32_t lens[2] = {0, 0};
		size_t head = kv ? 8 : 4, key_len, len;

		if ((size_t)(end - at) < head)
			return DAG_ECORRUPT;
		memcpy(lens, at, head);
		key_len = kv ? lens[0] : 0;
		len = kv ? lens[1] : lens[0];
		if (key_len + len > (size_t)(end - at) - head)
			return DAG_ECORRUPT;
		at += head;
		if (text && (memchr(at + key_len, '\n', len) ||
				    (key_len && (memchr(at, '\n', key_len) || memchr(at, '\t', key_len)))))
			return DAG_EFORMAT;
		if (kv) {
			buffer_append(&o->pending, at, key_len);
			buffer_append(&o->pending, "\t", 1);
		}
		buffer_append(&o->pending, at + key_len, len);
		if (text)
			buffer_append(&o->pending, "\n", 1);
		at += key_len + len;
		if (o->pending.len >= WRITE_BUFFER) {
			int r = flush_pending(m, o);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

static struct output_segment *find_segment(struct manager *m, uint32_t id)
{
	struct output_segment *s = m->outputs_state->segments;

	while (s && s->id != id)
		s = s->next;
	return s;
}

static void give_segment(struct manager *m, uint64_t bytes)
{
	struct outputs_state *state = m->outputs_state;
	struct output_segment *s = base_alloc(sizeof(*s));

	s->id = ++state->last_segment;
	s->size = DAG_MAX(bytes, SEGMENT_SIZE);
	s->base = base_alloc(s->size);
	s->next = state->segments;
	state->segments = s;
	data_give_segment(m->data, s->id, s->base, s->size);
}

/* Blocks are written when they are told of, so a full segment has been read. */
static void free_segment(struct manager *m, uint32_t id)
{
	for (struct output_segment **at = &m->outputs_state->segments; *at; at = &(*at)->next)
		if ((*at)->id == id) {
			struct output_segment *s = *at;

			*at = s->next;
			free(s->base);
			free(s);
			return;
		}
}

static void write_failed(struct manager *m, struct output *o, int r)
{
	char *text;

	if (r == DAG_EFORMAT)
		text = base_format("the output '%s': a record has a line feed in it, or a tab in its key, "
				   "and could not be told from "
				   "two",
			o->spec->path);
	else if (r == DAG_ECORRUPT)
		text = base_strdup("what was fetched is damaged");
	else
		text = base_format("cannot write the output '%s': %s", o->spec->path,
			strerror(r == DAG_ENOSPC ? ENOSPC : errno));
	tell_failed(m, o, r, text);
	free(text);
}

static void on_block(struct manager *m, struct output *o, const struct block_ref *ref)
{
	const struct output_segment *s = find_segment(m, ref->segment);
	const unsigned char *data = s->base + ref->offset;
	int r;

	hash_state_update(o->hash, data, ref->length);
	o->records += ref->records;
	o->bytes += ref->length;
	r = put_records(m, o, data, data + ref->length);
	if (r < 0) {
		write_failed(m, o, r);
		return;
	}
	data_consumed(m->data, o->channel, o->bytes);
}

struct sync {
	uv_work_t work;
	struct manager *manager;
	struct output *output;
	int fd, error;
};

static void sync_file(uv_work_t *work)
{
	struct sync *s = work->data;

	if (fsync(s->fd) < 0)
		s->error = errno;
}

static void on_synced(uv_work_t *work, int status)
{
	struct sync *s = work->data;
	struct output *o = s->output;
	struct manager *m = s->manager;

	(void)status;
	if (s->error && s->error != EINVAL && !m->ending)
		manager_abort(
			m, DAG_EIO, "cannot sync the output '%s': %s", o->spec->path, strerror(s->error));
	else if (!m->ending)
		manager_step(m, &(struct jm_event){.kind = JM_FETCHED,
					.output = o->number,
					.vertex = o->vertex,
					.attempt = o->attempt});
	free(s);
}

static void on_end(struct manager *m, struct output *o, const struct data_event *event)
{
	const struct graph_stage *stage = m->graph->stages[o->spec->stage];
	int r = flush_pending(m, o);
	struct sync *s;
	bool last = o->vertex + 1 == stage->first_vertex + stage->width;

	if (r < 0) {
		write_failed(m, o, r);
		return;
	}
	if (event->checked && (o->records != event->end.records || o->bytes != event->end.bytes ||
				      !hash_equal(hash_state_digest(o->hash), event->end.hash))) {
		if (ftruncate(file_of(m, o)->fd, o->begin) < 0)
			errno = 0;
		o->size = o->begin;
		write_failed(m, o, DAG_ECORRUPT);
		return;
	}
	data_stop(m->data, o->channel);
	o->channel = 0;
	/* Synced before it is told: the intent to publish comes after the last of these. */
	if (o->to_stdout || (!o->spec->per_vertex && !last)) {
		manager_step(m, &(struct jm_event){.kind = JM_FETCHED,
					.output = o->number,
					.vertex = o->vertex,
					.attempt = o->attempt});
		return;
	}
	s = base_alloc(sizeof(*s));
	*s = (struct sync){.manager = m, .output = o, .fd = file_of(m, o)->fd};
	s->work.data = s;
	uv_queue_work(&m->loop, &s->work, sync_file, on_synced);
}

void outputs_on_data(void *ctx, const struct data_event *event)
{
	struct manager *m = ctx;
	struct output *o = NULL;

	for (size_t i = 0; i < m->graph->output_count; i++)
		if (m->outputs[i].channel && m->outputs[i].channel == event->channel)
			o = &m->outputs[i];
	if (event->kind == DATA_NEED_SEGMENT)
		give_segment(m, event->bytes);
	else if (event->kind == DATA_SEGMENT_FULL)
		free_segment(m, event->ref.segment);
	else if (!o)
		;
	else if (event->kind == DATA_BLOCK)
		on_block(m, o, &event->ref);
	else if (event->kind == DATA_END)
		on_end(m, o, event);
	else if (event->kind == DATA_FAILED)
		tell_failed(m, o, event->error == DAG_ENOSPC ? DAG_EMISSING : event->error, event->text);
	free(event->text);
}

void outputs_node_gone(struct manager *m, uint32_t node)
{
	for (size_t i = 0; i < m->graph->output_count; i++)
		if (m->outputs[i].channel && m->outputs[i].node == node)
			tell_failed(m, &m->outputs[i], DAG_EUNREACHABLE, "its node is gone");
}

uint64_t outputs_bytes(const struct manager *m)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < m->graph->output_count; i++)
		bytes += m->outputs[i].bytes_total;
	return bytes;
}

/* ---- publication ---- */

struct publication {
	uv_work_t work;
	struct manager *manager;
	char *error;
};

static char *copy_to_stdout(int fd)
{
	char *buf = base_alloc(WRITE_BUFFER);
	char *error = NULL;
	off_t at = 0;
	ssize_t n;

	while (!error && (n = pread(fd, buf, WRITE_BUFFER, at)) > 0) {
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

	for (size_t i = 0; i < m->graph->output_count && !p->error; i++) {
		struct output *o = &m->outputs[i];

		for (uint32_t j = 0; j < o->file_count && !p->error && !o->to_stdout; j++) {
			struct output_file *f = &o->files[j];

			if (rename(f->temporary, f->path) < 0)
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
		buffer_fini(&o->pending);
		hash_state_destroy(&o->hash);
	}
	/* Innermost first; a folder that something was published in stays, as rmdir sees to. */
	for (size_t i = state->made_count; i-- > 0;) {
		rmdir(state->made[i]);
		free(state->made[i]);
	}
	while (state->segments)
		free_segment(m, state->segments->id);
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
