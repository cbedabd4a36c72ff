/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies beside a destination while a job runs: its lock, and what is not published yet. Both have short
 * names, .dagrun-lock-HASH and .dagrun-JOB-HASH, with the hash of the destination's name, which may be as
 * long as the file system allows.
 *
 * All locks of a job on one file system are names of one file, on which the job holds a flock: a job needs
 * one descriptor for any number of outputs, and a dead job's locks are free at once. A file that exists is
 * never written to, and no link is followed.
 */
#include "output.h"
#include "base/hash.h"
#include "os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX ".dagrun-"
#define JOB_LEN 22u  /* 20261121-143005-k3f9xy */
#define HASH_LEN 16u /* digits */
#define NAME_MAX_LEN 100
#define TRIES 100 /* at a lock that others take and leave just then */

/* ---- names ---- */

static uint64_t hash_of(const char *path)
{
	const char *base = strrchr(path, '/') + 1;

	return hash_128(base, strlen(base)).low;
}

static char *beside(const char *path, const char *who, uint64_t hash)
{
	const char *slash = strrchr(path, '/');

	return base_format(
		"%.*s/" PREFIX "%s-%016llx", (int)(slash - path), path, who, (unsigned long long)hash);
}

char *output_temporary(const char *path, const char *job)
{
	return beside(path, job, hash_of(path));
}

char *output_temporary_of(const char *pattern, uint32_t index, const char *job)
{
	char *start = beside(pattern, job, hash_of(pattern)), *name = base_format("%s-%u", start, index);

	free(start);
	return name;
}

char *output_folder(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == path ? base_strdup("/") : base_strndup(path, (size_t)(slash - path));
}

char *output_lock_path(const char *path)
{
	return beside(path, "lock", hash_of(path));
}

/* The job and the hash of a name that a job made for what is not published yet. */
static bool parse_name(const char *name, char job[JOB_LEN + 1], uint64_t *ret_hash)
{
	const char *at = name + strlen(PREFIX);
	char *end;

	if (strncmp(name, PREFIX, strlen(PREFIX)) || strlen(at) < JOB_LEN + 1 + HASH_LEN ||
		at[JOB_LEN] != '-' || at[0] < '0' || at[0] > '9')
		return false;
	memcpy(job, at, JOB_LEN);
	job[JOB_LEN] = 0;
	at += JOB_LEN + 1;
	*ret_hash = strtoull(at, &end, 16);
	return end == at + HASH_LEN && (!*end || *end == '-');
}

/* ---- locks ---- */

/* A file that this job holds a flock on; all its locks of one file system are names of it. */
struct held_lock {
	dev_t device;
	ino_t inode;
	int fd;
	char *path; /* one of its names */
};

static char *user_name(uid_t uid)
{
	const struct passwd *entry = getpwuid(uid);

	return entry ? base_format("user %s", entry->pw_name) : base_format("user %u", (unsigned)uid);
}

static void complain(struct output *o, struct dag_diag *diag, char *text)
{
	dag_diag_add(diag, o->spec->place.file, o->spec->place.line, o->spec->place.column, "%s", text);
	free(text);
}

static int refuse_write(struct output *o, struct dag_diag *diag, const char *why)
{
	complain(o, diag, base_format("cannot write the output '%s': %s", o->path, why));
	return DAG_EIO;
}

static int refuse_foreign(struct output *o, struct dag_diag *diag)
{
	complain(o, diag,
		base_format("cannot lock the output '%s': %s is in the way, and is no lock that dagrun made; "
			    "remove it",
			o->path, o->lock_path));
	return DAG_EIO;
}

static int refuse_user(struct output *o, struct dag_diag *diag, uid_t uid)
{
	char *user = user_name(uid);

	complain(o, diag,
		base_format(
			"the lock of the output '%s' belongs to %s: a job of theirs is writing the output, "
			"or left %s behind",
			o->path, user, o->lock_path));
	free(user);
	return DAG_EBUSY;
}

static int refuse_busy(struct output *o, struct dag_diag *diag, const char *holder)
{
	complain(o, diag,
		base_format("job %s is writing the output '%s' already", *holder ? holder : "(just started)",
			o->path));
	return DAG_EBUSY;
}

