/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that outputs are written to beside their destinations: written and synced by threads of their
 * own, since both may take long. One write of an output is under way at a time.
 */
#include "output.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHED_SHARE 16 /* of memory, so much of an output goes to the page cache */

struct output_file *output_file(const struct manager *m, const struct output *o)
{
	const struct graph_stage *s = m->graph->stages[o->spec->stage];

	return &o->files[o->spec->per_vertex ? o->vertex - s->first_vertex : 0];
}

/* ---- open files: of so many outputs at a time as there are descriptors for ---- */

static bool is_idle(const struct output *o)
{
	return !o->channel && !o->ended && !o->writing && !o->syncing && !o->held;
}

static int make_room(struct manager *m)
{
	struct outputs_state *s = m->outputs_state;

	for (size_t i = 0; i < s->open_count && s->open_count >= s->open_max; i++)
		if (is_idle(s->open[i]))
			output_close(m, s->open[i]);
	return s->open_count < s->open_max ? 0 : DAG_ELIMIT;
}

/* As an earlier fetch left it, unless somebody put another file there. */
static int open_made(struct output *o, const struct output_file *f)
{
	struct stat st;

	o->fd = open(f->temporary, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (o->fd < 0 || (fstat(o->fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_ino == f->inode))
		return o->fd < 0 ? DAG_EIO : 0;
	close(o->fd);
	o->fd = -1;
	errno = ESTALE;
	return DAG_EIO;
}

char *output_file_temporary(const struct manager *m, const struct output *o, uint32_t index)
{
	const struct output_file *f = &o->files[index];
	char *plain;

	if (o->is_stream)
		return base_format("%s/stream-%u", m->job_folder, o->number);
	if (!o->spec->per_vertex)
		return output_temporary(f->path, m->job);
	/* That of a link lies in another folder, perhaps. */
	plain = output_path_of_vertex(o, index);
	if (strcmp(plain, f->path)) {
		free(plain);
		return output_temporary(f->path, m->job);
	}
	free(plain);
	return output_temporary_of(o->path, index, m->job);
}

/* It gets the mode of what it will replace, at the end: until then it must be readable and writable. */
static int make_file(const struct manager *m, struct output *o, struct output_file *f)
{
	char *path = output_file_temporary(m, o, (uint32_t)(f - o->files));
	struct stat st;
	bool exists = !o->is_stream && stat(f->path, &st) == 0;
	mode_t mode = exists ? st.st_mode & 0777 : o->is_stream ? 0600 : 0666;

	unlink(path); /* an earlier run of this job may have begun it */
	o->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode | 0600);
	if (o->fd < 0 || fstat(o->fd, &st) < 0 || (exists && fchmod(o->fd, mode | 0600) < 0)) {
		int error = errno;

		if (o->fd >= 0) {
			close(o->fd);
			unlink(path);
		}
		o->fd = -1;
		free(path);
		errno = error;
		return DAG_EIO;
	}
	f->temporary = path;
	f->inode = st.st_ino;
	f->mode = exists && (mode & 0600) != 0600 ? mode : 0;
	return 0;
}

int output_open(struct manager *m, struct output *o)
{
	struct outputs_state *s = m->outputs_state;
	struct output_file *f = output_file(m, o);
	int r;

	if (o->fd >= 0 && o->open_file == (uint32_t)(f - o->files))
		return 0;
	output_close(m, o);
	if (make_room(m) < 0)
		return DAG_ELIMIT;
	r = f->temporary ? open_made(o, f) : make_file(m, o, f);
	if (r < 0)
		return r;
	o->open_file = (uint32_t)(f - o->files);
	s->open[s->open_count++] = o;
	return 0;
}

void output_close(struct manager *m, struct output *o)
{
	struct outputs_state *s = m->outputs_state;

	if (o->fd < 0)
		return;
	close(o->fd);
	o->fd = -1;
	for (size_t i = 0; i < s->open_count; i++)
		if (s->open[i] == o)
			s->open[i] = s->open[--s->open_count];
}

bool output_begin(const struct manager *m, struct output *o)
{
	uint32_t index = o->vertex - m->graph->stages[o->spec->stage]->first_vertex;
	off_t begin = index && !o->spec->per_vertex ? o->ends[index - 1] : 0;

	o->rounds += begin == 0;
	o->synced = DAG_MIN(o->synced, begin);
	if (o->size > begin && ftruncate(o->fd, begin) < 0)
		return false;
	o->size = begin;
	return true;
}

/* ---- writing ---- */

struct write {
	uv_work_t work;
	struct manager *manager;
	struct output *output;
	struct buffer bytes;
	off_t at;
	bool direct;
	int fd, error; /* fd: its own */
};

static int code_of(int error)
{
	return !error ? 0 : error == ENOSPC || error == EDQUOT ? DAG_ENOSPC : DAG_EIO;
}

static void count_written(struct output *o)
{
	o->size += (off_t)o->pending.len;
	o->bytes_total += o->pending.len;
	o->pending.len = 0;
}

int output_write_now(struct output *o)
{
	int error = os_write_at(o->fd, o->pending.data, o->pending.len, (uint64_t)o->size);

	count_written(o);
	errno = error;
	return code_of(error);
}

static void run_write(uv_work_t *work)
{
	struct write *w = work->data;
	int (*write_at)(int fd, const void *data, size_t len, uint64_t at) =
		w->direct ? os_write_direct : os_write_at;

	w->error = w->fd < 0 ? EMFILE : write_at(w->fd, w->bytes.data, w->bytes.len, (uint64_t)w->at);
}

static void on_written(uv_work_t *work, int status)
{
	struct write *w = work->data;
	struct manager *m = w->manager;
	struct output *o = w->output;

	(void)status;
	if (w->fd >= 0)
		close(w->fd);
	m->outputs_state->workers--;
	o->writing = false;
	buffer_fini(&o->spare);
	o->spare = w->bytes;
	o->spare.len = 0;
	if (!m->ending)
		outputs_on_written(m, o, code_of(w->error), w->error);
	free(w);
}

/*
 * Most outputs are read soon, and stay in the page cache. One that is not small beside the machine's memory
 * would push out of it what the job itself reads; and its fresh pages cost several times what the disk does.
 */
static bool passes_the_cache(const struct manager *m, const struct output *o)
{
	return o->bytes_total >= m->memory / CACHED_SHARE && os_is_on_disk(o->fd) &&
	       !os_is_network_fs(o->files[o->open_file].temporary);
}

void output_write(struct manager *m, struct output *o)
{
	struct write *w = base_alloc(sizeof(*w));

	/* The file's own descriptor may be closed meanwhile, where the job ends. */
	*w = (struct write){.manager = m,
		.output = o,
		.bytes = o->pending,
		.at = o->size,
		.direct = passes_the_cache(m, o),
		.fd = dup(o->fd)};
	count_written(o);
	o->pending = o->spare;
	o->spare = (struct buffer){0};
	o->writing = true;
	m->outputs_state->workers++;
	w->work.data = w;
	uv_queue_work(&m->loop, &w->work, run_write, on_written);
}

/* ---- syncing ---- */

#define SYNC_WORKERS 3u /* the other thread of libuv's writes meanwhile */

/* Files that wait to be synced are taken all together: the disk has them all before the first is waited for,
 * and a file system's journal is written once for them. */
struct sync {
	struct sync *next;
	struct output *output;
	uint32_t vertex, rounds;
	off_t size;
	bool whole;    /* nobody was told of the vertex yet */
	int fd, error; /* fd: its own */
};

struct sync_batch {
	uv_work_t work;
	struct manager *manager;
	struct sync *first;
};

static void run_batch(uv_work_t *work)
{
	struct sync_batch *b = work->data;

	for (struct sync *s = b->first; s && b->first->next; s = s->next)
		if (sync_file_range(s->fd, 0, 0, SYNC_FILE_RANGE_WRITE) < 0)
			errno = 0; /* then fsync alone does it */
	for (struct sync *s = b->first; s; s = s->next)
		if (s->fd < 0 || fsync(s->fd) < 0)
			s->error = s->fd < 0 ? EMFILE : errno;
}

void output_tell(struct manager *m, const struct output *o, bool synced)
{
	manager_step(m, &(struct jm_event){.kind = JM_FETCHED,
				.output = o->number,
				.vertex = o->vertex,
				.attempt = o->attempt,
				.flag = synced,
				.bytes = (uint64_t)o->size});
}

static void on_synced(struct manager *m, const struct sync *s)
{
	struct output *o = s->output;

	o->syncing = false;
	if (m->ending)
		return;
	if (s->error && s->error != EINVAL)
		manager_abort(
			m, DAG_EIO, "cannot sync the output '%s': %s", o->spec->path, strerror(s->error));
	else if (s->rounds == o->rounds) {
		o->synced = s->size;
		if (s->whole) {
			output_close(m, o);
			if (m->graph->output_count > m->outputs_state->open_max)
				buffer_fini(&o->spare); /* its memory is of no use to the others */
			output_tell(m, o, true);
		} else
			manager_step(m, &(struct jm_event){.kind = JM_SYNCED,
						.output = o->number,
						.vertex = s->vertex,
						.bytes = (uint64_t)s->size});
	}
	outputs_go_on(m);
}

static void begin_batch(struct manager *m);

static void on_batch(uv_work_t *work, int status)
{
	struct sync_batch *b = work->data;
	struct manager *m = b->manager;

	(void)status;
	m->outputs_state->workers--;
	m->outputs_state->sync_workers--;
	while (b->first) {
		struct sync *s = b->first;

		b->first = s->next;
		if (s->fd >= 0)
			close(s->fd);
		on_synced(m, s);
		free(s);
	}
	free(b);
	begin_batch(m);
}

static void begin_batch(struct manager *m)
{
	struct outputs_state *state = m->outputs_state;
	struct sync_batch *b;

	if (!state->syncs || state->sync_workers == SYNC_WORKERS)
		return;
	b = base_alloc(sizeof(*b));
	b->manager = m;
	b->first = state->syncs;
	b->work.data = b;
	state->syncs = NULL;
	state->sync_workers++;
	state->workers++;
	uv_queue_work(&m->loop, &b->work, run_batch, on_batch);
}

void output_sync(struct manager *m, struct output *o, bool whole)
{
	struct sync *s = base_alloc(sizeof(*s));

	*s = (struct sync){.next = m->outputs_state->syncs,
		.output = o,
		.vertex = o->vertex,
		.rounds = o->rounds,
		.size = o->size,
		.whole = whole,
		.fd = dup(o->fd)};
	o->syncing = true;
	m->outputs_state->syncs = s;
	begin_batch(m);
}
