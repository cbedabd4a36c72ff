/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin's code runs in a host only: what it declares is read from the host's output, line by line. */
#include "plugins.h"
#include "base/buffer.h"
#include "os/os.h"
#include "os/spawn.h"
#include "version.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAID_BYTES_MAX (16u << 20)
#define DESCRIBE_MS 10000
#define ENTRIES_MAX 256
#define STANDARD_PLUGIN "std"

struct known_plugin {
	struct known_plugin *next;
	struct plugin_info info;
	const char *word, *folder; /* that it was found by first */
};

struct plugins {
	struct arena arena;
	char *host_program, *program_folder;
	const char *const *extra;
	size_t extra_count;
	struct known_plugin *known;
};

void plugins_new(
	struct plugins **ret_plugins, const char *host_program, const char *const *extra, size_t extra_count)
{
	struct plugins *p = base_alloc(sizeof(*p));

	p->host_program = base_strdup(host_program);
	p->program_folder = os_program_folder();
	p->extra = extra;
	p->extra_count = extra_count;
	*ret_plugins = p;
}

void plugins_destroy(struct plugins **plugins)
{
	struct plugins *p = *plugins;

	if (!p)
		return;
	free(p->host_program);
	free(p->program_folder);
	arena_fini(&p->arena);
	free(p);
	*plugins = NULL;
}

static bool is_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* The i-th folder that a plugin is looked for in: beside the graph, --plugin-path, and those that come with
 * dagrun. NULL behind the last. */
static char *folder_to_search(const struct plugins *p, size_t i, const char *folder)
{
	static const char *const own[] = {"graphs", "engine/vertices", DAGRUN_PLUGINS_FROM_BIN};

	if (i == 0)
		return base_strdup(folder);
	if (--i < p->extra_count)
		return base_strdup(p->extra[i]);
	i -= p->extra_count;
	if (i >= DAG_LENGTH(own))
		return NULL;
	return *own[i] == '/' ? base_strdup(own[i]) : base_format("%s/%s", p->program_folder, own[i]);
}

/* A word with a slash is a path; another is looked for, with .so behind it unless it is there. Where it is
 * not, ret_error says where it was looked for. */
static const char *find(struct plugins *p, const char *word, const char *folder, char **ret_error)
{
	const char *dot = strrchr(word, '.'), *suffix = dot && !strcmp(dot, ".so") ? "" : ".so", *kept = NULL;
	char *path = NULL, *absolute, *in;
	struct buffer tried = {0};

	if (strchr(word, '/'))
		path = base_format("%s%s", word, is_file(word) ? "" : suffix);
	for (size_t i = 0; !path && (in = folder_to_search(p, i, folder)); i++) {
		path = base_format("%s/%s%s", in, word, suffix);
		if (!is_file(path)) {
			buffer_format(&tried, "%s%s", tried.len ? ", " : "", *in ? in : ".");
			free(path);
			path = NULL;
		}
		free(in);
	}
	if (path && is_file(path)) {
		absolute = os_absolute_path(path);
		kept = arena_strdup(&p->arena, absolute);
		free(absolute);
	} else if (path) {
		*ret_error = base_format("there is no plugin %s", path);
	} else {
		bool ours = !strcmp(word, STANDARD_PLUGIN);

		*ret_error = base_format("there %s%s%s: looked for %s%s in %.*s",
			ours ? "are no standard vertices" : "is no plugin '", ours ? "" : word,
			ours ? " (is dagrun installed whole?)" : "'", word, suffix, (int)tried.len,
			(const char *)tried.data);
	}
	buffer_fini(&tried);
	free(path);
	return kept;
}

/* Runs the host, which reads stdin (or nothing: −1), and keeps what it prints; it gets ten seconds, since a
 * plugin's constructors are users' code. */
static int run_host(struct plugins *p, const char *option, const char *path, int stdin_fd, struct buffer *out,
	char **ret_error)
{
	char *argv[] = {p->host_program, (char *)option, (char *)path, NULL},
	     *env[] = {"LC_ALL=C", NULL, NULL};
	char *asan = getenv("ASAN_OPTIONS") ? base_format("ASAN_OPTIONS=%s", getenv("ASAN_OPTIONS")) : NULL;
	struct spawn spawn = {.path = p->host_program, .argv = argv, .env = env, .fd_count = 3};
	int fds[2], pidfd, r;
	struct pollfd poll_fd;
	siginfo_t info = {0};
	pid_t pid;

	env[1] = asan;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return DAG_EIO;
	spawn.fds[0] = stdin_fd;
	spawn.fds[1] = fds[1];
	spawn.fds[2] = 2;
	r = spawn_process(&spawn, &pid, &pidfd);
	close(fds[1]);
	free(asan);
	if (r < 0) {
		*ret_error = base_format("cannot run %s: %s", p->host_program, strerror(errno));
		close(fds[0]);
		return r;
	}
	close(pidfd);
	poll_fd = (struct pollfd){fds[0], POLLIN, 0};
	while (out->len < SAID_BYTES_MAX && poll(&poll_fd, 1, DESCRIBE_MS) > 0) {
		char *room = buffer_extend(out, 4096);
		ssize_t n = read(fds[0], room, 4096);

		out->len -= 4096 - (size_t)(n > 0 ? n : 0);
		if (n <= 0)
			break;
	}
	close(fds[0]);
	kill(pid, SIGKILL);
	waitid(P_PID, (id_t)pid, &info, WEXITED);
	buffer_append(out, "", 1);
	return 0;
}

static bool add_port(struct plugin_entry *e, bool in, const char *rest)
{
	unsigned format, size;
	uint32_t *count = in ? &e->in_count : &e->out_count;

	if (sscanf(rest, "%u %u", &format, &size) != 2 || format > DAG_FORMAT_ANY || *count == DAG_PORTS_MAX)
		return false;
	(in ? e->in : e->out)[(*count)++] = (struct graph_format){(enum dag_format_kind)format, size};
	return true;
}

