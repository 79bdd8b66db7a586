"""Files that a configuration is read from: nothing hangs, and secrets lie where only the speaker reads them."""

from __future__ import annotations

import errno
import os
import pwd
from typing import TYPE_CHECKING

import pytest

from speaker.config import file as config_file
from speaker.config.file import MAX_FILE, MAX_SECRET, read_password
from speaker.config.speaker_toml import ConfigError, load, parse

if TYPE_CHECKING:
    from pathlib import Path

BGP = '[bgp]\nasn = 65001\nrouter-id = "10.0.0.1"\n'
NOBODY = 65534


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("hunter2\n")
    path.chmod(0o600)
    return path


@pytest.fixture(autouse=True)
def no_user_of_the_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether this machine has one is not asked."""
    monkeypatch.setattr(config_file, "_speaker", lambda: None)


def unsafe(secret: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        read_password(str(secret))
    return str(raised.value)


def refusal(path: str | Path) -> str:
    with pytest.raises(ConfigError) as raised:
        load(str(path))
    return str(raised.value)


@pytest.mark.timeout(10)
def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert refusal(fifo) == f"{fifo}: is no regular file; name one"


@pytest.mark.timeout(10)
@pytest.mark.parametrize("path", ["/dev/zero", "/dev/tty", "/", "/proc/kmsg"])
def test_neither_is_a_device_nor_anything_else_without_an_end(path: str) -> None:
    assert refusal(path).startswith(f"{path}: ")
    assert "\n" not in refusal(path)


def test_a_file_has_a_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "huge.toml"
    path.write_bytes(b"#" * (MAX_FILE + 1))
    assert refusal(path) == f"{path}: has more than {MAX_FILE} bytes; name a smaller file"


def test_a_name_that_no_file_can_have() -> None:
    assert refusal("a\0b") == "a\0b: can't be read (no name of a file); name a readable file"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_password_is_the_line_without_its_end(secret: Path, end: str) -> None:
    secret.write_bytes(b" two words" + end.encode())
    assert read_password(str(secret)) == " two words"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440, 0o700])
def test_root_s_file_for_root_s_group_alone_is_safe(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    assert read_password(str(secret)) == "hunter2"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o666, 0o601])
def test_a_file_that_others_can_get_at_is_refused_with_the_chmod(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    assert (
        unsafe(secret)
        == f"has mode {mode:04o}, so others can get at it; chown root {secret} && chmod 600 {secret}"
    )


def test_another_group_is_others(secret: Path) -> None:
    os.chown(secret, -1, NOBODY)
    secret.chmod(0o640)
    assert (
        unsafe(secret) == f"has mode 0640, so others can get at it; chown root {secret} && chmod 600 {secret}"
    )


def test_another_owner_could_change_it(secret: Path) -> None:
    os.chown(secret, NOBODY, -1)
    assert unsafe(secret) == f"belongs to user {NOBODY}; chown root {secret} && chmod 600 {secret}"


def test_the_user_of_the_units_may_read_it_also_when_root_checks(
    secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaker = pwd.struct_passwd(("anypod", "x", NOBODY, NOBODY, "", "/", "/bin/false"))
    monkeypatch.setattr(config_file, "_speaker", lambda: speaker)
    os.chown(secret, NOBODY, NOBODY)
    secret.chmod(0o640)
    assert read_password(str(secret)) == "hunter2"
    secret.chmod(0o644)
    assert unsafe(secret).endswith(f"; chown root:anypod {secret} && chmod 640 {secret}")


def test_a_file_that_may_not_be_read_is_refused_with_the_chmod(
    secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so the kernel's answer to another user is put in its place."""

    def refuse(path: str, *_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr("os.open", refuse)
    assert unsafe(secret) == f"can't be read (Permission denied); chown root {secret} && chmod 600 {secret}"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\n", "is empty; write the password into it"),
        (b"x" * (MAX_SECRET + 1), "has more than 80 bytes, the most that TCP-MD5 takes; shorten it"),
        (b"x" * 1000, "has more than 80 bytes, the most that TCP-MD5 takes; shorten it"),
        (b"one\ntwo\n", "is not one line of printable ASCII; write the password alone into it"),
        ("pässword".encode(), "is not one line of printable ASCII; write the password alone into it"),
        (b"a\0b", "is not one line of printable ASCII; write the password alone into it"),
    ],
)
def test_what_is_no_password(secret: Path, content: bytes, why: str) -> None:
    secret.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        read_password(str(secret))
    assert str(raised.value) == why


