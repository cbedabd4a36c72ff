/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A step is undone where a later one fails. The kernel exchanges two names at once where the file system can;
 * elsewhere the earlier file gets a third name first. Which of the two a name means is told by the number of
 * the inode, which outlives a crash.
 */
#include "exchange.h"
#include "base/buffer.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES 8 /* while somebody else makes and removes the destination */
#define NOTE_MAX (256u << 20)
#define NOTE_END "end"

void exchange_add(struct exchange *x, const char *path, const char *temporary)
{
	*DAG_APPEND(x->files, x->count, x->cap) =
		(struct exchange_file){.path = base_strdup(path), .temporary = base_strdup(temporary)};
}

void exchange_fini(struct exchange *x)
{
	for (size_t i = 0; i < x->count; i++) {
		free(x->files[i].path);
		free(x->files[i].temporary);
	}
	free(x->files);
	*x = (struct exchange){0};
}

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == path ? base_strdup("/") : base_strndup(path, (size_t)(slash - path));
}

/* 0 where nothing has that name. */
static uint64_t inode_of(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

/* ---- before anything is changed ---- */

static bool is_mount(const char *path)
{
	struct statx st;

	return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, 0, &st) == 0 &&
	       (st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

static char *folder_obstacle(const char *folder)
{
	return access(folder, W_OK | X_OK) < 0 ? base_format("%s: %s", folder, strerror(errno)) : NULL;
}

static char *file_obstacle(const char *path, const char *folder)
{
	struct stat there, above;

	if (lstat(path, &there) < 0)
		return errno == ENOENT ? NULL : base_strdup(strerror(errno));
	if (!S_ISREG(there.st_mode))
		return base_strdup("it exists and is not a regular file");
	if (is_mount(path))
		return base_strdup("it is a mount point, which cannot be replaced");
	if (stat(folder, &above) == 0 && (above.st_mode & S_ISVTX) && geteuid() &&
		there.st_uid != geteuid() && above.st_uid != geteuid())
		return base_format("it belongs to user %u, and its folder lets only the owner replace it",
			(unsigned)there.st_uid);
	return access(path, W_OK) < 0 && errno == EPERM ? base_strdup("it is immutable") : NULL;
}

char *exchange_obstacle(const char *path)
{
	char *folder = folder_of(path), *error = folder_obstacle(folder);

	if (!error)
		error = file_obstacle(path, folder);
	free(folder);
	return error;
}

static char *cannot(const struct exchange_file *f, const char *why)
{
	return base_format("cannot publish %s: %s", f->path, why);
}

static char *prepare(struct exchange_file *f, const char *folder)
{
	char *obstacle, *error;
	struct stat st;

	if (f->inode && inode_of(f->path) == f->inode)
		return NULL; /* an earlier run gave it its name */
	if (lstat(f->temporary, &st) < 0)
		return cannot(f, errno == ENOENT ? "what was written of it is gone" : strerror(errno));
	if (!S_ISREG(st.st_mode) || (f->inode && f->inode != (uint64_t)st.st_ino))
		return cannot(f, "somebody replaced what was written of it");
	f->inode = (uint64_t)st.st_ino;
	obstacle = file_obstacle(f->path, folder);
	error = obstacle ? cannot(f, obstacle) : NULL;
	free(obstacle);
	return error;
}

/* Files of one folder mostly lie together. */
char *exchange_prepare(struct exchange *x)
{
	char *before = NULL, *error = NULL, *obstacle;

	for (size_t i = 0; i < x->count && !error; i++) {
		char *folder = folder_of(x->files[i].path);

		if (!before || strcmp(before, folder)) {
			obstacle = folder_obstacle(folder);
			error = obstacle ? cannot(&x->files[i], obstacle) : NULL;
			free(obstacle);
		}
		free(before);
		before = folder;
		if (!error)
			error = prepare(&x->files[i], folder);
	}
	free(before);
	return error;
}

/* ---- the note ---- */

char *exchange_note(const struct exchange *x, const char *note)
{
	char *fresh = base_format("%s.new", note), *error = NULL, *folder = folder_of(note);
	int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600), wrong;
	struct buffer b = {0};

	for (size_t i = 0; i < x->count; i++) {
		buffer_format(&b, "%llu", (unsigned long long)x->files[i].inode);
		buffer_append(&b, "", 1);
		buffer_append(&b, x->files[i].path, strlen(x->files[i].path) + 1);
		buffer_append(&b, x->files[i].temporary, strlen(x->files[i].temporary) + 1);
	}
	buffer_append(&b, NOTE_END, sizeof(NOTE_END));
	wrong = fd < 0 ? errno : os_write_at(fd, b.data, b.len, 0);
	if (!wrong && (fsync(fd) < 0 || rename(fresh, note) < 0 || os_sync_path(folder) < 0))
		wrong = errno;
	if (wrong)
		error = base_format("cannot write %s: %s", note, strerror(wrong));
	if (fd >= 0)
		close(fd);
	buffer_fini(&b);
	free(folder);
	free(fresh);
	return error;
}

/* The next word, each of which ends with a zero; NULL after the last. */
static const char *next_word(const char **at, const char *end)
{
	const char *word = *at;
	size_t len = strnlen(word, (size_t)(end - word));

	if (word + len == end)
		return NULL;
	*at = word + len + 1;
	return word;
}

static bool parse_note(struct exchange *x, const char *at, const char *end)
{
	for (;;) {
		const char *inode = next_word(&at, end), *path, *temporary;

		if (inode && !strcmp(inode, NOTE_END))
			return at == end;
		path = inode ? next_word(&at, end) : NULL;
		temporary = path ? next_word(&at, end) : NULL;
		if (!temporary || *path != '/' || *temporary != '/')
			return false;
		exchange_add(x, path, temporary);
		x->files[x->count - 1].inode = strtoull(inode, NULL, 10);
	}
}

bool exchange_read(struct exchange *x, const char *note)
{
	int fd = open(note, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct buffer b = {0};
	struct stat st;
	ssize_t n = 0;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size && st.st_size <= NOTE_MAX) {
		buffer_extend(&b, (size_t)st.st_size);
		n = pread(fd, b.data, b.len, 0);
	}
	if (fd >= 0)
		close(fd);
	if (n <= 0 || (size_t)n != b.len || !parse_note(x, (char *)b.data, (char *)b.data + b.len))
		exchange_fini(x);
	buffer_fini(&b);
	x->noted = x->count > 0;
	return x->noted;
}

/* ---- the step, and back ---- */

/* The file system does not know that way of renaming. */
static bool is_unknown(int error)
{
	return error == EINVAL || error == ENOSYS || error == EOPNOTSUPP;
}

static char *aside_of(const struct exchange_file *f)
{
	return base_format("%s-old", f->temporary);
}

/* The earlier file keeps a third name; where there are no hard links, nothing has its own for a moment. */
static int replace(const struct exchange_file *f)
{
	char *aside = aside_of(f);
	bool linked;
	int r = 0;

	unlink(aside);
	linked = link(f->path, aside) == 0;
	if (!linked && rename(f->path, aside) < 0)
		r = errno;
	else if (rename(f->temporary, f->path) < 0) {
		r = errno;
		if (linked) /* to rename one name of a file to another does nothing */
			unlink(aside);
		else
			rename(aside, f->path);
	}
	free(aside);
	return r;
}

/* Where nothing has the name. EEXIST. */
static int place(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (!is_unknown(errno))
		return errno;
	if (inode_of(to))
		return EEXIST;
	return rename(from, to) == 0 ? 0 : errno;
}

/* An errno. */
static int put(struct exchange_file *f)
{
	int r = 0;

	if (inode_of(f->path) == f->inode)
		return 0;
	for (int i = 0; i < TRIES; i++) {
		struct stat st;

		f->new_name = lstat(f->path, &st) < 0;
		if (f->new_name)
			r = errno == ENOENT ? place(f->temporary, f->path) : errno;
		else if (!S_ISREG(st.st_mode))
			return EISDIR;
		else if (renameat2(AT_FDCWD, f->temporary, AT_FDCWD, f->path, RENAME_EXCHANGE) == 0)
			r = 0;
		else
			r = is_unknown(errno) ? replace(f) : errno;
		/* Somebody made or removed it just now; where what is new is gone, so it stays. */
		if ((r != EEXIST && r != ENOENT) || !inode_of(f->temporary))
			break;
	}
	return r;
}

/* An errno. */
static int put_back(const struct exchange_file *f)
{
	char *aside = aside_of(f);
	int r = 0;

	if (inode_of(f->path) != f->inode) {
		/* It may have been cut between the two steps. */
		if (inode_of(aside) && inode_of(aside) == inode_of(f->path))
			unlink(aside);
		else if (inode_of(aside))
			r = place(aside, f->path);
	} else if (inode_of(aside)) {
		if (rename(f->path, f->temporary) < 0 || rename(aside, f->path) < 0)
			r = errno;
	} else if (inode_of(f->temporary)) {
		if (renameat2(AT_FDCWD, f->temporary, AT_FDCWD, f->path, RENAME_EXCHANGE) < 0)
			r = errno;
	} else
		r = place(f->path, f->temporary);
	free(aside);
	return r;
}

bool exchange_undo(struct exchange *x)
{
	bool all = true;

	for (size_t i = x->count; i-- > 0;)
		all = put_back(&x->files[i]) == 0 && all;
	return all;
}

/* Each folder once: files of one lie together. */
static char *sync_folders(const struct exchange *x)
{
	char *before = NULL, *error = NULL;

	for (size_t i = 0; i < x->count && !error; i++) {
		char *folder = folder_of(x->files[i].path);

		if (!before || strcmp(before, folder)) {
			/* Some file systems know no syncing of folders. */
			if (os_sync_path(folder) < 0 && errno != EINVAL && errno != EACCES)
				error = base_format("cannot sync the folder %s: %s", folder, strerror(errno));
			free(before);
			before = folder;
		} else
			free(folder);
	}
	free(before);
	return error;
}

char *exchange_all(struct exchange *x)
{
	char *error = NULL, *more;

	for (size_t i = 0; i < x->count && !error; i++) {
		int r = put(&x->files[i]);

		if (r)
			error = cannot(&x->files[i], r == EISDIR ? "it is not a regular file" : strerror(r));
	}
	if (!error)
		error = sync_folders(x);
	if (error && !exchange_undo(x)) {
		more = base_format("%s; and what was there before could not be put back everywhere: it lies "
				   "beside the new files, in names that begin with .dagrun-",
			error);
		free(error);
		error = more;
	}
	return error;
}

void exchange_drop(struct exchange *x)
{
	for (size_t i = 0; i < x->count; i++)
		if (x->files[i].inode && inode_of(x->files[i].temporary) == x->files[i].inode)
			unlink(x->files[i].temporary);
}

void exchange_settle(struct exchange *x)
{
	for (size_t i = 0; i < x->count; i++) {
		char *aside = aside_of(&x->files[i]);

		if (x->noted || !x->files[i].new_name) {
			unlink(aside);
			unlink(x->files[i].temporary);
		}
		free(aside);
	}
}
