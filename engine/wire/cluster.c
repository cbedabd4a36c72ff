/* SPDX-License-Identifier: Apache-2.0 */
/* On loopback the keys are the user's own where nothing else is said; off it somebody must say them. */
#include "cluster.h"
#include "os/os.h"

static const char *said_or(const char *option, const char *variable)
{
	const char *value = option ? option : getenv(variable);

	return value && *value ? value : NULL;
}

char *cluster_keys_said(const char *keys)
{
	const char *said = said_or(keys, CLUSTER_KEYS_VARIABLE);

	if (!said || !strcmp(said, CLUSTER_NONE))
		return said ? base_strdup(said) : NULL;
	return os_absolute_path(said);
}

int cluster_find_keys(
	const char *said, const char *endpoint, struct wire_keys **ret_keys, struct dag_diag *diag)
{
	bool none = said && !strcmp(said, CLUSTER_NONE), local = wire_is_local(endpoint);

	*ret_keys = NULL;
	if (wire_is_inproc(endpoint))
		return 0;
	if (said && !none)
		return keys_load(said, ret_keys, diag);
	if (!local) {
		dag_diag_add(diag, NULL, 0, 0,
			"%s can be reached from other machines: that needs --keys DIR (make them with: "
			"dagrun keygen DIR)",
			endpoint);
		return DAG_EINVAL;
	}
	if (!none)
		return keys_load_own(ret_keys, diag);
	dag_diag_add(diag, NULL, 0, 0,
		"without keys every user of this machine can run programs as whoever started the daemons");
	return 0;
}

int cluster_find(struct cluster *c, const char *nameserver, const char *keys, struct dag_diag *diag)
{
	const char *where = said_or(nameserver, CLUSTER_NAMESERVER_VARIABLE);
	char *text = NULL;
	int r;

	*c = (struct cluster){0};
	if (!where || !strcmp(where, CLUSTER_NONE))
		return 0;
	r = endpoint_parse(where, ENDPOINT_NAMESERVER_PORT, false, &c->nameserver, &text);
	if (r < 0) {
		dag_diag_add(diag, NULL, 0, 0, "the name server %s", text);
		free(text);
		return r;
	}
	c->keys_said = cluster_keys_said(keys);
	r = cluster_find_keys(c->keys_said, c->nameserver, &c->keys, diag);
	if (r < 0)
		cluster_fini(c);
	return r;
}

void cluster_fini(struct cluster *c)
{
	keys_destroy(&c->keys);
	free(c->nameserver);
	free(c->keys_said);
	*c = (struct cluster){0};
}