/* The lines of plugin_describe in engine/vertex/plugin.c. */
static int parse(struct plugins *p, char *text, struct plugin_info *info, char **ret_error)
{
	struct plugin_entry *entries = arena_alloc(&p->arena, ENTRIES_MAX * sizeof(*entries)), *e = NULL;
	bool ended = false;

	for (char *line, *next = text; (line = strtok_r(next, "\n", &next));) {
		char *rest = strchr(line, ' ');
		bool ok = true;

		if (rest)
			*rest++ = 0;
		if (!strcmp(line, "error") && rest) {
			*ret_error = base_strdup(rest);
			return DAG_EINVAL;
		}
		if (!strcmp(line, "entry") && rest && info->entry_count < ENTRIES_MAX) {
			char *flags = strchr(rest, ' ');

			e = &entries[info->entry_count++];
			if (flags)
				*flags++ = 0;
			e->name = arena_strdup(&p->arena, rest);
			e->order_blind = flags && (strtoul(flags, NULL, 10) & DAG_ORDER_BLIND);
			e->passes_bytes = flags && (strtoul(flags, NULL, 10) & DAG_PASSES_BYTES);
			e->more_inputs = flags && (strtoul(flags, NULL, 10) & DAG_MORE_INPUTS);
		} else if (e && rest && (!strcmp(line, "in") || !strcmp(line, "out"))) {
			ok = add_port(e, line[0] == 'i', rest);
		} else if (e && rest && !strcmp(line, "param") && e->param_count < PLUGIN_PARAMS_MAX) {
			e->params[e->param_count++] = (struct plugin_param){arena_strdup(&p->arena, rest + 2),
				(enum dag_param_kind)strtoul(rest, NULL, 10)};
		} else if (e && rest && !strcmp(line, "help")) {
			e->help = arena_strdup(&p->arena, rest);
		} else if (e && !strcmp(line, "check")) {
			e->checked = true;
		} else if (!strcmp(line, "end")) {
			ended = true;
		}
		if (!ok)
			break;
	}
	info->entries = entries;
	if (ended)
		return 0;
	*ret_error = base_format(
		"plugin %s cannot be described: its code ended the process that loaded it", info->path);
	return DAG_EINVAL;
}

static void put_text(struct buffer *b, const char *text)
{
	buffer_append(b, text, strlen(text) + 1);
}

/* What daghost --check reads, in memory; −1 where there is no room. */
static int put_questions(const struct plugin_check *checks, size_t count)
{
	struct buffer asked = {0};
	int fd = memfd_create("checks", MFD_CLOEXEC);
	bool ok = fd >= 0;
	char number[16];

	for (size_t i = 0; i < count; i++) {
		snprintf(number, sizeof(number), "%u", checks[i].param_count);
		put_text(&asked, checks[i].entry);
		put_text(&asked, number);
		for (uint32_t j = 0; j < checks[i].param_count; j++) {
			put_text(&asked, checks[i].params[j].name);
			put_text(&asked, checks[i].params[j].value);
		}
	}
	for (size_t at = 0; ok && at < asked.len;) {
		ssize_t n = write(fd, asked.data + at, asked.len - at);

		ok = n > 0;
		at += (size_t)(n > 0 ? n : 0);
	}
	buffer_fini(&asked);
	if (ok && lseek(fd, 0, SEEK_SET) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

int plugins_check(void *ctx, const char *path, struct plugin_check *checks, size_t count, char **ret_error)
{
	struct plugins *p = ctx;
	struct buffer out = {0};
	int fd = put_questions(checks, count), r;
	char *next;

	if (fd < 0) {
		*ret_error = base_format("cannot ask plugin %s about parameters: %s", path, strerror(errno));
		return DAG_EIO;
	}
	r = run_host(p, "--check", path, fd, &out, ret_error);
	close(fd);
	next = r == 0 ? (char *)out.data : NULL;
	for (size_t i = 0; i < count && r == 0; i++) {
		char *line = next, *end = strchr(line, '\n');

		if (!end) {
			checks[i].error =
				base_format("the check of '%s' in plugin %s ended the process that ran it",
					checks[i].entry, path);
			break;
		}
		*end = 0;
		next = end + 1;
		if (strcmp(line, "ok"))
			checks[i].error = base_strdup(line);
	}
	buffer_fini(&out);
	return r;
}

int plugins_describe(void *ctx, const char *word, const char *folder, const struct plugin_info **ret_info,
	char **ret_error)
{
	struct plugins *p = ctx;
	struct known_plugin *k = p->known;
	struct buffer out = {0};
	const char *path;
	int r;

	while (k && (strcmp(k->word, word) || strcmp(k->folder, folder)))
		k = k->next;
	if (k) {
		*ret_info = &k->info;
		return 0;
	}
	path = find(p, word, folder, ret_error);
	if (!path)
		return DAG_EMISSING;
	for (k = p->known; k; k = k->next)
		if (!strcmp(k->info.path, path)) {
			*ret_info = &k->info;
			return 0;
		}
	k = arena_alloc(&p->arena, sizeof(*k));
	k->info.path = path;
	k->word = arena_strdup(&p->arena, word);
	k->folder = arena_strdup(&p->arena, folder);
	r = run_host(p, "--describe", path, -1, &out, ret_error);
	if (r == 0)
		r = parse(p, (char *)out.data, &k->info, ret_error);
	buffer_fini(&out);
	if (r < 0)
		return r;
	k->next = p->known;
	p->known = k;
	*ret_info = &k->info;
	return 0;
}
