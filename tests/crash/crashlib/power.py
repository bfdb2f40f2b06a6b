# SPDX-License-Identifier: ISC
"""Power cuts: what a recording of shim_record.so may leave on the disk.

The model.  What was written before a sync of the same file began is on the
disk when that sync has ended.  Of everything later, any subset is: in blocks
of 4 KiB, each with any of its versions; the last one may be torn at a sector
of 512 octets.  A cut (ftruncate) is one change like a block.  The file is as
long as its last block that is there, or as long as it was meant to be, with
zeros between.  A name (made, removed, renamed) is there only after a sync of
its folder that began later; before, any subset of a folder's changes is.
"""

import os
import shutil
import struct

BLOCK = 4096
SECTOR = 512

(START, OPEN, WRITE, CUT, UNLINK, MKDIR, RENAME, SYNC_BEGIN, SYNC_END, SAID,
 HEARD) = range(1, 12)
HEAD = struct.Struct("<IiQQQQ")

ID_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
ID_SIZE = 13
# Of each peer, what was heard last: more results than come between a commit
# and the 250 of it.
HEARD_KEPT = 1 << 16


def id_octets(text):
    """A queue id as it stands in a frame."""
    value = 0
    for digit in text.lower():
        value = value * 32 + ID_DIGITS.index(digit)
    return struct.pack("<Q", value)


class Record:
    __slots__ = ("kind", "fd", "inode", "offset", "aux", "data")

    def __init__(self, head, data):
        self.kind, self.fd, self.inode, self.offset, self.aux, _ = head
        self.data = data


def read(path):
    """The records of a recording; a last one cut by a kill is left out."""
    with open(path, "rb") as f:
        text = f.read()
    at, found = 0, []
    while at + HEAD.size <= len(text):
        head = HEAD.unpack_from(text, at)
        end = at + HEAD.size + head[5]
        if end > len(text):
            break
        found.append(Record(head, text[at + HEAD.size:end]))
        at = end
    return found


class File:
    """Octets on the disk, and changes that are not yet sure."""

    def __init__(self):
        self.sure = bytearray()
        self.pending = []  # (offset, octets), or (length, None): a cut
        self.began = {}    # fd of a sync: how much of pending it covers

    def write(self, offset, data):
        at = 0
        while at < len(data):
            n = min(BLOCK - (offset + at) % BLOCK, len(data) - at)
            self.pending.append((offset + at, data[at:at + n]))
            at += n

    def cut(self, length):
        self.pending.append((length, None))

    def sync_begin(self, fd):
        self.began[fd] = len(self.pending)

    def sync_end(self, fd):
        count = self.began.pop(fd, 0)
        for change in self.pending[:count]:
            apply(self.sure, change)
        del self.pending[:count]
        for other in self.began:
            self.began[other] = max(0, self.began[other] - count)


def apply(octets, change):
    offset, data = change
    if data is None:
        if offset < len(octets):
            del octets[offset:]
        else:
            octets.extend(bytes(offset - len(octets)))
        return
    if offset > len(octets):
        octets.extend(bytes(offset - len(octets)))
    octets[offset:offset + len(data)] = data


class Folder:
    def __init__(self):
        self.sure = {}     # name: File or Folder
        self.now = {}
        self.pending = []  # functions that change a dict of names
        self.began = {}

    def change(self, function):
        function(self.now)
        self.pending.append(function)

    def sync_begin(self, fd):
        self.began[fd] = len(self.pending)

    def sync_end(self, fd):
        count = self.began.pop(fd, 0)
        for function in self.pending[:count]:
            function(self.sure)
        del self.pending[:count]
        for other in self.began:
            self.began[other] = max(0, self.began[other] - count)


def _put(name, what):
    return lambda names: names.__setitem__(name, what)


def _drop(name):
    return lambda names: names.pop(name, None)