def test_the_line_names_file_key_path_and_fix(tmp_path: Path) -> None:
    path = tmp_path / "none"
    text = f'{BGP}[[peer]]\naddress = "10.0.0.2"\nasn = 65000\npassword-file = "{path}"\n'
    with pytest.raises(ConfigError) as raised:
        parse(text, "f")
    assert str(raised.value) == (
        f'f: peer[0].password-file: "{path}" can\'t be read (No such file or directory); name a readable file'
    )


TLS = [
    (["ca"], "unix:///run/s", 'ca: "/ca" is for TLS, which a unix socket does not use; remove it'),
    (["key"], "h:1", 'key: "/key" has no effect without gobgpd.ca; set that too'),
    (["ca", "key"], "h:1", 'key: "/key" is of no use alone; set gobgpd.certificate too'),
    (["ca", "certificate"], "h:1", 'certificate: "/certificate" is of no use alone; set gobgpd.key too'),
]


@pytest.mark.parametrize(("names", "api", "line"), TLS)
def test_tls_keys_that_do_not_go_together(tmp_path: Path, names: list[str], api: str, line: str) -> None:
    text = f'{BGP}[gobgpd]\napi = "{api}"\n'
    for name in names:
        (tmp_path / name).write_text("-----BEGIN CERTIFICATE-----\n")
        text += f'{name} = "{tmp_path / name}"\n'
    with pytest.raises(ConfigError) as raised:
        parse(text, "f")
    assert str(raised.value).replace(str(tmp_path), "") == f"f: gobgpd.{line}"


def test_tls_with_all_three_files(tmp_path: Path) -> None:
    text = f'{BGP}[gobgpd]\napi = "h:1"\n'
    for name in ("ca", "certificate", "key"):
        (tmp_path / name).write_text("-----BEGIN CERTIFICATE-----\n")
        (tmp_path / name).chmod(0o600)
        text += f'{name} = "{tmp_path / name}"\n'
    config = parse(text, "f")
    assert config.api.key == str(tmp_path / "key")
    assert config.files == {"f", *(str(tmp_path / name) for name in ("ca", "certificate", "key"))}
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(
        ConfigError, match=r"^f: gobgpd\.key: .* has mode 0644, so others can get at it; chown root "
    ):
        parse(text, "f")
    (tmp_path / "ca").write_text("DER\n")
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(ConfigError, match=r"^f: gobgpd\.ca: .* is not in PEM form; name a file with a line "):
        parse(text, "f")


@pytest.mark.parametrize(
    "line", ["password-file = 'hunter2'", "password-file = ['hunter2']", "password-file = 'x\\nhunter2'"]
)
def test_a_password_in_the_place_of_its_file_is_not_repeated(line: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(f'{BGP}[[peer]]\naddress = "10.0.0.2"\nasn = 65000\n{line}\n', "f")
    assert str(raised.value).startswith("f: peer[0].password-file: (not shown) is not ")
    assert "hunter2" not in str(raised.value)


def test_nor_is_a_private_key() -> None:
    with pytest.raises(ConfigError) as raised:
        parse(f"{BGP}[gobgpd]\napi = 'h:1'\nca = '/x'\ncertificate = '/x'\nkey = '-----BEGIN hunter2'\n", "f")
    assert "gobgpd.key: (not shown) is not an absolute path" in str(raised.value)
    assert "hunter2" not in str(raised.value)
