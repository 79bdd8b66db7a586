"""Debian's cloud kernel, downloaded and never installed: it has what a test machine's own kernel may lack."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PACKAGE = "linux-image-cloud-amd64"
SECONDS = 120
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")


class MissingError(Exception):
    """What the machine is made of can't be had; the message says why and what to do."""


def package(cache: Path) -> Path:
    """The kernel's package, from the cache or downloaded into it."""
    found = sorted(cache.glob("linux-image-*-cloud-amd64_*.deb"))
    return found[-1] if found else _download(cache)


def _download(cache: Path) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        try:
            _fetch(folder)
        except MissingError:
            # apt may know none yet, or one that is no longer to be had.
            _apt("apt-get", "-q", "update")
            _fetch(folder)
        made = next(Path(folder).glob("*.deb"))
        return made.rename(cache / made.name)


def _fetch(folder: str) -> None:
    shown = _apt("apt-cache", "depends", "--important", PACKAGE)
    names = re.findall(r"Depends: (linux-image-\S+-cloud-amd64)", shown)
    if not names:
        raise MissingError(f"apt knows no {PACKAGE}, which Debian has for amd64")
    # apt's own user may not write here: it says so, and downloads as root.
    _apt("apt-get", "-q", "download", names[-1], cwd=folder)


def _apt(*argv: str, cwd: str = "/") -> str:
    env = os.environ | {"LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            argv, cwd=cwd, env=env, check=True, capture_output=True, text=True, timeout=SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = str(getattr(error, "stderr", None) or error).strip()
        raise MissingError(
            f"{' '.join(argv)} failed: {reason}; see that it works, then run this again"
        ) from None
    return done.stdout


@dataclass(frozen=True, slots=True)
class Kernel:
    """The kernel itself, and modules by name in the order in which they are to be loaded."""

    image: bytes
    modules: dict[str, bytes]


def unpack(deb: Path, wanted: Iterable[str]) -> Kernel:
    """The kernel of the package, and those modules with all that they need."""
    image, modules = b"", {}
    for name, data in _files(deb):
        if name.startswith("./boot/vmlinuz-"):
            image = data
        elif name.endswith(".ko"):
            modules[os.path.basename(name)[:-3].replace("-", "_")] = data
    ordered: dict[str, bytes] = {}
    for one in wanted:
        _order(one, modules, ordered)
    return Kernel(image, ordered)


def _files(deb: Path) -> Iterator[tuple[str, bytes]]:
    """The package's kernel and modules."""
    process = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
    with process, tarfile.open(fileobj=process.stdout, mode="r|") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None and re.match(r"\./(boot/vmlinuz-|lib/modules/)", member.name):
                yield member.name, content.read()
    if process.returncode:
        raise MissingError(f"{deb} can't be unpacked; remove it, and it is downloaded anew")


def _order(name: str, modules: dict[str, bytes], ordered: dict[str, bytes]) -> None:
    """Puts a module behind those that it needs; one that is built in is not in the package as a module."""
    if name in ordered or name not in modules:
        return
    found = _DEPENDS.search(modules[name])
    for needed in found[1].decode().split(",") if found else ():
        _order(needed.replace("-", "_"), modules, ordered)
    ordered[name] = modules[name]
