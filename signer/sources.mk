# SPDX-License-Identifier: ISC
# What holds private keys.  common/sources.mk says how rows look.

# ---- OpenPGP ----
pgp_key_SOURCES = signer/pgp_armor.c signer/pgp_home.c signer/pgp_key.c \
	signer/pgp_key_facts.c signer/pgp_key_make.c signer/pgp_packets.c
pgp_SOURCES = $(pgp_key_SOURCES) signer/pgp_wkd.c
test_pgp_key_SOURCES = $(pgp_key_SOURCES)
