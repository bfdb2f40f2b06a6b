/* SPDX-License-Identifier: ISC */
/*
 * An event of the log, as JSON, told in one line of words: for the command
 * line and the web pages.  Needs jansson.
 */
#ifndef COMMON_EVENT_TEXT_H
#define COMMON_EVENT_TEXT_H

#include <jansson.h>

#include "common/buf.h"

/*
 * Adds the line (no time, no line end) to out: by the words of the event's
 * row, or, for an event of another version, its name and all its fields.
 * Every text in it is made printable.
 */
void event_text_line(const json_t *event, struct buf *out);

/*
 * The words of an event: "{field}" is its value; a part in [ ] is left out
 * when a field in it is empty, 0 or absent; "{field|one|many}" is a word that
 * depends on a number.  NULL: no such event.
 */
const char *event_text_template(const char *event);

#endif
