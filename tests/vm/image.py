"""An initramfs made of this machine's own files at their own paths, with what they are linked to."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterable

ELF = b"\x7fELF"
SECONDS = 60
_LIBRARY = re.compile(r"(?:=> |^\s)(/\S+) \(0x", re.MULTILINE)


class Image:
    """The entries of an archive in the kernel's format, "newc" of cpio."""

    def __init__(self) -> None:
        # A path that is a Path is a file of this machine.
        self._entries: dict[str, tuple[int, Path | bytes]] = {}

    def put(self, path: str, data: bytes) -> None:
        """A file with this content, which may be run."""
        folder = self._folder(os.path.dirname(path))
        self._entries[f"{folder}/{os.path.basename(path)}"] = (stat.S_IFREG | 0o755, data)

    def add(self, path: str, without: Iterable[str] = ()) -> None:
        """A file or folder of this machine, but for some names in it; links, and what they lead to."""
        folder = self._folder(os.path.dirname(path))
        self._add(f"{folder}/{os.path.basename(path)}", tuple(without))

    def add_libraries(self) -> None:
        """The shared libraries of all that is in the image by now."""
        binaries = [path for path, (_, content) in self._entries.items() if _is_elf(content)]
        # A static program is no failure: ldd says so and goes on.
        done = subprocess.run(
            ["ldd", *binaries], check=False, capture_output=True, text=True, timeout=SECONDS
        )
        for library in sorted(set(_LIBRARY.findall(done.stdout))):
            self.add(library)

    def write(self, file: BinaryIO) -> None:
        """The archive: each folder before what is in it."""
        for number, (path, (mode, content)) in enumerate(sorted(self._entries.items()), 1):
            if isinstance(content, bytes):
                _write_entry(file, path, (number, mode, 0), content)
            else:
                inode = number, mode, int(content.stat().st_mtime)
                _write_entry(file, path, inode, content.read_bytes())
        _write_entry(file, "/TRAILER!!!", (0, 0, 0), b"")

    def _folder(self, path: str) -> str:
        """Records a folder and those above it; its path without links, "" for the root."""
        if path in ("", "/"):
            return ""
        here = f"{self._folder(os.path.dirname(path))}/{os.path.basename(path)}"
        if os.path.islink(here):
            return self._folder(self._link(here))
        self._entries[here] = (stat.S_IFDIR | 0o755, b"")
        return here

    def _link(self, path: str) -> str:
        """Records a link; where it leads to."""
        target = os.readlink(path)
        self._entries[path] = (stat.S_IFLNK | 0o777, target.encode())
        return os.path.normpath(os.path.join(os.path.dirname(path), target))

    def _add(self, path: str, without: tuple[str, ...]) -> None:
        if path in self._entries and not stat.S_ISDIR(self._entries[path][0]):
            return
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            self.add(self._link(path), without)
        elif stat.S_ISDIR(mode):
            self._entries[path] = (stat.S_IFDIR | 0o755, b"")
            for name in os.listdir(path):
                if not any(fnmatch(name, pattern) for pattern in without):
                    self._add(f"{path}/{name}", without)
        elif stat.S_ISREG(mode):
            self._entries[path] = (mode, Path(path))


def _is_elf(content: Path | bytes) -> bool:
    if isinstance(content, bytes):
        return False
    with content.open("rb") as file:
        return file.read(len(ELF)) == ELF


def _write_entry(file: BinaryIO, path: str, inode: tuple[int, int, int], data: bytes) -> None:
    """One entry; Documentation/driver-api/early-userspace/buffer-format.rst of Linux.

    With the time of the last change: by it Python tells whether what it compiled still holds.
    """
    number, mode, changed = inode
    name = path[1:].encode() + b"\0"
    user = group = device = checksum = 0
    fields = [number, mode, user, group, 1, changed, len(data), *[device] * 4, len(name), checksum]
    header = b"070701" + b"".join(b"%08X" % one for one in fields) + name
    file.write(header + bytes(-len(header) % 4) + data + bytes(-len(data) % 4))
