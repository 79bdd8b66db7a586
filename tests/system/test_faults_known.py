"""ADD and DEL of a node whose network is known, with each system call failing that can fail for want of something.

No space (ENOSPC), a broken disk (EIO), a file system that became read-only (EROFS), no descriptors (EMFILE,
ENFILE), no memory (ENOMEM, ENOBUFS): one call fails, once. The answer is then a success with nothing missing,
or one CNI error object; a failed ADD left nothing even before the DEL; after the DEL all is as before. Where
the interpreter itself does not come up, there is no object, but nothing is left either.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from tests.system import injector
from tests.system.crash_rig import Scene, add, delete, nothing, stage
from tests.system.fault_rig import FaultWalk, faults
from tests.system.syscalls import one_of, opens_for_writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.installed import Installation
    from tests.system.injector import SystemCall

pytestmark = [
    pytest.mark.skipif(not injector.SUPPORTED, reason="the injector knows the registers of x86-64"),
    pytest.mark.timeout(600),
]
SECONDS = 500
WRITING = one_of("write pwrite64 writev ftruncate fallocate fsync fdatasync")
CLASSES: dict[int, Callable[[SystemCall], bool]] = {
    errno.ENOSPC: lambda call: call.number in WRITING or opens_for_writing(call),
    errno.EIO: lambda call: call.number in WRITING | one_of("read pread64 getdents64 newfstatat"),
    errno.EROFS: lambda call: call.number in one_of("mkdir unlink rename chmod") or opens_for_writing(call),
    errno.EMFILE: lambda call: call.number in one_of("openat socket socketpair pipe2 dup epoll_create1"),
    errno.ENFILE: lambda call: call.number in one_of("openat socket socketpair pipe2"),
    errno.ENOMEM: lambda call: call.number in one_of("mmap sendto recvfrom socket setns setsockopt vfork"),
    errno.ENOBUFS: lambda call: call.number in one_of("sendto recvfrom sendmsg recvmsg"),
}


@pytest.fixture(scope="module")
def scenes(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Scene]]:
    """Nodes with a pod attached, and a namespace for another one."""
    with stage(installation.plugin, tmp_path_factory, ipMasq=True) as made:
        for scene in made:
            scene.node.add("warm", scene.node.pods[0], scene.conf)
        yield made


WALKS = {
    "add": FaultWalk("ADD", nothing, delete),
    "del": FaultWalk("DEL", add, delete),
}


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS.keys())
def test_a_call_with_any_failing_system_call_is_whole_or_an_error_object(
    scenes: list[Scene], walk: FaultWalk
) -> None:
    found = faults(walk.record(scenes[0], SECONDS), CLASSES)
    counts = walk.fail(scenes, found, SECONDS)
    print(f"{walk.verb}: {len(found)} faults, {dict(counts)}")
    assert counts["failure in the call"] > 100
    assert counts["missed"] < 0.05 * len(found)
