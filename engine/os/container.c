/* SPDX-License-Identifier: Apache-2.0 */
/* A limit is the least of those of the own group and of all above it. */
#include "container.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATH_SIZE 4096u
#define NO_MEMORY_LIMIT (1ull << 60) /* version 1 says a number as large as can be */

/* Where a controller's groups are mounted, and which of them lies there. */
struct mount {
	char root[PATH_SIZE], at[PATH_SIZE];
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

/* controller: of version 1; "" for version 2. */
static bool find_mount(const char *root, const char *controller, struct mount *ret)
{
	FILE *f = open_file(root, "/proc/self/mountinfo");
	char *line = NULL;
	size_t cap = 0;
	bool found = false;

	while (f && !found && getline(&line, &cap, f) > 0) {
		const char *kind = strstr(line, " - "), *options;

		if (!kind || sscanf(line, "%*s %*s %*s %4095s %4095s", ret->root, ret->at) != 2)
			continue;
		options = strrchr(line, ' ') + 1;
		found = *controller ? !strncmp(kind, " - cgroup ", 10) && has_word(options, controller)
				    : !strncmp(kind, " - cgroup2 ", 11);
	}
	free(line);
	if (f)
		fclose(f);
	if (!found)
		return false;
	unescape(ret->root);
	unescape(ret->at);
	return true;
}

/* The path of the own group, as the controller's hierarchy has it. */
static bool find_group(const char *root, const char *controller, char ret[PATH_SIZE])
{
	FILE *f = open_file(root, "/proc/self/cgroup");
	char *line = NULL;
	size_t cap = 0;
	bool found = false;

	while (f && !found && getline(&line, &cap, f) > 0) {
		char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;

		if (!path)
			continue;
		*path++ = 0;
		names++;
		path[strcspn(path, "\n")] = 0;
		found = *controller ? has_word(names, controller) : !*names;
		if (found)
			snprintf(ret, PATH_SIZE, "%s", path);
	}
	free(line);
	if (f)
		fclose(f);
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
static void each_group(const char *root, const char *controller, bool above,
	void (*look)(const char *root, const char *folder, struct container *c), struct container *c)
{
	struct mount mount;
	char group[PATH_SIZE], *folder;
	size_t len;

	if (!find_mount(root, controller, &mount) || !find_group(root, controller, group))
		return;
	len = strcmp(mount.root, "/") ? strlen(mount.root) : 0;
	/* In a namespace of its own a process may not see where it is: then what is mounted is its own. */
	if (strncmp(group, mount.root, len) || (group[len] && group[len] != '/') || strstr(group, "/.."))
		group[len = 0] = 0;
	folder = base_format("%s%s", mount.at, group + len);
	for (size_t least = strlen(mount.at);;) {
		char *slash = strrchr(folder, '/');

		look(root, folder, c);
		if (!above || !slash || (size_t)(slash - folder) < least || strlen(folder) == least)
			break;
		*slash = 0;
	}
	free(folder);
}

struct container container_look(const char *root)
{
	struct container c = {UINT64_MAX, UINT32_MAX, 0};

	each_group(root, "memory", true, look_at_memory_1, &c);
	each_group(root, "cpu", true, look_at_cpus_1, &c);
	each_group(root, "", true, look_at_2, &c);
	return c;
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

uint64_t container_kills(const char *root)
{
	struct container c = {0};

	each_group(root, "memory", false, count_kills_1, &c);
	each_group(root, "", false, count_kills_2, &c);
	return c.kills;
}
