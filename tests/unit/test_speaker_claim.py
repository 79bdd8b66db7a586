"""One speaker for one gobgpd and one state directory, however they are spelled."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from speaker.claim import TakenError, claim

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("unix:///{0}/api.sock", "{0}/one"), ("unix:///{0}/api.sock", "{0}/two")),
        (("unix:///{0}/api.sock", "{0}/one"), ("unix:////{0}/./api.sock", "{0}/two")),
        (("unix:///{0}/api.sock", "{0}/one"), ("unix:{0}/api.sock", "{0}/two")),
        (("unix:///{0}/link/api.sock", "{0}/one"), ("unix:///{0}/api.sock", "{0}/two")),
        (("unix:///{0}/api.sock", "{0}/one"), ("unix:///{0}/other.sock", "{0}/one")),
        (("unix:///{0}/none/api.sock", "{0}/one"), ("unix:///{0}/none/api.sock", "{0}/two")),
        (("localhost:50051", "{0}/one"), ("localhost:50051", "{0}/two")),
        (("localhost:50051", "{0}/one"), ("localhost:50052", "{0}/one")),
    ],
)
def test_what_another_has_is_taken(tmp_path: Path, first: tuple[str, str], second: tuple[str, str]) -> None:
    (tmp_path / "link").symlink_to(".")
    mine, others = ([text.format(tmp_path) for text in texts] for texts in (first, second))
    with claim(*mine), pytest.raises(TakenError), claim(*others):
        raise AssertionError("both have it")
    with claim(*others):
        pass


def test_others_are_free(tmp_path: Path) -> None:
    with contextlib.ExitStack() as held:
        for name in ("one", "two"):
            held.enter_context(claim(f"unix://{tmp_path}/{name}.sock", str(tmp_path / name)))
        held.enter_context(claim("localhost:50051", str(tmp_path / "three")))


def test_a_directory_that_cant_be_written_is_no_reason(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with claim(f"unix://{tmp_path}/state/api.sock", str(tmp_path / "state")):
        pass
