/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where outputs are. A link is written through: what it leads to is replaced, beside which the new file is
 * written. Devices and fifos are written to as stdout is, when all files are ready.
 */
#include "output.h"
#include "base/buffer.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40 /* as the kernel */

char *output_path_of_vertex(const struct output *o, uint32_t index)
{
	return base_format(
		"%.*s%u%s", (int)o->index_at, o->path, index, o->path + o->index_at + strlen("{index}"));
}

/* A folder as the kernel sees it; what of it is not there yet is taken as it will be made. */
static char *canonical_folder(const char *folder)
{
	char *real = realpath(folder, NULL), *above, *parent, *result;
	const char *name = strrchr(folder, '/') + 1;

	if (real || !strcmp(folder, "/"))
		return real ? real : base_strdup("/");
	above = output_folder(folder);
	parent = canonical_folder(above);
	free(above);
	if (!*name || !strcmp(name, "."))
		return parent;
	if (!strcmp(name, ".."))
		result = output_folder(parent);
	else
		result = base_format("%s/%s", strcmp(parent, "/") ? parent : "", name);
	free(parent);
	return result;
}

char *output_canonical(const char *path)
{
	char *folder = output_folder(path), *real = canonical_folder(folder), *result;

	result = base_format("%s%s", strcmp(real, "/") ? real : "", strrchr(path, '/'));
	free(real);
	free(folder);
	return result;
}

/* In a folder where everybody may write, somebody else's link is not followed, as the kernel does not. */
static bool may_follow(const char *path, const struct stat *link)
{
	char *folder = output_folder(path);
	struct stat st;
	bool may = stat(folder, &st) == 0 && ((st.st_mode & (S_ISVTX | S_IWOTH)) != (S_ISVTX | S_IWOTH) ||
						     link->st_uid == geteuid() || link->st_uid == st.st_uid);

	free(folder);
	return may;
}

char *output_follow(const char *path)
{
	char *at = base_strdup(path), target[PATH_MAX], *next, *folder;
	struct stat st;

	for (int i = 0; lstat(at, &st) == 0 && S_ISLNK(st.st_mode); i++) {
		ssize_t n = may_follow(at, &st) ? readlink(at, target, sizeof(target) - 1) : -1;

		if (i == LINKS_MAX || n <= 0) {
			free(at);
			errno = i == LINKS_MAX ? ELOOP : EACCES;
			return NULL;
		}
		target[n] = 0;
		folder = output_folder(at);
		next = *target == '/' ? base_strdup(target) : base_format("%s/%s", folder, target);
		free(folder);
		free(at);
		at = next;
	}
	next = output_canonical(at);
	free(at);
	return next;
}

/* The number of a descriptor that is named as a file, such as /dev/fd/3; -1 for any other path. */
static int descriptor_of(const char *path)
{
	static const char *const folders[] = {"/dev/fd/", "/proc/self/fd/"};

	if (!strcmp(path, "/dev/stderr"))
		return STDERR_FILENO;
	for (size_t i = 0; i < DAG_LENGTH(folders); i++) {
		const char *digits = path + strlen(folders[i]);

		if (!strncmp(path, folders[i], strlen(folders[i])) && *digits && strlen(digits) < 9 &&
			strspn(digits, "0123456789") == strlen(digits))
			return (int)strtol(digits, NULL, 10);
	}
	return -1;
}

/* Devices and fifos have nothing that could be replaced, nor has what somebody else has open. Folders, disks
 * and sockets are refused later. */
bool output_is_stream(const char *path)
{
	struct stat st;

	return !strcmp(path, "-") || descriptor_of(path) >= 0 ||
	       (stat(path, &st) == 0 && (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)));
}

/* "out/" and the like: there is no name that a file could have. */
static bool names_folder(const char *path)
{
	const char *base = strrchr(path, '/') + 1;

	return !*base || !strcmp(base, ".") || !strcmp(base, "..");
}

static int refuse(const struct output *o, struct dag_diag *diag, const char *path, const char *why)
{
	dag_diag_add(diag, o->spec->place.file, o->spec->place.line, o->spec->place.column,
		"cannot write the output '%s': %s", path, why);
	return DAG_EIO;
}

static const char *why_not(int error)
{
	return error == ELOOP    ? "it is a loop of links"
	       : error == EACCES ? "it is another user's link in a folder where everybody may write"
				 : strerror(error);
}

static bool is_for_writing(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
}

