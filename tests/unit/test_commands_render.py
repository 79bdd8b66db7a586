"""`anypod render`, and the speaker's commands on a cluster.toml."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from speaker.cli import main
from speaker.config.speaker_toml import load

if TYPE_CHECKING:
    from pathlib import Path

CLUSTER = """[cluster]
design = "full-mesh"
asn = 64512
[[node]]
name = "a"
addresses = ["192.0.2.1"]
subnets = ["10.244.1.0/24"]
[[node]]
name = "b"
addresses = ["192.0.2.2"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.toml"
    path.write_text(CLUSTER)
    return path


def anypod(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(one) for one in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_check_says_which_node_it_judged(file: Path) -> None:
    code, out, _ = anypod("speaker", "check", "--cluster", file, "--node", "a")
    assert (code, out) == (0, f"{file}: ok: AS 64512, 1 peer\n")


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_wrong_cluster_is_one_line_and_exit_code_2(file: Path, command: str) -> None:
    file.write_text(CLUSTER.replace("full-mesh", "mesh"))
    assert anypod("speaker", command, "--cluster", file, "--node", "a") == (
        2,
        "",
        f'{file}: cluster.design: "mesh" is not allowed; write "full-mesh" or "rack" or "reflectors"\n',
    )


def test_files_are_written_once_and_then_left_alone(file: Path, tmp_path: Path) -> None:
    code, out, err = anypod("render", "--cluster", file, "--node", "a", "all", "--output", tmp_path)
    speaker, conflist = tmp_path / "speaker.toml", tmp_path / "10-anypod.conflist"
    assert (code, out, err) == (0, "", f"{speaker}: written\n{conflist}: written\n")
    assert load(str(speaker)).bgp.router_id == "192.0.2.1"
    assert json.loads(conflist.read_text())["name"] == "pods"
    before = speaker.stat().st_mtime_ns, speaker.stat().st_ino
    code, out, err = anypod("render", "--cluster", file, "--node", "a", "all", "--output", tmp_path)
    assert (code, out, err) == (0, "", f"{speaker}: unchanged\n{conflist}: unchanged\n")
    assert (speaker.stat().st_mtime_ns, speaker.stat().st_ino) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "10-anypod.conflist",
        "cluster.toml",
        "speaker.toml",
    ]


def test_a_node_without_pods_has_no_conflist(file: Path, tmp_path: Path) -> None:
    code, _, err = anypod("render", "--cluster", file, "--node", "b", "all", "--output", tmp_path)
    assert (code, err) == (0, f"{tmp_path / 'speaker.toml'}: written\n")
    code, _, err = anypod("render", "--cluster", file, "--node", "b", "conflist")
    assert code == 2
    assert err.startswith(f"{file}: node: b has no subnets, so no pods; ")


def test_standard_output_has_the_file_itself(file: Path) -> None:
    code, out, err = anypod("render", "--cluster", file, "--node", "a", "speaker")
    assert (code, err) == (0, "")
    assert out.startswith(f"# Made from {file} for a: change that file.\n\n[bgp]\nasn = 64512\n")


def test_a_directory_that_cannot_be_written_is_one_line(file: Path, tmp_path: Path) -> None:
    where = tmp_path / "none"
    code, _, err = anypod("render", "--cluster", file, "--node", "a", "speaker", "--output", where)
    assert code == 1
    assert err == (
        f"{where / 'speaker.toml'}: not written: No such file or directory; name another --output\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["render", "all"],
        ["render"],
        ["render", "zebra"],
        ["speaker", "check", "--config", "a", "--cluster", "b"],
        ["speaker", "check", "--node", "a"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    code, out, err = anypod(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: ")
