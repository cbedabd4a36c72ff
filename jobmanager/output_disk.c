/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that outputs are written to beside their destinations: written and synced by threads of their
 * own, since both may take long. One write of an output is under way at a time.
 */
#include "output.h"
#include "os/os.h"

#include <errno.h>
#include <unistd.h>

#define CACHED_SHARE 16 /* of memory, so much of an output goes to the page cache */

struct output_file *output_file(const struct manager *m, const struct output *o)
{
	const struct graph_stage *s = m->graph->stages[o->spec->stage];

	return &o->files[o->spec->per_vertex ? o->vertex - s->first_vertex : 0];
}

bool output_begin(const struct manager *m, struct output *o)
{
	uint32_t index = o->vertex - m->graph->stages[o->spec->stage]->first_vertex;
	off_t begin = index && !o->spec->per_vertex ? o->ends[index - 1] : 0;

	o->rounds += begin == 0;
	o->synced = DAG_MIN(o->synced, begin);
	if (o->size > begin && ftruncate(output_file(m, o)->fd, begin) < 0)
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

int output_write_now(struct manager *m, struct output *o)
{
	int error = os_write_at(output_file(m, o)->fd, o->pending.data, o->pending.len, (uint64_t)o->size);

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
	if (!m->outputs_state) { /* the job is over */
		buffer_fini(&w->bytes);
		free(w);
		return;
	}
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
static bool passes_the_cache(const struct output *o)
{
	return o->on_disk && o->bytes_total >= os_memory() / CACHED_SHARE;
}

void output_write(struct manager *m, struct output *o)
{
	struct write *w = base_alloc(sizeof(*w));

	/* The file's own descriptor may be closed meanwhile, where the job ends. */
	*w = (struct write){.manager = m,
		.output = o,
		.bytes = o->pending,
		.at = o->size,
		.direct = passes_the_cache(o),
		.fd = dup(output_file(m, o)->fd)};
	count_written(o);
	o->pending = o->spare;
	o->spare = (struct buffer){0};
	o->writing = true;
	w->work.data = w;
	uv_queue_work(&m->loop, &w->work, run_write, on_written);
}

/* ---- syncing ---- */

struct sync {
	uv_work_t work;
	struct manager *manager;
	struct output *output;
	uint32_t vertex, rounds;
	off_t size;
	bool whole; /* nobody was told of the vertex yet */
	int fd, error;
};

static void run_sync(uv_work_t *work)
{
	struct sync *s = work->data;

	if (fsync(s->fd) < 0)
		s->error = errno;
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

static void on_synced(uv_work_t *work, int status)
{
	struct sync *s = work->data;
	struct output *o = s->output;
	struct manager *m = s->manager;

	(void)status;
	if (m->outputs_state)
		o->syncing = false;
	if (m->outputs_state && !m->ending && s->error && s->error != EINVAL)
		manager_abort(
			m, DAG_EIO, "cannot sync the output '%s': %s", o->spec->path, strerror(s->error));
	else if (m->outputs_state && !m->ending && s->rounds == o->rounds) {
		o->synced = s->size;
		if (s->whole)
			output_tell(m, o, true);
		else
			manager_step(m, &(struct jm_event){.kind = JM_SYNCED,
						.output = o->number,
						.vertex = s->vertex,
						.bytes = (uint64_t)s->size});
	}
	free(s);
}

void output_sync(struct manager *m, struct output *o, bool whole)
{
	struct sync *s = base_alloc(sizeof(*s));

	*s = (struct sync){.manager = m,
		.output = o,
		.vertex = o->vertex,
		.rounds = o->rounds,
		.size = o->size,
		.whole = whole,
		.fd = output_file(m, o)->fd};
	o->syncing = true;
	s->work.data = s;
	uv_queue_work(&m->loop, &s->work, run_sync, on_synced);
}
