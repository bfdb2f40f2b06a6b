# SPDX-License-Identifier: ISC
# What holds private keys.  common/sources.mk says how rows look.

# ---- OpenPGP ----
pgp_key_SOURCES = signer/pgp_armor.c signer/pgp_home.c signer/pgp_key.c \
	signer/pgp_key_facts.c signer/pgp_key_make.c signer/pgp_packets.c
pgp_SOURCES = $(pgp_key_SOURCES) signer/pgp_data.c signer/pgp_decrypt.c \
	signer/pgp_harvest.c signer/pgp_open.c signer/pgp_protect.c \
	signer/pgp_verdict.c signer/pgp_worker.c
test_pgp_key_SOURCES = $(pgp_key_SOURCES)
test_removals_SOURCES = signer/removals.c
test_pgp_packets_SOURCES = signer/pgp_armor.c signer/pgp_packets.c

# Messages up to where gpg would start.
fuzz_pgp_SOURCES = signer/content.c signer/work.c $(pgp_SOURCES) \
	$(smime_SOURCES) $(keyring_SOURCES) signer/trust.c

# ---- keys: the store, what is at rest, the `key` worker ----
keystore_SOURCES = signer/durable_file.c signer/keystore.c \
	signer/keystore_change.c signer/keystore_choose.c \
	signer/keystore_crl.c signer/keystore_trust.c signer/trust.c
keyring_SOURCES = signer/keyring.c signer/keyring_token.c signer/wrap.c
crl_read_SOURCES = signer/crl_read.c signer/key_task.c signer/key_x509.c \
	signer/trust.c signer/trust_x509.c
key_worker_SOURCES = signer/crl_read.c signer/key_import.c \
	signer/key_issue.c signer/key_task.c signer/key_worker.c \
	signer/key_worker_ca.c signer/key_worker_crl.c \
	signer/key_worker_chain.c \
	signer/key_x509.c
keystore_host_SOURCES = tests/unit/keystore_host.c $(keystore_SOURCES)
test_keystore_SOURCES = $(keystore_host_SOURCES)
test_keystore_crl_SOURCES = $(keystore_host_SOURCES)
test_keyring_SOURCES = $(keyring_SOURCES) signer/durable_file.c \
	signer/master_key.c
test_durable_file_SOURCES = signer/durable_file.c
test_wrap_SOURCES = signer/wrap.c
test_job_twin_SOURCES = signer/content.c signer/job_twin.c
test_key_worker_SOURCES = tests/unit/key_task_host.c \
	$(key_worker_SOURCES) $(keyring_SOURCES) $(pgp_key_SOURCES) \
	signer/content.c signer/trust.c signer/trust_x509.c signer/work.c
fuzz_key_file_SOURCES = $(test_key_worker_SOURCES)
test_harvest_SOURCES = signer/key_call.c signer/key_harvest.c \
	$(key_worker_SOURCES) $(keystore_SOURCES) signer/wrap.c \
	$(pgp_key_SOURCES) $(smime_world_SOURCES)

key_admin_SOURCES = signer/crl_points.c signer/crls.c signer/key_admin.c \
	signer/key_admin_ca.c signer/key_admin_ca_crl.c \
	signer/key_admin_crl.c signer/key_admin_dkim.c \
	signer/key_admin_pgp.c signer/key_admin_smime.c signer/key_call.c \
	signer/key_expiry.c signer/key_files.c signer/key_harvest.c \
	signer/pgp_wkd.c

# ---- entities and S/MIME ----
smime_SOURCES = signer/canon.c signer/canon_body.c signer/canon_scan.c \
	signer/canon_walk.c signer/delivery.c signer/der_walk.c \
	signer/entity.c signer/legacy_display.c \
	signer/line_sink.c signer/smime_memo.c \
	signer/pgp_armor.c signer/pgp_packets.c signer/shape_sealed.c \
	signer/removals.c signer/shape.c signer/sink.c signer/sink_bio.c \
	signer/smime_cert.c signer/smime_decrypt.c signer/smime_judge.c \
	signer/smime_open.c signer/smime_protect.c signer/smime_sign.c \
	signer/smime_trust.c signer/smime_verify.c signer/transfer.c \
	signer/trust_x509.c signer/verdict.c
