# SPDX-License-Identifier: ISC
"""What system tests share: an instance, clients, peers, DNS, TAP."""
