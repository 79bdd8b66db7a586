"""Where the speaker keeps its own files: `<state.dir>/speaker/`."""

from __future__ import annotations

from pathlib import Path

from cni.speakerfile import DIRECTORY


def place(state_dir: str) -> Path:
    """The directory."""
    return Path(state_dir) / DIRECTORY


def make_place(state_dir: str) -> Path:
    """The directory, made where it is not there; OSError where it can't be. The plugin may come later."""
    made = place(state_dir)
    for directory in (made.parent, made):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return made