static void note_held(struct manager *m, struct output *o, int fd, const struct stat *st)
{
	struct outputs_state *s = m->outputs_state;

	*DAG_APPEND(s->locks, s->lock_count, s->lock_cap) =
		(struct held_lock){st->st_dev, st->st_ino, fd, base_strdup(o->lock_path)};
	o->locked = true;
	o->lock_inode = st->st_ino;
}

/* As one more name of a lock that is held already. 0, EEXIST, or another errno: it needs a file of its own.
 */
static int lock_by_name(struct manager *m, struct output *o)
{
	struct outputs_state *s = m->outputs_state;
	char *folder = output_folder(o->lock_path);
	struct stat st;
	int r = stat(folder, &st) < 0 ? errno : ENOENT;

	for (size_t i = s->lock_count; r == ENOENT && i-- > 0;) {
		const struct held_lock *held = &s->locks[i];

		if (held->device != st.st_dev)
			continue;
		r = link(held->path, o->lock_path) == 0 ? 0 : errno;
		if (r == 0) {
			o->locked = true;
			o->lock_inode = held->inode;
		}
	}
	free(folder);
	return r;
}

/* As a file of its own. 0, EEXIST, EAGAIN: another job took it as soon as it was there; or another errno. */
static int lock_by_file(struct manager *m, struct output *o)
{
	int fd = open(o->lock_path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), r = 0;
	struct stat st, there;

	if (fd < 0)
		return errno;
	if (os_write_at(fd, m->job, strlen(m->job), 0))
		errno = 0; /* only a name for others to read */
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		r = EAGAIN;
	else if (fstat(fd, &st) < 0 || lstat(o->lock_path, &there) < 0 || st.st_ino != there.st_ino)
		r = EAGAIN;
	if (r == 0)
		note_held(m, o, fd, &st);
	else
		close(fd);
	return r;
}

