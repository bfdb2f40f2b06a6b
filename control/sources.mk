# SPDX-License-Identifier: ISC
# The supervisor, the configuration, and the command line.
PROGRAMS += postern-run
postern-run_SOURCES = control/run.c control/run_alert.c \
	control/run_folders.c control/run_setup.c control/run_sockets.c \
	control/run_start.c \
	control/run_check.c control/client.c control/instance.c
postern-run_LIBS = $(EVENT_LIBS) $(JANSSON_LIBS)

confd_SOURCES = control/config_items.c control/config_policy.c \
	control/config_rules.c control/config_route.c \
	control/config_text.c control/config_store.c control/times.c
PROGRAMS += postern-confd
postern-confd_SOURCES = control/confd.c control/confd_alerts.c \
	control/confd_directory.c control/confd_publish.c control/mgmt.c \
	control/mgmt_access.c control/mgmt_change.c control/mgmt_config.c control/mgmt_domain.c \
	control/mgmt_policy.c control/mgmt_status.c control/mgmt_tls.c \
	$(confd_SOURCES)
postern-confd_LIBS = $(EVENT_LIBS) $(SQLITE_LIBS) $(JANSSON_LIBS) \
	$(SECCOMP_LIBS) $(IDN2_LIBS)

# Two manual pages are made from the tables of settings and of events.
TOOLS += tabledoc
tabledoc_SOURCES = control/tabledoc.c
MADE_MANUALS += postern.conf.5 postern-events.7
postern.conf.5: tabledoc
	./tabledoc settings >$@
postern-events.7: tabledoc
	./tabledoc events >$@

cli_SOURCES = control/cli_args.c control/cli_explain.c control/cli_help.c control/cli_key.c \
	control/cli_log.c \
	control/cli_output.c control/cli_prompt.c control/cli_queue.c \
	control/cli_run.c control/cli_secret.c control/cli_show.c \
	control/cli_verbs.c control/client.c control/instance.c control/times.c
PROGRAMS += postern
postern_SOURCES = control/postern.c $(cli_SOURCES)
postern_LIBS = $(EVENT_LIBS) $(JANSSON_LIBS) $(IDN2_LIBS)

MANUALS += control/postern.8
MANUALS += control/postern-confd.8
MANUALS += control/postern-filter.7
MANUALS += control/postern-run.8

test_config_rules_SOURCES = $(confd_SOURCES)
test_config_text_SOURCES = $(confd_SOURCES)
test_config_store_SOURCES = $(confd_SOURCES)
test_times_SOURCES = control/times.c
test_cli_args_SOURCES = $(cli_SOURCES)
fuzz_config_text_SOURCES = $(confd_SOURCES)
