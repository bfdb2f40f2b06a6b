/* SPDX-License-Identifier: ISC */
/*
 * Small files that are there as a whole or not at all, whatever happens.
 */
#ifndef SIGNER_DURABLE_FILE_H
#define SIGNER_DURABLE_FILE_H

#include "common/buf.h"
#include "common/err.h"

/* Of a file's name. */
#define DURABLE_NAME_MAX 300

/*
 * Puts it in the place of a file of that name, for its owner alone.  Durable
 * when it returns 0; on -1 the file is what it was.  A start that follows a
 * power cut may find ".NAME", which the next call overwrites.
 */
int durable_file_write(
    const char *folder, const char *name, struct slice octets, struct err *err);

#endif
