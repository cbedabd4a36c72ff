/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VERTEX_GUARD_H
#define VERTEX_GUARD_H

/* Makes this process the guard of a new one, and returns in that, the host. Called before anything else is
 * done; takes the host's bell, which the daemon rings once. */
void guard_begin(char **argv);

#endif
