/* SPDX-License-Identifier: ISC */
/*
 * Header fields by which a gateway tells those behind it what it found.  A
 * stranger's mail may bring such fields along, written to look like ours
 * (RFC 8601 §5); they are taken out before anybody reads them.  Pure.
 */
#ifndef COMMON_FORGED_FIELD_H
#define COMMON_FORGED_FIELD_H

#include "common/buf.h"

/*
 * Is it one that only we may write: X-Postern-*, Authentication-Results whose
 * authserv-id is ours, or with one that cannot be read?  authserv_id is a
 * host's name; case, a final dot, and U- or A-labels make no difference.
 */
bool forged_field(
    struct slice name, struct slice value, struct slice authserv_id);

#endif
