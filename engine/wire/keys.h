/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_KEYS_H
#define WIRE_KEYS_H
/*
 * A cluster's CURVE keys, in a folder that every machine of the cluster has a copy of:
 *
 *   cluster.key          the public key
 *   cluster.key_secret   the secret key: the right to run code on the cluster
 *   allowed/             public keys that may connect; cluster.key is one of them
 */
#include "base/diag.h"

#define WIRE_CONTROL_MAX (16 << 20)   /* bytes of a control frame; a job's description is the largest */
#define WIRE_BLOCK_MAX (1100ll << 20) /* of a data frame: a block of one record of 1 GiB */
#define KEYS_TEXT_LEN 41              /* Z85, with its NUL */

struct wire_keys {
	char public[KEYS_TEXT_LEN], secret[KEYS_TEXT_LEN];
	char *allowed; /* folder */
	void *auth;    /* czmq's ZAP handler, which runs in a thread of its own */
};

/* Makes a new key pair in `folder`; DAG_EEXIST where it has one. */
int keys_generate(const char *folder, struct dag_diag *diag);
/* Loads the keys and starts the allow-list's handler. Only once in a process. */
int keys_load(const char *folder, struct wire_keys **ret_keys, struct dag_diag *diag);
void keys_destroy(struct wire_keys **keys);
/*
 * Binds a socket made like all of ours to loopback, and connects to it with a stranger's key, which must be
 * refused, and with our own, which must not. DAG_EPERM where either goes wrong. Takes some milliseconds.
 */
int keys_self_test(const struct wire_keys *keys, struct dag_diag *diag);

/* The process's ZeroMQ context: czmq's, so that its handler sees our sockets. */
void *wire_context(void);
/* Sets the options that every socket of ours has, and the keys. `listens`: as the CURVE server; who sends a
 * frame of more than `frame_max` bytes is cut off. */
void wire_socket_options(void *socket, const struct wire_keys *keys, bool listens, int64_t frame_max);
/* True for inproc, ipc and loopback addresses, which need no keys. */
bool wire_is_local(const char *endpoint);
/* The endpoint's address with another port, or "*" for any; caller frees. */
char *wire_with_port(const char *endpoint, const char *port);

/* Within this process: nothing to encrypt, and nothing is damaged on its way. */
static inline bool wire_is_inproc(const char *endpoint)
{
	return !strncmp(endpoint, "inproc://", 9);
}

#endif
