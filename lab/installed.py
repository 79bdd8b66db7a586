"""Where the things under test are: the installed plugin and the anypod command. Run, never imported."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

PLUGIN = Path("opt/cni/bin/anypod")
RELEASES = Path("opt/anypod/releases")


@dataclass(frozen=True, slots=True)
class Installation:
    """The plugin's executable and the command line that `anypod` stands for."""

    plugin: Path
    anypod: tuple[str, ...]


def find() -> Installation:
    """The installation that this code runs from, unless ANYPOD_CNI_BIN names another plugin."""
    return Installation(_plugin(), _anypod())


def _plugin() -> Path:
    chosen = os.environ.get("ANYPOD_CNI_BIN")
    plugin = Path(chosen) if chosen else _prefix() / PLUGIN
    if not plugin.is_absolute() or not os.access(plugin, os.X_OK):
        if chosen:
            raise LabError(f"ANYPOD_CNI_BIN: {chosen} is not an executable; give the plugin's absolute path")
        raise LabError(f"the plugin is not installed at {plugin}; install it with ./install.sh")
    return plugin


def _prefix() -> Path:
    """PREFIX of PREFIX/opt/anypod/releases/<id>, where the running interpreter's environment is; else /."""
    environment = Path(sys.prefix).resolve()
    if environment.parent.parts[-len(RELEASES.parts) :] == RELEASES.parts:
        return environment.parents[len(RELEASES.parts)]
    return Path("/")


def _anypod() -> tuple[str, ...]:
    """The console script beside the interpreter; a source tree without one runs the module."""
    script = Path(sys.executable).with_name("anypod")
    if script.is_file():
        return (str(script),)
    return (sys.executable, "-c", "from speaker.cli import main; main()")
