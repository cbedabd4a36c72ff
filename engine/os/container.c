/* SPDX-License-Identifier: Apache-2.0 */
/* A limit is the least of those of the own group and of all above it. */
#include "container.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATH_SIZE 4096u
#define NO_MEMORY_LIMIT (1ull << 60) /* version 1 says a number as large as can be */

/* Where a controller's groups are mounted, and which of them lies there. */
struct mount {
	char root[PATH_SIZE], at[PATH_SIZE];
};

/* What the kernel says of this process; of one reading, as each costs more than all else here. */
struct tables {
	const char *root;
	char *mounts, *groups; /* NULL: there is none */
};

static FILE *open_file(const char *root, const char *path)
{
	char *whole = base_format("%s%s", root, path);
	FILE *f = fopen(whole, "re");

	free(whole);
	return f;
}

static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = list; (at = strstr(at, word)); at += len)
		if ((at == list || at[-1] == ',') && (!at[len] || at[len] == ',' || at[len] == '\n'))
			return true;
	return false;
}

/* \040 and the like, as the kernel writes blanks. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++)
		if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3) {
			*to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
			from += 4;
		} else
			*to = *from++;
	*to = 0;
}

static char *read_table(const char *root, const char *path)
{
	FILE *f = open_file(root, path);
	char *text = NULL;
	size_t cap = 0;

	if (f && getdelim(&text, &cap, 0, f) < 0) {
		free(text);
		text = NULL;
	}
	if (f)
		fclose(f);
	return text;
}

static void read_tables(struct tables *t, const char *root)
{
	*t = (struct tables){
		root, read_table(root, "/proc/self/mountinfo"), read_table(root, "/proc/self/cgroup")};
}

static void free_tables(struct tables *t)
{
	free(t->mounts);
	free(t->groups);
}

/* The next line of a table in memory of its own, and *at behind it; NULL at the end. */
static char *next_line(const char **at)
{
	size_t len = *at ? strcspn(*at, "\n") : 0;
	char *line = len ? strndup(*at, len) : NULL;

	if (line)
		*at += len + ((*at)[len] == '\n');
	return line;
}

/* controller: of version 1; "" for version 2. */
static bool find_mount(const struct tables *t, const char *controller, struct mount *ret)
{
	const char *at = t->mounts;
	bool found = false;
	char *line;

	while (!found && (line = next_line(&at))) {
		const char *kind = strstr(line, *controller ? " - cgroup " : " - cgroup2 ");

		if (kind && (!*controller || has_word(strrchr(line, ' ') + 1, controller)))
			found = sscanf(line, "%*s %*s %*s %4095s %4095s", ret->root, ret->at) == 2;
		free(line);
	}
	if (!found)
		return false;
	unescape(ret->root);
	unescape(ret->at);
	return true;
}

/* The path of the own group, as the controller's hierarchy has it. */
static bool find_group(const struct tables *t, const char *controller, char ret[PATH_SIZE])
{
	const char *at = t->groups;
	bool found = false;
	char *line;

	while (!found && (line = next_line(&at))) {
		char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;

		if (path) {
			*path++ = 0;
			names++;
			found = *controller ? has_word(names, controller) : !*names;
		}
		if (found)
			snprintf(ret, PATH_SIZE, "%s", path);
		free(line);
	}
	return found;
}

static bool read_line(const char *root, const char *folder, const char *name, char line[64])
{
	char *path = base_format("%s/%s", folder, name);
	FILE *f = open_file(root, path);
	bool ok = f && fgets(line, 64, f);

	if (f)
		fclose(f);
	free(path);
	return ok;
}

static void take_memory(struct container *c, const char *line)
{
	char *end;
	unsigned long long bytes = strtoull(line, &end, 10); /* "max" is none */

	if (end != line && bytes && bytes < NO_MEMORY_LIMIT)
		c->memory = DAG_MIN(c->memory, (uint64_t)bytes);
}

static void take_cpus(struct container *c, long long quota, long long period)
{
	if (quota > 0 && period > 0 && quota / period < UINT32_MAX - 1)
		c->cpus = DAG_MIN(c->cpus, (uint32_t)((quota + period - 1) / period));
}

static void look_at_memory_1(const char *root, const char *folder, struct container *c)
{
	char line[64];

	if (read_line(root, folder, "memory.limit_in_bytes", line))
		take_memory(c, line);
}

static void look_at_cpus_1(const char *root, const char *folder, struct container *c)
{
	char quota[64], period[64];

	if (read_line(root, folder, "cpu.cfs_quota_us", quota) &&
		read_line(root, folder, "cpu.cfs_period_us", period))
		take_cpus(c, strtoll(quota, NULL, 10), strtoll(period, NULL, 10));
}

static void look_at_2(const char *root, const char *folder, struct container *c)
{
	long long quota, period;
	char line[64];

	if (read_line(root, folder, "memory.max", line))
		take_memory(c, line);
	if (read_line(root, folder, "cpu.max", line) && sscanf(line, "%lld %lld", &quota, &period) == 2)
		take_cpus(c, quota, period);
}

/* The own group and, with `above`, those above it, up to where the controller is mounted. */
static void each_group(const struct tables *t, const char *controller, bool above,
	void (*look)(const char *root, const char *folder, struct container *c), struct container *c)
{
	struct mount mount;
	char group[PATH_SIZE], *folder;
	size_t len;

	if (!find_mount(t, controller, &mount) || !find_group(t, controller, group))
		return;
	len = strcmp(mount.root, "/") ? strlen(mount.root) : 0;
	/* In a namespace of its own a process may not see where it is: then what is mounted is its own. */
	if (strncmp(group, mount.root, len) || (group[len] && group[len] != '/') || strstr(group, "/.."))
		group[len = 0] = 0;
	folder = base_format("%s%s", mount.at, group + len);
	for (size_t least = strlen(mount.at);;) {
		char *slash = strrchr(folder, '/');

		look(t->root, folder, c);
		if (!above || !slash || (size_t)(slash - folder) < least || strlen(folder) == least)
			break;
		*slash = 0;
	}
	free(folder);
}

static void count_kills(const char *root, const char *folder, const char *name, struct container *c)
{
	char *path = base_format("%s/%s", folder, name), line[64];
	FILE *f = open_file(root, path);
	unsigned long long n;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "oom_kill %llu", &n) == 1)
			c->kills += n;
	if (f)
		fclose(f);
	free(path);
}

static void count_kills_1(const char *root, const char *folder, struct container *c)
{
	count_kills(root, folder, "memory.oom_control", c);
}

static void count_kills_2(const char *root, const char *folder, struct container *c)
{
	count_kills(root, folder, "memory.events", c);
}

static void look_for_kills(const struct tables *t, struct container *c)
{
	each_group(t, "memory", false, count_kills_1, c);
	each_group(t, "", false, count_kills_2, c);
}

struct container container_look(const char *root)
{
	struct container c = {UINT64_MAX, UINT32_MAX, 0};
	struct tables t;

	read_tables(&t, root);
	each_group(&t, "memory", true, look_at_memory_1, &c);
	each_group(&t, "cpu", true, look_at_cpus_1, &c);
	each_group(&t, "", true, look_at_2, &c);
	look_for_kills(&t, &c);
	free_tables(&t);
	return c;
}

uint64_t container_kills(const char *root)
{
	struct container c = {0};
	struct tables t;

	read_tables(&t, root);
	look_for_kills(&t, &c);
	free_tables(&t);
	return c.kills;
}

static struct container own;

static void look_at_own(void)
{
	own = container_look("");
}

const struct container *container_own(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, look_at_own);
	return &own;
}
