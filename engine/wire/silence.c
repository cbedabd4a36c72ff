/* SPDX-License-Identifier: Apache-2.0 */
/* How long a connection may say nothing. */
#include "wire/silence.h"

#define STALL (2 * DAG_SECOND) /* between two looks: of our own */

void silence_begin(struct silence *silence, dag_instant now)
{
	silence->since = now;
	silence->again = 0;
}

dag_instant silence_length(const struct silence *silence, dag_instant heard, dag_instant now)
{
	return now - DAG_MAX(heard, silence->since);
}

bool silence_is_over(struct silence *silence, dag_instant heard, bool hasty, dag_instant now)
{
	if (silence->looked &&
		now - silence->looked > STALL) /* nobody's silence: what came waits to be read */
		silence->since = now;
	silence->looked = now;
	if (silence_length(silence, heard, now) <= (hasty && !silence->hasted ? SILENCE_HASTE : SILENCE_MAX))
		return silence->again && now >= silence->again;
	silence->hasted = true;
	return true;
}
