"""What bash offers behind `anypod`, from the file that install.sh puts where bash-completion looks."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["anypod", "stat"], {"status"}),
        (["anypod", "routes", "l"], {"learned"}),
        (["anypod", "explain", "--state"], {"--state-dir"}),
        (["anypod", "peers", "-o", ""], {"text", "json", "yaml"}),
    ],
)
def test_bash_completes_the_command(prefix: Path, words: list[str], offered: set[str]) -> None:
    file = prefix / "usr/local/share/bash-completion/completions/anypod"
    quoted = " ".join(f"'{word}'" for word in words)
    script = (
        f"source {file}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1};"
        f' _anypod_completion {prefix}/usr/local/bin/anypod; echo "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert set(done.stdout.split()) == offered
