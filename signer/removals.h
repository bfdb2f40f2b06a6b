/* SPDX-License-Identifier: ISC */
/*
 * What is taken out of a header: triggers that senders wrote into the Subject
 * or as a field of their own, and the subject tags that a stranger put there
 * to look like ours.  Pure.
 */
#ifndef SIGNER_REMOVALS_H
#define SIGNER_REMOVALS_H

#include "common/header.h"
#include "common/ipc.h"

/* A fact {"header", name} names the field. */
bool removals_name_field(struct ipc_list removals, struct slice name);

/*
 * Takes the words of all facts {"subject", words} out of the value of a
 * Subject, wherever they stand and however they are encoded (RFC 2047).
 * True: something was there, and *field_r gets the whole new field with CR LF.
 */
bool removals_clean_subject(
    struct ipc_list removals, struct slice value, struct buf *field_r);

#endif