/* A lock is there: EAGAIN where its job was dead, and it is gone now; else it is told. */
static int look_at_lock(struct manager *m, struct output *o, struct dag_diag *diag)
{
	char holder[NAME_MAX_LEN] = {0}, job[JOB_LEN + 1];
	struct stat st, there;
	uint64_t hash;
	char *name;
	bool ours;
	int fd, r = EAGAIN;

	if (lstat(o->lock_path, &there) < 0)
		return errno == ENOENT ? EAGAIN : refuse_write(o, diag, strerror(errno));
	if (!S_ISREG(there.st_mode))
		return refuse_foreign(o, diag);
	if (there.st_uid != geteuid())
		return refuse_user(o, diag, there.st_uid);
	for (size_t i = 0; i < m->outputs_state->lock_count; i++)
		if (m->outputs_state->locks[i].inode == there.st_ino)
			return refuse_busy(o, diag, m->job); /* two outputs of this job */
	fd = open(o->lock_path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? EAGAIN : refuse_foreign(o, diag);
	if (fstat(fd, &st) < 0 || st.st_ino != there.st_ino || pread(fd, holder, sizeof(holder) - 1, 0) < 0) {
		close(fd);
		return EAGAIN;
	}
	name = base_format(PREFIX "%s-%016x", holder, 0);
	ours = !*holder || (st.st_size == JOB_LEN && parse_name(name, job, &hash));
	free(name);
	if (!ours)
		r = refuse_foreign(o, diag);
	else if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		r = refuse_busy(o, diag, holder);
	else if (lstat(o->lock_path, &there) == 0 && there.st_ino == st.st_ino && unlink(o->lock_path) < 0)
		r = refuse_write(o, diag, strerror(errno));
	close(fd);
	return r;
}

int output_lock(struct manager *m, struct output *o, struct dag_diag *diag)
{
	int r = EAGAIN;

	o->lock_path = output_lock_path(o->path);
	for (int i = 0; i < TRIES && r == EAGAIN; i++) {
		r = lock_by_name(m, o);
		if (r && r != EEXIST)
			r = lock_by_file(m, o);
		if (r == EEXIST)
			r = look_at_lock(m, o, diag);
	}
	if (r > 0)
		r = r == EAGAIN ? refuse_busy(o, diag, "") : refuse_write(o, diag, strerror(r));
	return r;
}

void output_unlock(struct output *o)
{
	struct stat st;

	if (o->locked && lstat(o->lock_path, &st) == 0 && st.st_ino == o->lock_inode)
		unlink(o->lock_path);
	free(o->lock_path);
}

void outputs_close_locks(struct outputs_state *s)
{
	for (size_t i = 0; i < s->lock_count; i++) {
		close(s->locks[i].fd);
		free(s->locks[i].path);
	}
	free(s->locks);
}

/* ---- what jobs that died left ---- */

/* A destination of this job, by its folder and the hash of its name. */
struct target {
	char *folder;
	uint64_t hash;
	struct output *output;
};

struct sweep {
	struct manager *m;
	struct target *targets; /* sorted */
	size_t count;
	struct {
		char job[JOB_LEN + 1];
		bool decided;
	} last;
};

static int compare_targets(const void *a, const void *b)
{
	const struct target *x = a, *y = b;
	int r = strcmp(x->folder, y->folder);

	return r ? r : (x->hash > y->hash) - (x->hash < y->hash);
}

static const struct target *find_target(const struct sweep *s, size_t first, size_t end, uint64_t hash)
{
	while (first < end) {
		size_t middle = first + (end - first) / 2;

		if (s->targets[middle].hash == hash)
			return &s->targets[middle];
		if (s->targets[middle].hash < hash)
			first = middle + 1;
		else
			end = middle;
	}
	return NULL;
}

/* Its publication was cut in the midst: only it can go forward. */
static bool has_decided(struct sweep *s, const char *job)
{
	char *folder = base_format("%s/jobs/%s", s->m->state_folder, job),
	     *note = base_format("%s/" OUTPUTS_NOTE, folder);
	struct journal_saved saved = {0};
	struct dag_diag diag = {0};

	if (strcmp(s->last.job, job)) {
		memcpy(s->last.job, job, sizeof(s->last.job));
		s->last.decided = access(note, F_OK) == 0;
		if (!s->last.decided && journal_load(folder, true, &saved, &diag) == 0) {
			for (size_t i = 0; i < saved.fact_count && !s->last.decided; i++)
				s->last.decided = !strcmp(saved.facts[i], "publishing");
			for (size_t i = 0; i < saved.fact_count && s->last.decided; i++)
				s->last.decided = strcmp(saved.facts[i], "published") &&
						  strncmp(saved.facts[i], "ended", 5);
		}
		dag_diag_fini(&diag);
		journal_saved_fini(&saved);
	}
	free(folder);
	free(note);
	return s->last.decided;
}

static int sweep_folder(struct sweep *s, size_t first, size_t end, struct dag_diag *diag)
{
	DIR *dir = opendir(s->targets[first].folder);
	char job[JOB_LEN + 1];
	struct dirent *e;
	uint64_t hash;
	int r = 0;

	while (r == 0 && dir && (e = readdir(dir))) {
		const struct target *t;

		if (!parse_name(e->d_name, job, &hash) || !strcmp(job, s->m->job))
			continue;
		t = find_target(s, first, end, hash);
		if (!t)
			continue;
		if (has_decided(s, job)) {
			complain(t->output, diag,
				base_format("job %s was stopped while it published the output '%s': 'dagrun "
					    "resume %s' completes that, 'dagrun clean %s' gives it up",
					job, t->output->path, job, job));
			r = DAG_EBUSY;
		} else
			unlinkat(dirfd(dir), e->d_name, 0);
	}
	if (dir)
		closedir(dir);
	return r;
}

int outputs_sweep(struct manager *m, struct dag_diag *diag)
{
	struct sweep s = {.m = m, .targets = base_alloc((m->graph->output_count + 1) * sizeof(*s.targets))};
	int r = 0;

	for (size_t i = 0; i < m->graph->output_count; i++) {
		struct output *o = &m->outputs[i];

		if (!o->is_stream)
			s.targets[s.count++] = (struct target){output_folder(o->path), hash_of(o->path), o};
	}
	qsort(s.targets, s.count, sizeof(*s.targets), compare_targets);
	for (size_t first = 0, end; first < s.count && r == 0; first = end) {
		for (end = first + 1; end < s.count; end++)
			if (strcmp(s.targets[first].folder, s.targets[end].folder))
				break;
		r = sweep_folder(&s, first, end, diag);
	}
	for (size_t i = 0; i < s.count; i++)
		free(s.targets[i].folder);
	free(s.targets);
	return r;
}
