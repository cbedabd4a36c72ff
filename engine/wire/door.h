/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_DOOR_H
#define WIRE_DOOR_H
/*
 * Who is let in: ZeroMQ asks here (by ZAP) of each connection to a port of ours that has keys, before any
 * message of it is taken. Ports of CURVE take the keys that are allowed; the answers' port takes a name once,
 * with the word that its reader said over CURVE before. In a thread of its own, one in a process.
 */
#include "base/base.h"

#define DOOR_CURVE "dagrun"           /* ZAP's domains */
#define DOOR_ANSWERS "dagrun.answers" /* by PLAIN: name and word as hexadecimal digits */
#define DOOR_NAME_LEN 16u
#define DOOR_WORD_LEN 16u
#define DOOR_TEXT_LEN 33u /* of a name or word as digits, with its NUL */

struct door;

/* `allowed`: a folder of public keys. DAG_EBUSY: the process has a door already; DAG_EIO with errno. */
int door_new(struct door **ret_door, const char *allowed);
void door_destroy(struct door **door);
/* From any thread: under that name a connection may come, once and soon. */
void door_expect(
	struct door *door, const unsigned char name[DOOR_NAME_LEN], const unsigned char word[DOOR_WORD_LEN]);
void door_write(const unsigned char bytes[16], char ret_digits[DOOR_TEXT_LEN]);

#endif
