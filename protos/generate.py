"""Makes the `*_pb2.py` and `*_pb2.pyi` files from our .proto files, or checks that they are up to date.

python protos/generate.py          writes them
python protos/generate.py --check  exits 1 and lists the difference when a file is out of date

It needs the grpcio-tools version that pyproject.toml pins under `dev`: other versions write other files.
"""

from __future__ import annotations

import difflib
import subprocess
import sys
import tempfile
from pathlib import Path

PROTOS = Path(__file__).resolve().parent


def generate(target: Path) -> list[Path]:
    """Compiles every definition below protos/ into `target`; gives the paths made, relative to it."""
    sources = sorted(str(path.relative_to(PROTOS.parent)) for path in PROTOS.rglob("*.proto"))
    compiler = [sys.executable, "-m", "grpc_tools.protoc"]
    options = [f"-I{PROTOS.parent}", f"--python_out={target}", f"--pyi_out={target}"]
    subprocess.run([*compiler, *options, *sources], check=True)
    return sorted(path.relative_to(target) for path in target.rglob("*_pb2.py*"))


def difference(made: Path, kept: Path, name: Path) -> list[str]:
    """The unified diff from the kept file to the made one; a missing file counts as empty."""
    old = kept.read_text().splitlines(keepends=True) if kept.exists() else []
    new = made.read_text().splitlines(keepends=True) if made.exists() else []
    return list(difflib.unified_diff(old, new, f"{name} (in the repository)", f"{name} (generated)"))


def check() -> int:
    """Compares without writing; also finds generated files whose definition is gone."""
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory)
        kept = {path.relative_to(PROTOS.parent) for path in PROTOS.rglob("*_pb2.py*")}
        names = [name for name in sorted(kept | set(generate(target))) if name.suffix != ".pyc"]
        differences: list[str] = []
        for name in names:
            differences += difference(target / name, PROTOS.parent / name, name)
    sys.stdout.writelines(differences)
    if differences:
        print("protos: out of date; run: python protos/generate.py", file=sys.stderr)
    return 1 if differences else 0


def main(arguments: list[str]) -> int:
    """Writes, or checks with --check."""
    if arguments == ["--check"]:
        return check()
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    generate(PROTOS.parent)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