class Disk:
    """What a recording has done up to a point.  base: a folder whose content
    is on the disk when the recording begins."""

    def __init__(self, base=None):
        self.root = Folder()
        self.inodes = {}
        if base:
            self._take(base, self.root)

    def _take(self, path, folder):
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False):
                thing = Folder()
                self._take(entry.path, thing)
            elif entry.is_file(follow_symlinks=False):
                thing = File()
                with open(entry.path, "rb") as f:
                    thing.sure = bytearray(f.read())
            else:
                continue
            self.inodes[entry.inode()] = thing
            folder.sure[entry.name] = folder.now[entry.name] = thing

    def _find(self, path):
        """(the folder, the last name)"""
        folder = self.root
        *above, last = [w for w in path.split("/") if w != "."]
        for name in above:
            folder = folder.now[name]
        return folder, last

    def _lookup(self, path):
        if path == "":
            return self.root
        folder, name = self._find(path)
        return folder.now.get(name)

    def do(self, record):
        # pylint: disable=too-many-branches
        kind = record.kind
        if kind == OPEN:
            path = record.data.decode().removesuffix("/.")
            thing = self._lookup(path)
            if record.aux:
                folder, name = self._find(path)
                thing = File()
                folder.change(_put(name, thing))
            if thing is None:
                raise ValueError(f"{path} was there before the recording")
            self.inodes[record.inode] = thing
        elif kind == WRITE:
            self.inodes[record.inode].write(record.offset, record.data)
        elif kind == CUT:
            self.inodes[record.inode].cut(record.offset)
        elif kind == UNLINK:
            folder, name = self._find(record.data.decode())
            folder.change(_drop(name))
        elif kind == MKDIR:
            folder, name = self._find(record.data.decode())
            folder.change(_put(name, Folder()))
        elif kind == RENAME:
            old, new = record.data.decode().split("\0")
            thing = self._lookup(old)
            folder, name = self._find(new)
            folder.change(_put(name, thing))
            folder, name = self._find(old)
            folder.change(_drop(name))
        elif kind == SYNC_BEGIN:
            self.inodes[record.inode].sync_begin(record.fd)
        elif kind == SYNC_END:
            self.inodes[record.inode].sync_end(record.fd)
        elif kind == START:
            for thing in self.inodes.values():
                thing.began.clear()

    def pending(self):
        """How many changes are not yet sure."""
        return sum(len(thing.pending) for thing in
                   {id(t): t for t in [self.root, *self.inodes.values()]}
                   .values())

    def differs_from(self, path, passing):
        """What is not as a folder is now, where every change was carried
        out; names with one of those parts do not count."""
        return sorted(self._differences(self.root, path, "", passing))

    def _differences(self, folder, path, prefix, passing):
        there = {entry.name for entry in os.scandir(path)}
        for name in sorted(there | set(folder.now)):
            if any(part in name for part in passing):
                continue
            thing = folder.now.get(name)
            at = os.path.join(path, name)
            if thing is None or name not in there:
                yield prefix + name + (" was not recorded" if thing is None
                                       else " is gone")
            elif isinstance(thing, Folder):
                yield from self._differences(thing, at, f"{prefix}{name}/",
                                             passing)
            else:
                octets = bytearray(thing.sure)
                for change in thing.pending:
                    apply(octets, change)
                with open(at, "rb") as f:
                    if f.read() != octets:
                        yield prefix + name + " has another content"

    def crash(self, path, rng):
        """Builds one state below path."""
        os.mkdir(path, 0o700)
        self._build(self.root, path, rng)

    def _build(self, folder, path, rng):
        names = dict(folder.sure)
        for function in choose(folder.pending, rng):
            function(names)
        for name, thing in names.items():
            at = os.path.join(path, name)
            if isinstance(thing, Folder):
                os.mkdir(at, 0o700)
                self._build(thing, at, rng)
            else:
                with open(os.open(at, os.O_WRONLY | os.O_CREAT, 0o600),
                          "wb") as f:
                    f.write(self._content(thing, rng))

    @staticmethod
    def _content(thing, rng):
        if not thing.pending:
            return thing.sure
        octets = bytearray(thing.sure)
        chosen = choose(thing.pending, rng)
        torn = len(chosen) - 1 if chosen and rng.random() < 0.5 else -1
        for i, (offset, data) in enumerate(chosen):
            if i == torn and data is not None and len(data) > SECTOR:
                data = data[:rng.randrange(len(data) // SECTOR) * SECTOR]
            apply(octets, (offset, data))
        if rng.random() < 0.3:
            # Its length was noted, its last blocks were not.
            meant = bytearray(thing.sure)
            for change in thing.pending:
                apply(meant, change)
            if len(meant) > len(octets):
                octets.extend(bytes(len(meant) - len(octets)))
        return octets


def choose(changes, rng):
    """A subset, in order: nothing, all, a beginning, all but one, one alone,
    or any."""
    n = len(changes)
    if n == 0:
        return []
    way = rng.randrange(7)
    if way == 0:
        return []
    if way == 1:
        return list(changes)
    if way == 2:
        return changes[:rng.randrange(n + 1)]
    if way == 3:
        left_out = rng.randrange(n)
        return [c for i, c in enumerate(changes) if i != left_out]
    if way == 4:
        return [changes[rng.randrange(n)]]
    share = rng.random()
    return [c for c in changes if rng.random() < share]


class Duties:
    """Which mails have to be there at a point of the recording."""

    def __init__(self):
        self.owed = {}      # queue id: its octets
        self.ever = set()   # also those that are no longer owed
        self.settled = set()
        self.heard = {}     # fd: the end of what was heard there

    def do(self, record):
        if record.kind == SAID:
            at = record.data.find(b"Queued as ")
            while at >= 0:
                at += len(b"Queued as ")
                word = record.data[at:at + ID_SIZE].decode()
                self.ever.add(word)
                self._begin(word, record.fd)
                at = record.data.find(b"Queued as ", at)
        elif record.kind == HEARD:
            # After its 250 only a result names a mail.
            before = self.heard.get(record.fd, b"")
            heard = before[-7:] + record.data
            self.heard[record.fd] = (before + record.data)[-HEARD_KEPT:]
            for word in [w for w, o in self.owed.items() if o in heard]:
                del self.owed[word]
                self.settled.add(word)
        elif record.kind == START:
            self.heard.clear()

    def _begin(self, word, client):
        """From now on it is owed, unless relayd delivered it before: what is
        committed may be read back and given to it before the 250 is said.
        Who brought the mail has named it, any other peer only in a result."""
        octets = id_octets(word)
        if word in self.settled:
            return
        if any(octets in heard for fd, heard in self.heard.items()
               if fd != client):
            self.settled.add(word)
        else:
            self.owed[word] = octets


def drop(path):
    shutil.rmtree(path, ignore_errors=True)
