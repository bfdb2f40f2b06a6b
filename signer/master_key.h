/* SPDX-License-Identifier: ISC */
/*
 * The master key: what all private keys at rest are wrapped under, by the
 * classes' keys that come from it (signer/wrap.h).
 */
#ifndef SIGNER_MASTER_KEY_H
#define SIGNER_MASTER_KEY_H

#include <stdbool.h>

#include "common/err.h"
#include "signer/wrap.h"

#define MASTER_KEY_FILE "master.key"
#define MASTER_KEY_CREDENTIAL "postern-master"

struct master_key {
	struct wrap_key key;
	/* From systemd (LoadCredential=, TPM); else a file beside keys.db. */
	bool is_credential;
	bool was_made; /* this start made it */
};

/*
 * The credential $CREDENTIALS_DIRECTORY/postern-master, if there; else
 * DIR/master.key, which is made (mode 0600, synced) when the store has no keys
 * yet.  Of either: 32 octets, or 64 hexadecimal digits and a line end.  A
 * credential beside such a file is refused while has_keys: keys that were
 * wrapped under the file's would not open.
 */
int master_key_load(const char *dir, bool has_keys, struct master_key *master_r,
    struct err *err);

/* For health and backups: what it is, and what it protects. */
const char *master_key_text(const struct master_key *master);

#endif
