/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PERIOD_US 100000

struct cgroup {
	char *folder;
	bool memory, cpu;
};

static int write_text(const char *folder, const char *name, const char *text)
{
	char *path = base_format("%s/%s", folder, name);
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = 0;

	free(path);
	if (fd < 0)
		return DAG_EIO;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		r = DAG_EIO;
	close(fd);
	return r;
}

static char *read_text(const char *folder, const char *name)
{
	char *path = base_format("%s/%s", folder, name), *text = base_alloc(4096);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, 4095);

	free(path);
	if (fd >= 0)
		close(fd);
	if (n >= 0)
		return text;
	free(text);
	return NULL;
}

static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = text; (at = strstr(at, word)); at += len)
		if ((at == text || at[-1] == ' ') && (!at[len] || at[len] == ' ' || at[len] == '\n'))
			return true;
	return false;
}

/* "0::/path" of /proc/self/cgroup, below where version 2 is mounted. */
static char *own_folder(void)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096], mount[4096] = "", *text = read_text("/proc/self", "cgroup"), *path, *end;

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, " - cgroup2 ") && sscanf(line, "%*s %*s %*s %*s %4095s", mount) == 1)
			break;
	if (f)
		fclose(f);
	path = text ? strstr(text, "0::/") : NULL;
	end = path ? strchr(path, '\n') : NULL;
	path = !path || !*mount ? NULL
				: base_format("%s%.*s", mount,
					  end ? (int)(end - path - 3) : (int)strlen(path + 3), path + 3);
	free(text);
	return path;
}

/* Out of the group that is to have limited children. */
static void move_self(const struct cgroup *g)
{
	char *daemon = base_format("%s/daemon", g->folder), pid[32];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	if (mkdir(daemon, 0755) == 0 || errno == EEXIST)
		write_text(daemon, "cgroup.procs", pid);
	free(daemon);
}

int cgroup_new(struct cgroup **ret_group, const char *folder, struct dag_diag *diag)
{
	struct cgroup *g = base_alloc(sizeof(*g));
	char *own = own_folder(), *controllers;

	g->folder = folder ? base_strdup(folder) : own ? base_strdup(own) : base_strdup("");
	controllers = read_text(g->folder, "cgroup.controllers");
	if (!controllers || access(g->folder, W_OK) < 0) {
		dag_diag_add(diag, NULL, 0, 0,
			"the control group %s is not of version 2, or not this user's to use; systemd gives "
			"one "
			"with Delegate=yes",
			*g->folder ? g->folder : "of this process");
		free(controllers);
		free(own);
		cgroup_destroy(&g);
		return DAG_EIO;
	}
	if (own && !strcmp(own, g->folder))
		move_self(g);
	g->memory = has_word(controllers, "memory") &&
		    write_text(g->folder, "cgroup.subtree_control", "+memory") == 0;
	g->cpu = has_word(controllers, "cpu") && write_text(g->folder, "cgroup.subtree_control", "+cpu") == 0;
	free(controllers);
	free(own);
	*ret_group = g;
	return 0;
}

void cgroup_destroy(struct cgroup **group)
{
	struct cgroup *g = *group;

	if (!g)
		return;
	free(g->folder);
	free(g);
	*group = NULL;
}

bool cgroup_limits_memory(const struct cgroup *g)
{
	return g && g->memory;
}

bool cgroup_limits_cpu(const struct cgroup *g)
{
	return g && g->cpu;
}

char *cgroup_add(struct cgroup *g, pid_t pid)
{
	char *child = base_format("%s/host-%d", g->folder, (int)pid), text[32];

	snprintf(text, sizeof(text), "%d", (int)pid);
	if ((mkdir(child, 0755) == 0 || errno == EEXIST) && write_text(child, "cgroup.procs", text) == 0)
		return child;
	rmdir(child);
	free(child);
	return NULL;
}

void cgroup_limit(const struct cgroup *g, const char *child, uint64_t memory, uint32_t cpu)
{
	char text[64] = "max";

	if (g->memory) {
		if (memory)
			snprintf(text, sizeof(text), "%llu", (unsigned long long)memory);
		write_text(child, "memory.max", text);
		write_text(child, "memory.swap.max", memory ? "0" : "max");
		write_text(child, "memory.oom.group", "1");
	}
	if (g->cpu) {
		snprintf(text, sizeof(text), "max %d", PERIOD_US);
		if (cpu)
			snprintf(text, sizeof(text), "%llu %d", (unsigned long long)cpu * PERIOD_US / 100,
				PERIOD_US);
		write_text(child, "cpu.max", text);
	}
}

bool cgroup_out_of_memory(const char *child)
{
	char *events = read_text(child, "memory.events"), *at = events ? strstr(events, "oom_kill ") : NULL;
	bool killed = at && strtoull(at + strlen("oom_kill "), NULL, 10) > 0;

	free(events);
	return killed;
}

void cgroup_kill(const char *child)
{
	write_text(child, "cgroup.kill", "1");
}

bool cgroup_remove(const char *child)
{
	return rmdir(child) == 0 || errno == ENOENT;
}
