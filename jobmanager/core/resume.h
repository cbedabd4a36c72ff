/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_RESUME_H
#define CORE_RESUME_H
#include "state.h"

void resume_adopt(struct jm *jm);

#endif
