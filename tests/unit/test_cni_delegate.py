"""What is asked of an IPAM plugin, and what becomes of its failures. With fake plugins."""

from __future__ import annotations

import json
import posix
from typing import TYPE_CHECKING, Any

import pytest

from cni import delegate
from cni.errors import CniError
from cni.network import Network
from cni.spec import Call
from tests.fake_plugin import fake_plugin

if TYPE_CHECKING:
    from pathlib import Path

CONF: dict[str, object] = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "type": "anypod",
    "ipam": {"type": "fake", "pool": "blue"},
    "runtimeConfig": {"ips": ["10.9.0.5/24"]},
    "own": [1, 2.5, "\u00e4", None],
}
NETWORK = Network("pods", ipam="fake")
ONE = {"ips": [{"address": "10.9.0.5/24"}]}


@pytest.fixture
def call(tmp_path: Path) -> Call:
    asked = Call("ADD", "c1", "/run/netns/none", "eth0")
    asked.path = str(tmp_path)
    return asked


def answering(directory: Path, answer: object, status: int = 0) -> None:
    """A fake that gives this answer, whatever it is asked."""
    text = answer if isinstance(answer, str) else json.dumps(answer)
    (directory / "answer").write_text(text)
    fake_plugin(directory, "fake", f"cat {directory}/answer; exit {status}")


def add(call: Call, conf: dict[str, object] = CONF) -> delegate.Delegated:
    return delegate.add(NETWORK, call, conf)


def refused(call: Call, conf: dict[str, object] = CONF) -> CniError:
    with pytest.raises(CniError) as caught:
        add(call, conf)
    return caught.value


# ---- the question


def test_it_gets_our_environment_and_the_whole_configuration(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(posix.environ, b"CNI_COMMAND", b"ADD")
    monkeypatch.setitem(posix.environ, b"CNI_ARGS", b"IgnoreUnknown=1;K8S_POD_NAME=web")
    monkeypatch.setitem(posix.environ, b"TRACEPARENT", b"00-abc")
    fake_plugin(
        tmp_path,
        "fake",
        f'cat >>{tmp_path}/stdin; echo "$CNI_COMMAND $CNI_ARGS $TRACEPARENT" >>{tmp_path}/seen\n'
        f"""[ $CNI_COMMAND != ADD ] || echo '{json.dumps(ONE)}'""",
    )
    add(call)
    for verb in (delegate.delete, delegate.check, delegate.gc, delegate.status):
        (tmp_path / "stdin").unlink()
        verb("fake", call, CONF)
        assert json.loads((tmp_path / "stdin").read_text()) == CONF
    assert (tmp_path / "seen").read_text().splitlines() == [
        f"{verb} IgnoreUnknown=1;K8S_POD_NAME=web 00-abc" for verb in ("ADD", "DEL", "CHECK", "GC", "STATUS")
    ]


def test_the_first_executable_in_the_path_is_taken(tmp_path: Path, call: Call) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for directory in (first, second):
        directory.mkdir()
        answering(directory, ONE)
    call.path = f"{tmp_path}/none:{first}/:{second}"
    assert delegate.find("fake", call.path) == f"{first}/fake"
    (first / "fake").chmod(0o644)
    assert delegate.find("fake", call.path) == f"{second}/fake"


def test_a_symbolic_link_to_a_plugin_is_a_plugin(tmp_path: Path) -> None:
    real = fake_plugin(tmp_path, "real", "exit 0")
    (tmp_path / "fake").symlink_to(real)
    assert delegate.find("fake", str(tmp_path)) == f"{tmp_path}/fake"


@pytest.mark.parametrize(
    "kind",
    [
        "../fake",
        "/bin/sh",
        "a/b",
        ".",
        "..",
        ".fake",
        "-rf",
        "a b",
        "a\nb",
        "a\0b",
        "\ud800",
        "x" * 300,
        "a;b",
    ],
)
def test_what_is_no_plain_name_is_code_7(tmp_path: Path, kind: str) -> None:
    with pytest.raises(CniError) as caught:
        delegate.find(kind, str(tmp_path))
    assert caught.value.code == 7
    assert "is no name of a plugin" in caught.value.message


def test_only_absolute_directories_and_regular_executable_files_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    fake_plugin(here, "fake", "exit 0")
    fake_plugin(here, "plain", "exit 0")
    (here / "plain").chmod(0o644)
    (here / "directory").mkdir()
    monkeypatch.chdir(tmp_path)
    for kind, path, says in (
        ("fake", "here:./here::.", "'fake' is not in CNI_PATH (here:./here::.)"),
        ("plain", str(here), "'plain' is not executable in CNI_PATH"),
        ("directory", str(here), "'directory' is not in CNI_PATH"),
        ("none", str(here), "install that plugin there"),
    ):
        with pytest.raises(CniError) as caught:
            delegate.find(kind, path)
        assert caught.value.code == 7
        assert says in caught.value.message


def test_without_cni_path_the_variable_is_missed(call: Call) -> None:
    call.path = ""
    error = refused(call)
    assert error.code == 4
    assert error.message.startswith("required env variables [CNI_PATH] missing")


def test_a_delegate_that_is_the_plugin_itself_does_not_call_itself_without_end(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_plugin(tmp_path, "fake", f"echo \"$ANYPOD_DELEGATED\" >{tmp_path}/mark; echo '{json.dumps(ONE)}'")
    add(call)
    mark = (tmp_path / "mark").read_bytes().strip()
    monkeypatch.setitem(posix.environ, b"ANYPOD_DELEGATED", mark)
    error = refused(call)
    assert error.code == 7
    assert "'fake' is this plugin itself" in error.message
    # Of another attachment it is somebody else's.
    call.container = "c2"
    add(call)


def test_bytes_that_are_no_text_are_code_6(tmp_path: Path, call: Call) -> None:
    fake_plugin(tmp_path, "fake", r"printf '\377\376{}'")
    assert refused(call).code == 6


# ---- failures


@pytest.mark.parametrize("status", [1, 0])
@pytest.mark.parametrize("code", [3, 7, 11, 100, 999])
def test_its_own_error_is_passed_on(tmp_path: Path, call: Call, code: int, status: int) -> None:
    """Also when it forgets to fail: no result has these keys."""
    answering(tmp_path, {"cniVersion": "1.0.0", "code": code, "msg": "no pool", "details": "blue"}, status)
    error = refused(call)
    assert (error.code, error.message, error.details) == (code, "fake: no pool", "blue")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"code": "7", "msg": "a"}, "fake: a"),
        ({"code": 0, "msg": "a"}, "fake: a"),
        ({"code": -1, "msg": "a"}, "fake: a"),
        ({"code": True, "msg": "a"}, "fake: a"),
        ({"code": 1 << 40, "msg": "a"}, "fake: a"),
        ({"msg": "a", "details": ["b"]}, "fake: a"),
        ({"code": 999}, "fake: failed and gave no message"),
        ({"code": 999, "msg": {}}, "fake: failed and gave no message"),
    ],
)
def test_an_error_object_of_a_wrong_shape_is_code_999(
    tmp_path: Path, call: Call, answer: dict[str, Any], message: str
) -> None:
    answering(tmp_path, answer, 1)
    error = refused(call)
    assert (error.code, error.message, error.details) == (999, message, "")


