"""The executable: reads the runtime's call, runs the verb, answers on stdout, exits."""

from __future__ import annotations

import posix
from _signal import SIG_IGN, SIGTERM, signal  # type: ignore[import-not-found]

from cni.errors import (
    DECODING_FAILURE,
    INTERNAL,
    IO_FAILURE,
    KERNEL_REFUSED,
    TRY_AGAIN_LATER,
    CniError,
    DamagedError,
    Terminated,
)
from cni.image import load
from cni.jsonio import read_stdin, write_stdout
from cni.spec import (
    NEWEST,
    SUPPORTED,
    Call,
    check_verb,
    config_version,
    error_object,
    parse_environment,
    versions,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

ABOUT = "anypod: a CNI plugin that attaches pods to a bridge and records them for the BGP speaker\n"
EAGAIN = 11


def _terminated(_number: int, _frame: object) -> None:
    # What is being undone must not be undone half.
    signal(SIGTERM, SIG_IGN)
    raise Terminated


def _run(call: Call, conf: dict[str, object], version: str, started: int) -> dict[str, object] | None:
    check_verb(call.command, version)
    if call.command == "ADD":
        from cni.add import add

        try:
            return add(call, conf, version)
        except CniError as error:
            from cni.refusals import note

            note(call, conf, error)
            raise
    if call.command == "DEL":
        from cni.delete import delete

        delete(call, conf)
    elif call.command == "CHECK":
        from cni.check import check

        check(call, conf, version)
    elif call.command == "STATUS":
        from cni.status import status

        status(call, conf, version)
    else:
        from cni.gc import collect

        collect(call, conf, started)
    return None


def _healed(call: Call, conf: dict[str, object], version: str, started: int) -> dict[str, object] | None:
    """Runs the verb. A damaged state file is set aside and made anew from what the kernel shows."""
    try:
        return _run(call, conf, version, started)
    except Exception as error:
        # Values that no plugin wrote end in exceptions of any kind; `heal` raises the error where the file is sound.
        known = isinstance(error, CniError | OSError) and not isinstance(error, DamagedError)
        if known or call.command == "STATUS":
            raise
        message = _heal(call, conf, error)
    if call.command != "DEL":
        raise CniError(TRY_AGAIN_LATER, message)
    posix.write(2, f"{message}\n".encode())
    return _run(call, conf, version, started)


def _heal(call: Call, conf: dict[str, object], error: Exception) -> str:
    from cni.rebuild import heal

    try:
        return heal(conf, error)
    except CniError:
        if call.command == "DEL":
            # It can't be mended now, and the links go all the same.
            from cni.delete import remove

            remove(call, conf)
        raise


def _answer(error: CniError, version: str) -> NoReturn:
    try:
        write_stdout(error_object(version, error))
    finally:
        posix._exit(1)


def _of_the_system(error: OSError) -> CniError:
    if isinstance(error, TimeoutError):
        return CniError(TRY_AGAIN_LATER, "the kernel did not answer in time; try again later")
    from cni.netlink import NetlinkError

    if isinstance(error, NetlinkError):
        code = TRY_AGAIN_LATER if error.errno == EAGAIN else KERNEL_REFUSED
        return CniError(code, f"the kernel refused: {error.strerror}")
    return CniError(IO_FAILURE, f"{error.filename or 'the system'}: {error.strerror}")


def main() -> NoReturn:
    """Never returns: exit code 0 with the result, 1 with an error object on stdout."""
    from time import CLOCK_BOOTTIME, clock_gettime_ns

    started = clock_gettime_ns(CLOCK_BOOTTIME)
    version = NEWEST
    try:
        if not posix.environ.get(b"CNI_COMMAND"):
            posix.write(2, f"{ABOUT}CNI protocol versions supported: {', '.join(SUPPORTED)}\n".encode())
            posix._exit(0)
        call = parse_environment(posix.environ)
        answer: dict[str, object] | None = versions()
        call.started = started
        if call.command != "VERSION":
            signal(SIGTERM, _terminated)
            load(call.command)
            conf = read_stdin()
            if not isinstance(conf, dict):
                raise CniError(DECODING_FAILURE, "the configuration on stdin is no JSON object")
            version = config_version(conf)
            answer = _healed(call, conf, version, started)
        if answer is not None:
            write_stdout(answer)
    except CniError as error:
        _answer(error, version)
    except Terminated:
        undone = "ended by SIGTERM; what was begun is undone, try again later"
        _answer(CniError(TRY_AGAIN_LATER, undone), version)
    except OSError as error:
        _answer(_of_the_system(error), version)
    except ImportError as error:
        # No descriptor or memory left, or a disk that doesn't answer: imports tell of these in their own way.
        _answer(CniError(IO_FAILURE, f"anypod's own files can't be loaded: {error}"), version)
    except BaseException as error:  # noqa: BLE001 - a runtime must get an error object, whatever happens
        _answer(
            CniError(INTERNAL, f"internal error: {type(error).__name__}: {error}; please report it"), version
        )
    posix._exit(0)
