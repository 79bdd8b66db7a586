"""Files that a configuration is read from: bounded in size, never waited for, secrets only from safe ones."""

from __future__ import annotations

import os
import pwd
import stat

from speaker.config.checks import ConfigError

MAX_FILE = 1 << 20
MAX_SECRET = 80  # bytes, TCP_MD5SIG_MAXKEYLEN of Linux
_USER = "anypod"  # whom the units run the speaker as


def read_text(path: str) -> str:
    """The text of a regular file of at most MAX_FILE bytes; ConfigError says what is wrong with it."""
    data, _ = _read(path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"byte {error.start} is not UTF-8; save the file as UTF-8") from None


def read_password(path: str) -> str:
    """The password in a file that only root and the speaker can read, without the line's end."""
    data, status = _read(path)
    _check_private(path, status)
    line = data.removesuffix(b"\n").removesuffix(b"\r")
    if not line:
        raise ConfigError("is empty; write the password into it")
    if len(line) > MAX_SECRET:
        raise ConfigError(f"has more than {MAX_SECRET} bytes, the most that TCP-MD5 takes; shorten it")
    if not line.isascii() or not line.decode("ascii").isprintable():
        raise ConfigError("is not one line of printable ASCII; write the password alone into it")
    return line.decode("ascii")


def check_pem(path: str) -> os.stat_result:
    """The status of a file in PEM form; ConfigError for any other."""
    data, status = _read(path)
    if b"-----BEGIN " not in data:
        raise ConfigError("is not in PEM form; name a file with a line -----BEGIN …-----")
    return status


def check_key(path: str) -> None:
    """ConfigError for a file that is no PEM, or that others can read."""
    _check_private(path, check_pem(path))


def _check_private(path: str, status: os.stat_result) -> None:
    """ConfigError for a secret that others than root and the speaker can read or change."""
    users, groups = {0, os.geteuid()}, {0, os.getegid()}
    if status.st_uid not in users or status.st_gid not in groups:
        speaker = _speaker()
        users |= {speaker.pw_uid} if speaker else set()
        groups |= {speaker.pw_gid} if speaker else set()
    if status.st_uid not in users:
        raise ConfigError(f"belongs to user {status.st_uid}; {_safe(path)}")
    mode = stat.S_IMODE(status.st_mode)
    if mode & ~(0o740 if status.st_gid in groups else 0o700):
        raise ConfigError(f"has mode {mode:04o}, so others can get at it; {_safe(path)}")


def _safe(path: str) -> str:
    """The commands that make a file readable for the speaker and nobody else."""
    owner, mode = (f"root:{_USER}", 640) if _speaker() else ("root", 600)
    return f"chown {owner} {path} && chmod {mode} {path}"


def _speaker() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(_USER)
    except KeyError:
        return None


def _read(path: str) -> tuple[bytes, os.stat_result]:
    """The content and status of a regular file. A FIFO or a device is not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError("is no regular file; name one")
            data = file.read(MAX_FILE + 1) or b""  # None: a file of /proc that would have to be waited for
    except PermissionError as error:
        raise ConfigError(f"can't be read ({error.strerror}); {_safe(path)}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no name of a file"
        raise ConfigError(f"can't be read ({reason}); name a readable file") from None
    if len(data) > MAX_FILE:
        raise ConfigError(f"has more than {MAX_FILE} bytes; name a smaller file")
    return data, status
