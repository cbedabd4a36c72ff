/* SPDX-License-Identifier: Apache-2.0 */
/* A queue to the thread, a queue back to the loop. The thread begins with the first thing to do. */
#include "disk.h"
#include "os/os.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

struct disk_job {
	struct disk_job *next;
	disk_run_fn *run;
	disk_done_fn *done;
	void *ctx;
};

struct disk_queue {
	struct disk_job *first, **last;
};

struct disk {
	uv_async_t async;
	pthread_t thread;
	bool running; /* there is a thread */
	pthread_mutex_t lock;
	pthread_cond_t more;
	/* Under the lock: */
	struct disk_queue to_do, done;
	bool stop;
};

static void put(struct disk_queue *q, struct disk_job *job)
{
	job->next = NULL;
	*q->last = job;
	q->last = &job->next;
}

static struct disk_job *take_all(struct disk_queue *q)
{
	struct disk_job *all = q->first;

	q->first = NULL;
	q->last = &q->first;
	return all;
}

static void *run_thread(void *ctx)
{
	struct disk *d = ctx;

	pthread_mutex_lock(&d->lock);
	while (!d->stop || d->to_do.first) {
		struct disk_job *job = d->to_do.first;

		if (!job) {
			pthread_cond_wait(&d->more, &d->lock);
			continue;
		}
		d->to_do.first = job->next;
		if (!job->next)
			d->to_do.last = &d->to_do.first;
		pthread_mutex_unlock(&d->lock);
		job->run(job->ctx);
		pthread_mutex_lock(&d->lock);
		put(&d->done, job);
		if (!d->stop)
			uv_async_send(&d->async);
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

static void finish(struct disk_job *jobs, bool abandoned)
{
	while (jobs) {
		struct disk_job *next = jobs->next;

		if (jobs->done)
			jobs->done(jobs->ctx, abandoned);
		free(jobs);
		jobs = next;
	}
}

static void on_done(uv_async_t *async)
{
	struct disk *d = async->data;
	struct disk_job *jobs;

	pthread_mutex_lock(&d->lock);
	jobs = take_all(&d->done);
	pthread_mutex_unlock(&d->lock);
	finish(jobs, false);
}

void disk_new(uv_loop_t *loop, struct disk **ret_disk)
{
	struct disk *d = base_alloc(sizeof(*d));

	d->to_do.last = &d->to_do.first;
	d->done.last = &d->done.first;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->more, NULL);
	uv_async_init(loop, &d->async, on_done);
	d->async.data = d;
	*ret_disk = d;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void disk_destroy(struct disk **disk)
{
	struct disk *d = *disk;

	if (!d)
		return;
	pthread_mutex_lock(&d->lock);
	d->stop = true;
	pthread_cond_signal(&d->more);
	pthread_mutex_unlock(&d->lock);
	if (d->running)
		pthread_join(d->thread, NULL);
	finish(take_all(&d->done), true);
	pthread_mutex_destroy(&d->lock);
	pthread_cond_destroy(&d->more);
	uv_close((uv_handle_t *)&d->async, on_closed);
	*disk = NULL;
}

void disk_do(struct disk *d, disk_run_fn *run, disk_done_fn *done, void *ctx)
{
	struct disk_job *job;

	if (!d) {
		run(ctx);
		if (done)
			done(ctx, false);
		return;
	}
	job = base_alloc(sizeof(*job));
	*job = (struct disk_job){.run = run, .done = done, .ctx = ctx};
	if (!d->running)
		d->running = pthread_create(&d->thread, NULL, run_thread, d) == 0;
	if (!d->running)
		run(ctx);
	pthread_mutex_lock(&d->lock);
	put(d->running ? &d->to_do : &d->done, job);
	pthread_cond_signal(&d->more);
	pthread_mutex_unlock(&d->lock);
	if (!d->running)
		uv_async_send(&d->async);
}

static void free_ctx(void *ctx, bool abandoned)
{
	(void)abandoned;
	free(ctx);
}

static void remove_tree(void *ctx)
{
	os_remove_tree(ctx);
}

void disk_remove_tree(struct disk *d, const char *path)
{
	disk_do(d, remove_tree, free_ctx, base_strdup(path));
}

struct removal {
	int folder;
	char name[];
};

static void run_removal(void *ctx)
{
	struct removal *r = ctx;

	unlinkat(r->folder, r->name, 0);
}

void disk_unlink(struct disk *d, int folder, const char *name)
{
	struct removal *r = base_alloc(sizeof(*r) + strlen(name) + 1);

	r->folder = folder;
	memcpy(r->name, name, strlen(name) + 1);
	disk_do(d, run_removal, free_ctx, r);
}

struct forgetting {
	int fd;
	uint64_t offset, length;
};

static void run_forgetting(void *ctx)
{
	struct forgetting *f = ctx;

	posix_fadvise(f->fd, (off_t)f->offset, (off_t)f->length, POSIX_FADV_DONTNEED);
	close(f->fd);
}

void disk_forget_pages(struct disk *d, int fd, uint64_t offset, uint64_t length)
{
	struct forgetting *f;

	fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return; /* they go with the file */
	f = base_alloc(sizeof(*f));
	*f = (struct forgetting){fd, offset, length};
	disk_do(d, run_forgetting, free_ctx, f);
}
