"""Word of refused ADDs: bounded, clean, and never a reason for another error."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from cni.errors import EXHAUSTED, TRY_AGAIN_LATER, VIP_REFUSED, CniError
from cni.refusals import FILE, KEPT, MAX_SIZE, note, read
from cni.spec import Call

if TYPE_CHECKING:
    from pathlib import Path


def refuse(
    directory: Path,
    container: str = "c1",
    code: int = EXHAUSTED,
    message: str = "none is left",
    name: str = "web",
    namespace: str = "shop",
) -> None:
    call = Call("ADD", container, "/run/netns/x", "eth0")
    call.args = {"K8S_POD_NAMESPACE": namespace, "K8S_POD_NAME": name}
    note(call, {"name": "pods", "stateDir": str(directory)}, CniError(code, message))


def test_it_says_whose_add_was_refused_and_why(tmp_path: Path) -> None:
    refuse(tmp_path)
    (one,) = read(str(tmp_path))
    assert one.pop("at") > 0
    assert one == {
        "container": "c1",
        "ifname": "eth0",
        "network": "pods",
        "pod": "shop/web",
        "code": EXHAUSTED,
        "message": "none is left",
    }
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [FILE]


def test_a_pod_without_a_namespace_has_its_name_alone(tmp_path: Path) -> None:
    refuse(tmp_path, namespace="")
    assert [one["pod"] for one in read(str(tmp_path))] == ["web"]


def test_an_attachment_is_there_once_and_the_oldest_go(tmp_path: Path) -> None:
    for number in range(KEPT + 5):
        refuse(tmp_path, f"c{number}")
    refuse(tmp_path, f"c{KEPT}", VIP_REFUSED)
    containers = [one["container"] for one in read(str(tmp_path))]
    assert len(containers) == KEPT == len(set(containers))
    assert containers[-1] == f"c{KEPT}"


def test_what_passes_by_itself_is_not_kept(tmp_path: Path) -> None:
    refuse(tmp_path, code=TRY_AGAIN_LATER)
    assert os.listdir(tmp_path) == []


def test_names_are_cleaned_and_everything_is_bounded(tmp_path: Path) -> None:
    for number in range(KEPT):
        refuse(
            tmp_path, f"{number}" * 100, message="\x1b[31m\u202e" + "x" * 5000, name="\x1b]0;evil\x07\n" * 500
        )
    assert (tmp_path / FILE).stat().st_size < MAX_SIZE
    for one in read(str(tmp_path)):
        assert all(" " <= letter <= "~" for key in ("pod", "message") for letter in one[key])


@pytest.mark.parametrize(
    "content", ["", "{}", '[1, {}, {"at": 1}]', "[" * 100_000, "\xff", "x" * MAX_SIZE * 2]
)
def test_a_file_of_somebody_else_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_bytes(content.encode("latin-1"))
    assert read(str(tmp_path)) == []
    refuse(tmp_path)
    assert len(read(str(tmp_path))) == 1


def test_a_fifo_hangs_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE)
    refuse(tmp_path)
    assert len(read(str(tmp_path))) == 1


def test_without_a_directory_nothing_is_made(tmp_path: Path) -> None:
    refuse(tmp_path / "none")
    assert not (tmp_path / "none").exists()
