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
#include "endpoint.h"

#define WIRE_CONTROL_MAX (16 << 20)   /* bytes of a control message; a job's description is the largest */
#define WIRE_CONTROL_PART (64 << 10)  /* it goes in frames of so many, since ZeroMQ has one limit for what */
#define WIRE_CONTROL_FRAME (68 << 10) /* friends send and what strangers do before they are known */
#define WIRE_BLOCK_MAX (1100ll << 20) /* of a data frame: a block of one record of 1 GiB */
#define KEYS_TEXT_LEN 41              /* Z85, with its NUL */

struct door;

struct wire_keys {
	char public[KEYS_TEXT_LEN], secret[KEYS_TEXT_LEN];
	char *allowed;     /* folder */
	struct door *door; /* of who listens; NULL: nobody is let in */
};

/* Makes a new key pair in `folder`; DAG_EEXIST where it has one. */
int keys_generate(const char *folder, struct dag_diag *diag);
/* Loads the keys: enough to dial. DAG_EPERM: they are not there, damaged, or others can read them. */
int keys_load(const char *folder, struct wire_keys **ret_keys, struct dag_diag *diag);
/* The user's own keys, in the state folder, made at first need: nobody else of this machine has them. */
int keys_load_own(struct wire_keys **ret_keys, struct dag_diag *diag);
/* Lets in who has an allowed key: before anything listens with the keys. Only once in a process, which leaves
 * no core behind from then on: it would have the keys in it. */
int keys_guard(struct wire_keys *keys, struct dag_diag *diag);
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

#endif
