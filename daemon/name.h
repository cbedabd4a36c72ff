/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DAEMON_NAME_H
#define DAEMON_NAME_H
/*
 * Names of nodes. One that is given is made of letters, digits, '.', '_' and '-'. The default is the host's
 * name and a small number that no other daemon of this machine has: it is the same after a restart, so that
 * the spool is found again.
 */
#include "base/base.h"

#define NAME_RULE "letters, digits, '.', '_' and '-', 63 of them at most, a letter or digit first"

bool name_is_good(const char *name);
/* Allocated. state: a folder where the numbers that this user's daemons had are noted, and locked for as long
 * as this process lives. NULL with errno. */
char *name_choose(const char *state);

#endif
