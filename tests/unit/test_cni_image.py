"""The image that the installed plugin starts from: whole, and no harm where it is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERBS = ("ADD", "DEL", "CHECK", "STATUS", "GC")
# A release's site-packages is this tree here.
LAUNCHER = """
. packaging/release.sh
MADE_BY='# test'
site_of() { echo "$PWD"; }
python=$1
launcher_text "$2" "$1"
"""


@pytest.fixture
def release(tmp_path: Path) -> Path:
    builder = [sys.executable, "-I", str(ROOT / "packaging/image.py"), str(ROOT), str(tmp_path / "image")]
    subprocess.run(builder, check=True, timeout=60)
    text = subprocess.run(
        ["bash", "-c", LAUNCHER, "bash", sys.executable, str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    (tmp_path / "launcher").write_text(text)
    return tmp_path


def run(release: Path, behind: str = "main()\n") -> str:
    """What the launcher prints, with `behind` in the place of its last line."""
    text = (release / "launcher").read_text().removesuffix("main()\n") + behind
    done = subprocess.run(
        [sys.executable, "-I", "-c", text],
        env={"CNI_COMMAND": "VERSION", "PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


def of_the_image(release: Path) -> bool:
    return "True" in run(
        release, "print(type(sys.modules['cni.main'].__spec__.loader).__name__ == 'Image')\n"
    )


def test_version_is_answered_from_the_image(release: Path) -> None:
    assert "1.1.0" in json.loads(run(release))["supportedVersions"]
    assert of_the_image(release)


def test_every_module_is_in_it_and_can_be_imported(release: Path) -> None:
    # `cni.utf8` has a file of its own.
    stems = {path.stem for path in (ROOT / "cni").glob("*.py")} - {"__init__", "utf8"}
    names = sorted(f"cni.{stem}" for stem in stems)
    behind = f"""
import importlib
for name in {names}:
    module = importlib.import_module(name)
    assert name == "cni.image" or type(module.__spec__.loader).__name__ == "Image", name
    assert name == "cni.image" or not module.__doc__, name
from cni import netconf
print(netconf.compile_network({{"name": "n", "type": "anypod", "ipam": {{"subnet": "10.1.0.0/24"}}}}, "1.0.0").bridge)
"""
    assert run(release, behind) == "cni0\n"


@pytest.mark.parametrize("verb", VERBS)
def test_all_that_a_verb_begins_with_is_in_its_file(release: Path, verb: str) -> None:
    module = {"DEL": "delete"}.get(verb, verb.lower())
    behind = f"""
image = sys.meta_path[0]
before = set(sys.modules)
image.group({verb!r})
import cni.{module}
new = [one for name, one in sys.modules.items() if name[:4] == "cni." and name not in before]
print(image._rest, {{type(one.__spec__.loader).__name__ for one in new}})
"""
    assert run(release, behind) == "None {'Image'}\n"


@pytest.mark.parametrize("harm", ["missing", "empty", "cut off", "changed", "another Python"])
def test_a_start_that_cannot_be_used_is_imported_in_the_ordinary_way(release: Path, harm: str) -> None:
    spoil(release / "image/start", harm)
    assert "1.1.0" in json.loads(run(release))["supportedVersions"]
    assert not of_the_image(release)


@pytest.mark.parametrize("harm", ["missing", "empty", "cut off", "changed", "another Python"])
def test_a_verb_s_file_that_cannot_be_used_is_done_without(release: Path, harm: str) -> None:
    for name in ("ADD", "rest"):
        spoil(release / "image" / name, harm)
    behind = "from cni.image import load; load('ADD'); from cni.add import add; print(add.__name__, add.__module__)\n"
    assert run(release, behind) == "add cni.add\n"


def spoil(path: Path, harm: str) -> None:
    data = bytearray(path.read_bytes())
    match harm:
        case "missing":
            path.unlink()
            return
        case "empty":
            data.clear()
        case "cut off":
            del data[len(data) // 2 :]
        case "changed":
            data[len(data) // 2] ^= 0x10
        case _:
            # What the builder of another version would have written in the place of the hash.
            import _imp

            data[:8] = _imp.source_hash((sys.hexversion >> 16) + 1, bytes(data[8:]))
    path.write_bytes(data)
