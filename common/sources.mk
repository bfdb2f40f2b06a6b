# SPDX-License-Identifier: ISC
# libcommon.a: what every program may use.  One line per file, sorted, so that
# two people who add a file each do not meet.
#
# It is a static archive: a program gets an object only when it uses one of
# its functions, and then needs that object's library in its own row of its
# own fragment (postern-queued_LIBS = ... $(SQLITE_LIBS)).  So a file that
# needs a library which not all programs have (sql.c, json.c, tls.c) must not
# be used by a file that all programs need.
#
# Libraries: EVENT OPENSSL SECCOMP SASL UNBOUND SQLITE IDN2 STRINGPREP JANSSON
# SPF2 GPGME CURL THREAD, each as $(NAME_LIBS).
#
# A unit test tests/unit/test_buf.c, a fuzz target tests/fuzz/fuzz_mime.c and
# a bench tests/bench/load.c are found by themselves.  They are linked with
# libcommon.a and all libraries; if they need objects of a program's folder,
# that folder's fragment says so: test_route_SOURCES = relay/route.c
common_SOURCES += common/address.c
common_SOURCES += common/alerts.c
common_SOURCES += common/base64.c
common_SOURCES += common/buf.c
common_SOURCES += common/channel.c
common_SOURCES += common/channel_input.c
common_SOURCES += common/confine.c
common_SOURCES += common/daemon.c
common_SOURCES += common/daemon_settings.c
common_SOURCES += common/daemon_status.c
common_SOURCES += common/domain.c
common_SOURCES += common/err.c
common_SOURCES += common/event_text.c
common_SOURCES += common/events.c
common_SOURCES += common/forged_field.c
common_SOURCES += common/frame_out.c
common_SOURCES += common/from_header.c
common_SOURCES += common/header.c
common_SOURCES += common/ids.c
common_SOURCES += common/ipc.c
common_SOURCES += common/link.c
common_SOURCES += common/log.c
common_SOURCES += common/loop.c
common_SOURCES += common/mailbox_list.c
common_SOURCES += common/mime.c
common_SOURCES += common/mime_value.c
common_SOURCES += common/mime_word.c
common_SOURCES += common/netaddr.c
common_SOURCES += common/printable.c
common_SOURCES += common/rfc5322_date.c
common_SOURCES += common/roles.c
common_SOURCES += common/setting_parse.c
common_SOURCES += common/settings.c
common_SOURCES += common/settings_check.c
common_SOURCES += common/smtp_command.c
common_SOURCES += common/smtp_data.c
common_SOURCES += common/smtp_parameter.c
common_SOURCES += common/smtp_reply.c
common_SOURCES += common/snapshot.c
common_SOURCES += common/spawner.c
common_SOURCES += common/sql.c
common_SOURCES += common/stream.c
common_SOURCES += common/stream_input.c
common_SOURCES += common/stream_io.c
common_SOURCES += common/stream_output.c
common_SOURCES += common/tls.c
common_SOURCES += common/tls_identity.c
common_SOURCES += common/tls_memory.c
common_SOURCES += common/tls_pem.c
common_SOURCES += common/token.c
common_SOURCES += common/utf8.c
common_SOURCES += common/words.c
common_SOURCES += common/xtext.c
common_SOURCES += common/policy.c
common_SOURCES += common/policy_words.c
common_SOURCES += common/pool.c
