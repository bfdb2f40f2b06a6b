# SPDX-License-Identifier: ISC
"""The control block of shim_fault.so."""

import errno
import mmap
import struct

from . import shim

NONE, WRITE, SYNC, DESCRIPTOR, MEMORY = range(5)
# As struct control of shim_fault.c.
LAYOUT = struct.Struct("<64sIIqIIQ")


class Faults:
    """environment is postern-run's; arm() works at any time, but program may
    only change before a start."""

    def __init__(self, program):
        self.environment, path = shim("fault")
        with open(path, "r+b") as f:
            self.block = mmap.mmap(f.fileno(), 4096)
        self.program = program
        self.disarm()

    def _put(self, kind, error, left, lasting):
        # The kind last: it is what the shim looks at first.
        LAYOUT.pack_into(self.block, 0, self.program.encode(), NONE, error,
                         left, lasting, 0, 0)
        struct.pack_into("<I", self.block, 64, kind)

    def arm(self, kind, number, error=errno.EIO, lasting=False):
        """The Nth call from now fails; with lasting all later ones too."""
        self._put(kind, error, number, int(lasting))

    def disarm(self):
        self._put(NONE, 0, 0, 0)

    @property
    def fired(self):
        """How many calls failed."""
        return LAYOUT.unpack_from(self.block, 0)[5]

    @property
    def seen(self):
        """How many calls there were."""
        return LAYOUT.unpack_from(self.block, 0)[6]
