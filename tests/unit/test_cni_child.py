"""A program that another one runs: what it gets, how long it may take, and what becomes of it. With fakes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import pytest

from cni import child
from cni.errors import CniError
from tests.fake_plugin import ended, fake_plugin

ENVIRONMENT = {b"PATH": b"/usr/bin:/bin"}
SOURCE = Path(__file__).resolve().parents[2]


def run(path: str, stdin: bytes = b"", seconds: float = 20) -> child.Ended:
    return child.run(path, ENVIRONMENT, stdin, seconds)


def open_fds() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def children() -> set[str]:
    """Our own child processes, zombies too."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(entry.name)
    return found


def test_streams_environment_and_status_are_handed_over(tmp_path: Path) -> None:
    fake = fake_plugin(tmp_path, "fake", 'cat; echo "$WORD" >&2; exit 7')
    done = child.run(fake, ENVIRONMENT | {b"WORD": b"caf\xe9"}, b"question", 20)
    assert (done.status, done.stdout, done.stderr) == (7, b"question", b"caf\xe9\n")


def test_its_stderr_goes_to_ours(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(fake_plugin(tmp_path, "fake", "echo look here >&2"))
    assert capfd.readouterr().err == "look here\n"


def test_a_stderr_that_nobody_reads_does_not_hang_us(tmp_path: Path) -> None:
    fake = fake_plugin(tmp_path, "fake", "head -c 1000000 /dev/zero | tr '\\0' x >&2; echo end >&2")
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    own = os.dup(2)
    try:
        os.dup2(writer, 2)
        done = run(fake)
    finally:
        os.dup2(own, 2)
        for fd in (own, reader, writer):
            os.close(fd)
    assert done.stderr.endswith(b"xend\n")
    assert len(done.stderr) == child.KEPT_STDERR


def test_input_and_output_larger_than_a_pipe_do_not_deadlock(tmp_path: Path) -> None:
    fake = fake_plugin(tmp_path, "fake", "head -c 900000 /dev/zero; cat >/dev/null")
    assert len(run(fake, b"x" * (4 << 20)).stdout) == 900_000


def test_a_program_may_leave_its_input_unread(tmp_path: Path) -> None:
    assert run(fake_plugin(tmp_path, "fake", "exec <&-; echo done"), b"x" * (4 << 20)).stdout == b"done\n"
    assert run(fake_plugin(tmp_path, "fake", "echo done"), b"x" * (4 << 20)).stdout == b"done\n"


def test_a_program_that_hangs_is_ended_at_the_deadline_with_its_whole_group(tmp_path: Path) -> None:
    fake = fake_plugin(tmp_path, "fake", f"sleep 60 & echo $! >{tmp_path}/pid; wait")
    started = time.monotonic()
    with pytest.raises(CniError) as caught:
        run(fake, seconds=0.5)
    assert caught.value.code == 11
    assert f"{fake} was not done within" in caught.value.message
    assert time.monotonic() - started < 10
    assert ended(tmp_path / "pid")


def test_a_program_that_ignores_sigterm_is_ended_too(tmp_path: Path) -> None:
    fake = fake_plugin(tmp_path, "fake", f"trap '' TERM INT HUP; echo $$ >{tmp_path}/pid; sleep 60")
    with pytest.raises(CniError):
        run(fake, seconds=0.5)
    assert ended(tmp_path / "pid")


def test_a_program_that_has_closed_its_streams_is_still_waited_for(tmp_path: Path) -> None:
    done = run(fake_plugin(tmp_path, "fake", "echo first; exec <&- >&- 2>&-; sleep 0.2; exit 4"))
    assert (done.status, done.stdout) == (4, b"first\n")


def test_a_grandchild_that_keeps_the_streams_open_is_not_waited_for(tmp_path: Path) -> None:
    fake = fake_plugin(tmp_path, "fake", f"sleep 60 & echo $! >{tmp_path}/pid; echo done")
    started = time.monotonic()
    try:
        assert run(fake).stdout == b"done\n"
        assert time.monotonic() - started < 10
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_grandchild_that_writes_without_end_is_not_listened_to(tmp_path: Path) -> None:
    fake = fake_plugin(tmp_path, "fake", f"yes >&2 & echo $! >{tmp_path}/pid; echo done")
    try:
        assert run(fake).stdout == b"done\n"
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_output_without_end_is_cut_off(tmp_path: Path) -> None:
    fake = fake_plugin(tmp_path, "fake", f"echo $$ >{tmp_path}/pid; exec yes")
    with pytest.raises(CniError) as caught:
        run(fake)
    assert caught.value.code == 6
    assert "more than 1 MiB" in caught.value.message
    assert ended(tmp_path / "pid")


def test_death_by_a_signal_is_told(tmp_path: Path) -> None:
    assert run(fake_plugin(tmp_path, "fake", "kill -SEGV $$")).status == -signal.SIGSEGV


def test_what_can_not_be_run_is_code_5(tmp_path: Path) -> None:
    path = tmp_path / "fake"
    path.write_bytes(b"\x7fELF is all there is")
    path.chmod(0o755)
    for bad, why in ((str(path), "Exec format error"), (str(tmp_path / "none"), "No such file")):
        with pytest.raises(CniError) as caught:
            run(bad)
        assert caught.value.code == 5
        assert why in caught.value.message


def test_a_file_that_is_being_written_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_plugin(tmp_path, "fake", "echo done")
    pauses = []
    with open(fake, "ab") as writer:

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                writer.close()

        monkeypatch.setattr(child, "sleep", pause)
        assert run(fake).stdout == b"done\n"
    assert len(pauses) == 3


def test_a_file_that_stays_open_for_writing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = fake_plugin(tmp_path, "fake", "echo done")
    monkeypatch.setattr(child, "sleep", lambda _: None)
    with open(fake, "ab"), pytest.raises(CniError) as caught:
        run(fake)
    assert (caught.value.code, caught.value.message) == (5, f"{fake} can't be run: Text file busy")


def test_nothing_else_is_inherited(tmp_path: Path) -> None:
    """No descriptor, though the runtime left one open for us; no ignored or blocked signal; a session of its own."""
    # No command of it forks: a shell that forks blocks signals meanwhile.
    script = "cd /proc/$$/fd; echo *; read -r stat <../stat; echo \"$stat\"; exec grep -E '^Sig(Blk|Ign)' ../status"
    fake = fake_plugin(tmp_path, "fake", script)
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        fds, stat, *signals = run(fake).stdout.decode().splitlines()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
        signal.signal(signal.SIGUSR1, before)
        os.close(leaked)
    # The shell itself has the directory open, or the script, at 3 or from 10 on.
    assert {0, 1, 2} <= {int(fd) for fd in fds.split()} <= {0, 1, 2, 3, 10}
    assert [line.split()[1] for line in signals] == ["0" * 16] * 2
    pid, group, session = (stat.partition(" ")[0], *stat.rpartition(")")[2].split()[2:4])
    assert pid == group == session


def test_no_descriptor_and_no_process_stays(tmp_path: Path) -> None:
    fake_plugin(tmp_path, "hangs", "sleep 60")
    fake_plugin(tmp_path, "works", "echo done")
    before = open_fds(), children()
    run(str(tmp_path / "works"))
    for name in ("hangs", "none"):
        with pytest.raises(CniError):
            run(str(tmp_path / name), seconds=0.2)
    assert (open_fds(), children()) == before


def test_closed_streams_of_our_own_do_not_mix_up_the_childs(tmp_path: Path) -> None:
    fake = fake_plugin(tmp_path, "fake", "cat; echo error >&2")
    code = (
        "import os; os.close(0); os.close(2)\n"
        "from cni import child\n"
        f"done = child.run({fake!r}, {ENVIRONMENT!r}, b'question', 20)\n"
        "print(done.status, done.stdout, done.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SOURCE, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "0 b'question' b'error\\n'\n"


def test_a_signal_to_us_ends_the_program_first(tmp_path: Path) -> None:
    class SignalledError(Exception):
        pass

    def handler(*_: object) -> NoReturn:
        raise SignalledError

    fake = fake_plugin(tmp_path, "fake", f"echo $$ >{tmp_path}/pid; kill -TERM $PPID; sleep 60")
    before = signal.signal(signal.SIGTERM, handler)
    started = time.monotonic()
    try:
        with pytest.raises(SignalledError):
            run(fake)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert time.monotonic() - started < 10
    assert ended(tmp_path / "pid")


def test_the_program_dies_with_us(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    fake = fake_plugin(
        tmp_path, "fake", f"echo $$ >{pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 60"
    )
    code = f"from cni import child; child.run({fake!r}, {ENVIRONMENT!r}, b'', 60)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=SOURCE) as parent:
        deadline = time.monotonic() + 30
        while not pid_file.exists():
            assert parent.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        parent.kill()
    assert ended(pid_file)