def test_an_error_object_without_end_is_cut(tmp_path: Path, call: Call) -> None:
    answering(tmp_path, {"code": 7, "msg": "m" * 500_000, "details": "d" * 500_000}, 1)
    error = refused(call)
    assert (len(error.message), len(error.details)) == (len("fake: ") + 4096, 4096)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo no lease >&2; exit 3", "fake: ADD ended with exit status 3 and no CNI error object; no lease"),
        ("echo no lease; exit 3", "exit status 3 and no CNI error object; no lease"),
        ("echo '[1]'; echo why >&2; exit 1", "exit status 1 and no CNI error object; why"),
        ("exit 1", "exit status 1 and no CNI error object; it wrote nothing"),
        ("kill -KILL $$", "signal 9 and no CNI error object; it wrote nothing"),
        ("echo half >&2; kill -SEGV $$", "signal 11 and no CNI error object; half"),
    ],
)
def test_a_failure_without_an_error_object_tells_what_is_known(
    tmp_path: Path, call: Call, script: str, says: str
) -> None:
    fake_plugin(tmp_path, "fake", script)
    error = refused(call)
    assert error.code == 999
    assert says in error.message


def test_one_that_hangs_is_ended_and_code_11(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delegate, "ADD_SECONDS", 0.3)
    monkeypatch.setattr(delegate, "OTHER_SECONDS", 0.3)
    fake_plugin(tmp_path, "fake", "sleep 60")
    error = refused(call)
    assert error.code == 11
    assert "ipam.type 'fake', ADD:" in error.message
    with pytest.raises(CniError) as caught:
        delegate.delete("fake", call, CONF)
    assert caught.value.code == 11


@pytest.mark.parametrize(("code", "expected"), [(50, 50), (51, 51), (7, 50), (4, 50)])
def test_status_of_a_delegate_that_can_not_serve_is_50_or_51(
    tmp_path: Path, call: Call, code: int, expected: int
) -> None:
    answering(tmp_path, {"code": code, "msg": "no pool"}, 1)
    with pytest.raises(CniError) as caught:
        delegate.status("fake", call, CONF)
    assert (caught.value.code, caught.value.message) == (expected, "fake: no pool")


def test_status_of_a_missing_delegate_is_50(call: Call) -> None:
    with pytest.raises(CniError) as caught:
        delegate.status("fake", call, CONF)
    assert caught.value.code == 50
    assert "install that plugin there" in caught.value.message


def test_a_configuration_that_is_too_deep_is_code_6(tmp_path: Path, call: Call) -> None:
    answering(tmp_path, ONE)
    deep: dict[str, object] = {}
    for _ in range(200_000):
        deep = {"a": deep}
    assert refused(call, CONF | {"deep": deep}).code == 6
    while deep:
        deep = deep.pop("a")  # type: ignore[assignment]