static int open_stream(struct output *o, struct dag_diag *diag)
{
	int fd = descriptor_of(o->spec->path), flags;

	if (!strcmp(o->spec->path, "-")) {
		o->stream_fd = STDOUT_FILENO;
		if (is_for_writing(STDOUT_FILENO))
			return 0;
		dag_diag_add(diag, o->spec->place.file, o->spec->place.line, o->spec->place.column,
			"cannot write to stdout: it is closed, or open for reading only");
		return DAG_EIO;
	}
	if (fd >= 0) {
		flags = fcntl(fd, F_GETFD);
		if (flags < 0 || (flags & FD_CLOEXEC) || /* all that we have opened ourselves is so */
			!is_for_writing(fd))
			return refuse(o, diag, o->spec->path, strerror(EBADF));
		o->stream_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		return o->stream_fd >= 0 ? 0 : refuse(o, diag, o->spec->path, strerror(errno));
	}
	/* A fifo must have its reader: else the end of the job would wait for one. */
	o->stream_fd = open(o->spec->path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (o->stream_fd >= 0)
		return 0;
	return refuse(o, diag, o->spec->path, errno == ENXIO ? "nobody reads it" : strerror(errno));
}

int output_find(struct output *o, uint32_t width, struct dag_diag *diag)
{
	const char *path = o->spec->path;
	int r = 0;

	o->file_count = o->spec->per_vertex ? width : 1;
	o->files = base_alloc((o->file_count + 1) * sizeof(*o->files));
	o->is_stream = !o->spec->per_vertex && output_is_stream(path);
	if (o->is_stream) {
		o->path = base_strdup(path);
		o->files[0].path = base_strdup(path);
		return open_stream(o, diag);
	}
	if (names_folder(path))
		return refuse(o, diag, path, "it names a folder, not a file");
	o->path = o->spec->per_vertex ? output_canonical(path) : output_follow(path);
	if (!o->path)
		return refuse(o, diag, path, why_not(errno));
	if (o->spec->per_vertex) /* only the folder may be spelt in another way now */
		o->index_at = strlen(o->path) - (strlen(path) - o->spec->index_at);
	for (uint32_t i = 0; i < o->file_count && r == 0; i++) {
		struct output_file *f = &o->files[i];
		char *one = o->spec->per_vertex ? output_path_of_vertex(o, i) : base_strdup(o->path);
		struct stat st;

		f->exists = lstat(one, &st) == 0;
		if (!f->exists || !S_ISLNK(st.st_mode)) {
			f->path = one;
			continue;
		}
		f->path = output_follow(one);
		if (!f->path)
			r = refuse(o, diag, one, why_not(errno));
		free(one);
	}
	return r;
}

/* Words that end with a zero: 'f' or 'v' (one of each vertex), and the path. */
int outputs_list(struct manager *m, struct dag_diag *diag)
{
	char *path = base_format("%s/" OUTPUTS_LIST, m->job_folder);
	struct buffer b = {0};
	int fd, error;

	for (size_t i = 0; i < m->graph->output_count; i++) {
		const struct output *o = &m->outputs[i];

		if (o->is_stream)
			continue;
		buffer_append(&b, o->spec->per_vertex ? "v" : "f", 1);
		buffer_append(&b, o->path, strlen(o->path) + 1);
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	error = fd < 0 ? errno : os_write_at(fd, b.data, b.len, 0);
	if (error)
		dag_diag_add(diag, NULL, 0, 0, "cannot write %s: %s", path, strerror(error));
	if (fd >= 0)
		close(fd);
	buffer_fini(&b);
	free(path);
	return error ? DAG_EIO : 0;
}

void outputs_check_paths(const struct graph *graph, struct dag_diag *diag)
{
	for (size_t i = 0; i < graph->output_count; i++) {
		struct output o = {.spec = &graph->outputs[i]};
		uint32_t width = graph->stages[o.spec->stage]->width;
		char *one, *path, *folder, *obstacle = NULL;
		struct stat st;

		if (output_is_stream(o.spec->path))
			continue;
		if (names_folder(o.spec->path)) {
			refuse(&o, diag, o.spec->path, "it names a folder, not a file");
			continue;
		}
		one = graph_output_path(o.spec, width ? width - 1 : 0);
		path = output_follow(one);
		free(one);
		if (!path) {
			refuse(&o, diag, o.spec->path, why_not(errno));
			continue;
		}
		folder = output_folder(path);
		if (stat(folder, &st) == 0 && S_ISDIR(st.st_mode))
			obstacle = exchange_obstacle(path);
		while (stat(folder, &st) < 0 && errno == ENOENT && strcmp(folder, "/")) {
			char *parent = output_folder(folder);

			free(folder);
			folder = parent;
		}
		if (!obstacle && (stat(folder, &st) < 0 || !S_ISDIR(st.st_mode) || access(folder, W_OK) < 0))
			obstacle = base_format("%s: %s", folder,
				stat(folder, &st) == 0 && !S_ISDIR(st.st_mode) ? "not a folder"
									       : strerror(errno));
		if (obstacle)
			refuse(&o, diag, o.spec->path, obstacle);
		free(obstacle);
		free(folder);
		free(path);
	}
}
