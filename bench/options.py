"""What every benchmark of the plugin is told on its command line."""

from __future__ import annotations

import argparse
import os


def parser(doc: str | None, rounds: int, quick: int) -> argparse.ArgumentParser:
    """Options of all of them. `rounds` is how many there are, `quick` how many with --quick."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    prefix = os.environ.get("ANYPOD_PREFIX", "")
    made.add_argument("--plugin", default=f"{prefix}/opt/cni/bin/anypod")
    made.add_argument("--reference", default="/usr/lib/cni", help="where the reference plugins are")
    made.add_argument("--json", default="", help="the file that keeps the results")
    made.add_argument("--rounds", type=int, default=rounds)
    made.add_argument(
        "--quick", dest="rounds", action="store_const", const=quick, help="few rounds, for trying"
    )
    return made
