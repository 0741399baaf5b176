"""Writes cpio archives in the `newc` format of Linux initial file systems (Documentation/driver-api/early-userspace/
buffer-format.rst), with the owners and device nodes that an archive made by an unprivileged user would lack."""

import os
import stat


class Archive:
    """One archive, built in memory. Parent folders are added where they are missing."""

    def __init__(self):
        self._parts = []
        self._names = set()

    def folder(self, name, mode=0o755):
        """Adds a folder, and its parents."""
        parent = os.path.dirname(name)
        if parent and parent not in self._names:
            self.folder(parent)
        if name not in self._names:
            self._entry(name, stat.S_IFDIR | mode, b"")

    def file(self, name, data, mode=0o644):
        """Adds a regular file of the given bytes."""
        self._parent(name)
        self._entry(name, stat.S_IFREG | mode, data)

    def link(self, name, target):
        """Adds a symbolic link."""
        self._parent(name)
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name, major, minor, mode=0o600):
        """Adds a character device node."""
        self._parent(name)
        self._entry(name, stat.S_IFCHR | mode, b"", (major, minor))

    def bytes(self):
        """The archive so far, with its trailer. Archives may be joined end to end."""
        return b"".join(self._parts) + _record(0, "TRAILER!!!", 0, b"", (0, 0))

    def _parent(self, name):
        parent = os.path.dirname(name)
        if parent:
            self.folder(parent)

    def _entry(self, name, mode, data, device=(0, 0)):
        if name in self._names:
            raise ValueError(f"{name} is in the archive already")
        self._names.add(name)
        self._parts.append(_record(len(self._names), name, mode, data, device))


def _record(inode, name, mode, data, device):
    path = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (inode, mode, 0, 0, links, 0, len(data), 0, 0, device[0], device[1], len(path), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + path) + _padded(data)


def _padded(data):
    return data + bytes(-len(data) % 4)
