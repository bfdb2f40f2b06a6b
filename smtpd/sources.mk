# SPDX-License-Identifier: ISC
# The programs of smtpd/, and what their tests are linked with.

PROGRAMS += postern-checkd
postern-checkd_SOURCES = smtpd/checkd.c smtpd/checkd_mail.c \
	smtpd/checkd_peer.c smtpd/checkd_query.c smtpd/client_check.c \
	smtpd/dns_health.c smtpd/dns_message.c smtpd/resolver.c \
	smtpd/resolver_context.c
postern-checkd_LIBS = $(EVENT_LIBS) $(UNBOUND_LIBS) $(IDN2_LIBS) \
	$(SECCOMP_LIBS)
MANUALS += smtpd/postern-checkd.8
test_dns_message_SOURCES = smtpd/dns_message.c
test_dns_health_SOURCES = smtpd/dns_health.c
test_client_check_SOURCES = smtpd/client_check.c smtpd/dns_message.c
fuzz_dns_message_SOURCES = smtpd/dns_message.c