smime_world_SOURCES = tests/unit/smime_world.c \
	tests/unit/trust_host.c signer/content.c signer/durable_file.c \
	signer/work.c $(smime_SOURCES) $(crl_read_SOURCES)
test_canon_SOURCES = $(smime_world_SOURCES)
test_der_walk_SOURCES = signer/der_walk.c
test_legacy_display_SOURCES = signer/legacy_display.c
test_entity_SOURCES = $(smime_world_SOURCES)
test_shape_sealed_SOURCES = $(smime_world_SOURCES)
test_crl_read_SOURCES = $(smime_world_SOURCES)
test_smime_SOURCES = $(smime_world_SOURCES)
smime_forge_SOURCES = tests/unit/smime_forge.c $(smime_world_SOURCES)
test_smime_forged_SOURCES = $(smime_forge_SOURCES)
test_smime_spliced_SOURCES = $(smime_forge_SOURCES)
test_smime_steps_SOURCES = $(smime_forge_SOURCES)
test_verdict_SOURCES = signer/verdict.c
fuzz_canon_SOURCES = $(smime_world_SOURCES)
fuzz_der_walk_SOURCES = signer/der_walk.c
fuzz_smime_open_SOURCES = $(smime_world_SOURCES)

# ---- the broker and its workers ----
dkim_SOURCES = signer/dkim.c signer/dkim_canon.c
broker_SOURCES = signer/explain.c signer/job.c signer/job_keys.c signer/job_track.c \
	signer/job_twin.c signer/lookup.c signer/manage.c signer/plan.c signer/pool_queue.c \
	signer/pool_worker.c signer/pools.c \
	signer/versions.c
PROGRAMS += postern-signerd
# OpenPGP's armor and packets are of two of these.
postern-signerd_SOURCES = $(sort signer/signerd.c signer/worker.c signer/work.c \
	signer/content.c signer/protect.c signer/master_key.c \
	signer/short_turns.c \
	$(broker_SOURCES) $(dkim_SOURCES) $(smime_SOURCES) \
	$(pgp_SOURCES) $(keystore_SOURCES) $(keyring_SOURCES) \
	$(key_admin_SOURCES) $(key_worker_SOURCES))
postern-signerd_LIBS = $(EVENT_LIBS) $(OPENSSL_LIBS) $(SQLITE_LIBS) \
	$(JANSSON_LIBS) $(IDN2_LIBS) $(SECCOMP_LIBS) $(GPGME_LIBS)
MANUALS += signer/postern-signerd.8
test_dkim_SOURCES = $(dkim_SOURCES) signer/content.c
test_short_turns_SOURCES = signer/short_turns.c
test_versions_SOURCES = signer/versions.c
test_pools_SOURCES = tests/unit/nest.c tests/unit/channel_pair.c \
	signer/pool_queue.c signer/pool_worker.c signer/pools.c
test_plan_SOURCES = signer/plan.c $(keystore_SOURCES)

# ---- keys and revocation lists from the web ----
PROGRAMS += postern-fetchd
postern-fetchd_SOURCES = signer/fetchd.c signer/fetch_job.c \
	signer/fetch_url.c signer/fetch_web.c signer/pgp_wkd.c
postern-fetchd_LIBS = $(EVENT_LIBS) $(CURL_LIBS) $(OPENSSL_LIBS) \
	$(IDN2_LIBS) $(SECCOMP_LIBS)
MANUALS += signer/postern-fetchd.8
test_fetch_url_SOURCES = signer/fetch_url.c signer/pgp_wkd.c
