# SPDX-License-Identifier: ISC
"""The parts of tests/bench/run."""
