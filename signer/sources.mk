# SPDX-License-Identifier: ISC
# What holds private keys.  common/sources.mk says how rows look.

# ---- OpenPGP ----
pgp_key_SOURCES = signer/pgp_armor.c signer/pgp_home.c signer/pgp_key.c \
	signer/pgp_key_facts.c signer/pgp_key_make.c signer/pgp_packets.c
pgp_SOURCES = $(pgp_key_SOURCES) signer/pgp_wkd.c
test_pgp_key_SOURCES = $(pgp_key_SOURCES)

# ---- keys: the store, what is at rest, the `key` worker ----
keystore_SOURCES = signer/keystore.c signer/keystore_change.c \
	signer/keystore_trust.c
keyring_SOURCES = signer/keyring.c signer/keyring_token.c signer/wrap.c
key_worker_SOURCES = signer/key_import.c signer/key_issue.c \
	signer/key_task.c signer/key_worker.c signer/key_x509.c
test_keystore_SOURCES = $(keystore_SOURCES)
test_keyring_SOURCES = $(keyring_SOURCES) signer/master_key.c
test_wrap_SOURCES = signer/wrap.c
test_key_worker_SOURCES = $(key_worker_SOURCES) $(keyring_SOURCES) \
	$(pgp_key_SOURCES) signer/content.c signer/work.c
fuzz_key_file_SOURCES = $(test_key_worker_SOURCES)
