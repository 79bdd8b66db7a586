"""The command line: quick, and without a traceback for what a person can cause."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from speaker.cli import main

if TYPE_CHECKING:
    from pathlib import Path

GOOD = '[bgp]\nasn = 65001\nrouter-id = "10.0.0.1"\n'


def test_help_lists_every_command_without_loading_it() -> None:
    code = (
        "import sys, click.testing, speaker.cli as c;"
        "r = click.testing.CliRunner().invoke(c.main, ['--help']);"
        "print(r.output);"
        "heavy = {'grpc', 'pyroute2', 'jsonschema', 'lab', 'google.protobuf'} & set(sys.modules);"
        "sys.exit(f'loaded: {heavy}' if heavy or r.exit_code else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "  lab " in done.stdout
    assert "  speaker " in done.stdout


def test_version() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("anypod ")


def test_check_accepts(tmp_path: Path) -> None:
    file = tmp_path / "speaker.toml"
    file.write_text(GOOD)
    result = CliRunner().invoke(main, ["speaker", "check", "--config", str(file)])
    assert (result.exit_code, result.output) == (0, f"{file}: ok: AS 65001, 0 peers\n")


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_wrong_configuration_is_one_line_and_exit_code_2(tmp_path: Path, command: str) -> None:
    file = tmp_path / "speaker.toml"
    file.write_text(GOOD.replace("10.0.0.1", "10.0.0"))
    result = CliRunner().invoke(main, ["speaker", command, "--config", str(file)])
    assert result.exit_code == 2
    assert result.output == (
        f'{file}: bgp.router-id: "10.0.0" is not an IPv4 address; write it like 10.0.0.1\n'
    )


@pytest.mark.parametrize(
    "arguments", [["speaker", "walk"], ["speaker", "run", "--log-level", "loud"], ["no"]]
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, arguments).exit_code == 2
