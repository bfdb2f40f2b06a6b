/* SPDX-License-Identifier: ISC */
/*
 * "postern explain": what would become of a mail, and why, by the code that
 * decides it (common/policy.h, signer/plan.h).
 */
#ifndef SIGNER_EXPLAIN_H
#define SIGNER_EXPLAIN_H

#include "signer/manage.h"

/* {from, to, subject?, headers?: ["NAME:VALUE", ...]} */
manage_verb_fn signer_explain;

#endif
