"""`anypod drain` and `undrain`: what they write down, how they wait, and what they say to mistakes."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cni.allocation import Allocation
from cni.statefile import now
from cni.store import Store
from speaker.anycast import drainfile
from speaker.anycast.drain import Scope
from speaker.cli import main
from speaker.commands import drain as cli_drain
from speaker.place import make_place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

VIP = "198.51.100.10"


def serve(directory: Path, container: str, pod: str) -> None:
    """A pod that serves the VIP, as the plugin records it."""
    store = Store(str(directory))
    store.begin()
    record = Allocation("pods", container, "eth0", "/run/netns/x", f"host-{container}", ())
    record.pod = pod
    store.attach(record, now())
    row = (container, "eth0", bytes([198, 51, 100, 10]), bytes([10, 1, 0, 5]), 7, 1, "", "edge")
    store.execute("INSERT INTO vip VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    store.commit()
    store.close()


def release(directory: Path, container: str) -> None:
    store = Store(str(directory))
    store.begin()
    for table in ("vip", "attachment"):
        store.execute(f"DELETE FROM {table} WHERE container = ?", (container,))  # noqa: S608 - our own names
    store.commit()
    store.close()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    serve(tmp_path, "c1", "dns/a")
    return tmp_path


def run(state: Path, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--state-dir", str(state)])


def held(state: Path) -> list[tuple[Scope, str, str]]:
    return [(one.scope, one.of, one.name) for one in drainfile.read(str(state))]


def test_it_is_written_down_without_a_speaker(state: Path) -> None:
    for words in (["--vip", VIP], ["--pod", "dns/a"], ["--node"]):
        assert run(state, "drain", *words, "--no-wait").exit_code == 0
    assert held(state) == [(Scope.VIP, VIP, VIP), (Scope.POD, "c1", "dns/a"), (Scope.NODE, "", "")]


def test_draining_twice_does_not_start_the_time_anew(state: Path) -> None:
    run(state, "drain", "--node", "--no-wait")
    before = drainfile.read(str(state))
    run(state, "drain", "--node", "--no-wait")
    assert drainfile.read(str(state)) == before


def test_undrain_takes_back_what_was_asked_and_nothing_else(state: Path) -> None:
    run(state, "drain", "--node", "--no-wait")
    run(state, "drain", "--pod", "c1", "--no-wait")
    done = run(state, "undrain", "--pod", "dns/a")
    assert (done.exit_code, done.output) == (0, "pod dns/a serves again\n")
    assert held(state) == [(Scope.NODE, "", "")]
    again = run(state, "undrain", "--pod", "dns/a")
    assert (again.exit_code, again.output) == (1, "nothing to undrain: no drain of pod dns/a stands\n")


def test_the_drain_of_a_pod_ends_with_the_pod(state: Path) -> None:
    """Another one of the same name is not drained."""
    run(state, "drain", "--pod", "dns/a", "--no-wait")
    release(state, "c1")
    serve(state, "c2", "dns/a")
    run(state, "drain", "--node", "--no-wait")
    assert held(state) == [(Scope.NODE, "", "")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "one of --vip ADDRESS, --pod POD and --node"),
        (["--node", "--vip", VIP], "one of --vip ADDRESS, --pod POD and --node"),
        (["--vip", "198.51.100"], "--vip 198.51.100: is no IP address; write it like 198.51.100.10"),
        (["--vip", "198.51.100.99"], f"no pod of this node serves it; there is {VIP}"),
        (["--pod", "dns/b"], "--pod dns/b: no such pod serves a virtual IP here; there is dns/a"),
    ],
)
def test_a_mistake_is_one_line_with_the_fix(state: Path, words: list[str], told: str) -> None:
    result = run(state, "drain", *words, "--no-wait")
    assert result.exit_code == 2
    assert told in result.output.splitlines()[-1]
    assert held(state) == []


def test_without_a_speaker_it_says_so_and_stands(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_drain, "GRACE", 0.3)
    result = run(state, "drain", "--node")
    assert result.exit_code == 1
    assert "the speaker does not answer" in result.output
    assert held(state) == [(Scope.NODE, "", "")]


def document(drain: dict[str, object]) -> bytes:
    return json.dumps({"drains": [drain] if drain else []}).encode()


class FakeSpeaker:
    """A fake of the speaker's status socket: the drain goes through its phases with each question."""

    def __init__(self, state: Path, answers: list[dict[str, object] | bytes]) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(make_place(str(state)) / "speaker.sock"))
        self._listener.listen()
        self._answers = answers
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        for answer in self._answers:
            connection, _ = self._listener.accept()
            with connection:
                connection.sendall(answer if isinstance(answer, bytes) else document(answer))

    def close(self) -> None:
        self._thread.join(10)
        self._listener.close()


@pytest.fixture
def speaker(state: Path) -> Iterator[FakeSpeaker]:
    common: dict[str, object] = {"scope": "node", "of": "", "name": ""}
    fake = FakeSpeaker(
        state,
        [
            {},
            {**common, "phase": "leaving", "seconds_left": 0.4, "done": False},
            {**common, "phase": "leaving", "seconds_left": 0.2, "done": False},
            {**common, "phase": "gone", "seconds_left": 0.0, "done": False},
            {**common, "phase": "gone", "seconds_left": 0.0, "done": True},
        ],
    )
    yield fake
    fake.close()


@pytest.mark.usefixtures("speaker")
def test_it_waits_and_says_how_far_it_is(state: Path) -> None:
    result = run(state, "drain", "--node")
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "peers are asked to take other ways, 0 s to go",
        "withdrawing",
        "drained: this node",
    ]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([b"{}"], "the speaker is of a release without drains; restart it: the drain stands"),
        ([b"[" * 100000], "the speaker does not answer: "),
        (
            [{"scope": "node", "of": "", "name": "", "seconds_left": 9.0, "done": False}, {}],
            "the drain was taken back meanwhile, by anypod undrain",
        ),
    ],
)
def test_an_answer_that_tells_of_no_drain(
    state: Path, monkeypatch: pytest.MonkeyPatch, answers: list[dict[str, object] | bytes], told: str
) -> None:
    monkeypatch.setattr(cli_drain, "GRACE", 0.0)
    fake = FakeSpeaker(state, answers)
    result = run(state, "drain", "--node")
    fake.close()
    assert result.exit_code == 1
    assert told in result.output.splitlines()[-1]
