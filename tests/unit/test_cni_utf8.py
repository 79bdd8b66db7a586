"""The codec in the place of the package `encodings`: the interpreter starts with it, and lacks nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINK = """
. packaging/release.sh
link_interpreter "$1" "$2"
"""
TEXT = "Straße, 道, \N{GRINNING FACE}\n"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = tmp_path_factory.mktemp("release") / "image"
    builder = [sys.executable, "-I", str(ROOT / "packaging/image.py"), str(ROOT), str(image)]
    subprocess.run(builder, check=True, timeout=60)
    # The one that a virtual environment was made by.
    interpreter = str(Path(sys.executable).resolve())
    subprocess.run(["bash", "-c", LINK, "bash", str(image), interpreter], cwd=ROOT, check=True, timeout=60)
    return image / "python"


def run(python: Path, code: str, stdin: str = "", **environment: str) -> str:
    done = subprocess.run(
        [python, "-IS", "-c", code],
        input=stdin.encode(),
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == b""
    return done.stdout.decode()


def test_the_interpreter_starts_with_it_alone(python: Path) -> None:
    code = "import posix, sys; posix.write(1, repr(sorted(sys.modules)).encode())"
    loaded = run(python, code)
    assert "'encodings'" in loaded
    assert "'encodings." not in loaded
    assert "'codecs'" not in loaded


def test_text_is_read_and_written_as_ever(python: Path, tmp_path: Path) -> None:
    file = tmp_path / "Straße"
    code = f"""
import sys
text = sys.stdin.read()
with open({str(file)!r}, "w") as file: file.write(text)
with open({str(file)!r}) as file: assert file.read() == text
with open({str(file)!r}, encoding="utf-8") as file: assert file.readline() == text
print(text, end="")
"""
    assert run(python, code, TEXT) == TEXT
    assert file.read_text() == TEXT


def test_all_other_codecs_are_the_interpreter_s(python: Path) -> None:
    code = """
import codecs
assert "ä".encode("latin-1") == b"\\xe4"
assert b"\\x80".decode("cp1252") == "€"
assert "bü.de".encode("idna") == b"xn--b-eha.de"
assert "ä".encode("UTF-8-SIG") == codecs.BOM_UTF8 + "ä".encode()
assert "ä".encode("U8") == "ä".encode()
try: "".encode("no-such-codec")
except LookupError as error: print(error)
"""
    assert run(python, code) == "unknown encoding: no-such-codec\n"


def test_utf8_is_described_as_ever(python: Path) -> None:
    code = f"""
import codecs, io, locale
import encodings, encodings.aliases, encodings.idna
assert encodings.aliases.aliases["latin1"] == "latin_1"
assert encodings.normalize_encoding("a b") == "a_b"
assert not hasattr(encodings, "no_such_name")
found, data = codecs.lookup("utf-8"), {TEXT.encode()!r}
assert (found.name, len(found)) == ("utf-8", 4)
assert found.encode(data.decode())[0] == data
assert found.decode(data) == (data.decode(), len(data))
assert codecs.getreader("utf-8")(io.BytesIO(data)).read() == data.decode()
assert found[2](io.BytesIO(data)).read() == data.decode()
written = io.BytesIO()
found[3](written).write(data.decode())
assert written.getvalue() == data
decoder = codecs.getincrementaldecoder("utf-8")()
assert "".join(decoder.decode(data[at : at + 1]) for at in range(len(data))) == data.decode()
assert b"".join(codecs.iterencode(data.decode(), "utf-8")) == data
for broken in (b"\\xc3", b"\\xff"):
    try: found.decode(broken)
    except UnicodeDecodeError: print(codecs.decode(broken, "utf-8", "replace"))
"""
    assert run(python, code) == 2 * "\N{REPLACEMENT CHARACTER}\n"


def test_modules_of_the_standard_library_and_c_modules_are_found(python: Path) -> None:
    assert run(python, "import json, _json, re; print(json.loads('[1]'))") == "[1]\n"


def test_a_locale_without_utf8_changes_nothing(python: Path) -> None:
    code = "import sys; print(sys.getfilesystemencoding(), sys.stdout.encoding)"
    assert run(python, code, LC_ALL="POSIX", PYTHONCOERCECLOCALE="0") == "utf-8 utf-8\n"
