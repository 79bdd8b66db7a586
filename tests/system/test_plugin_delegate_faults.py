"""IPAM plugins that fail in every way: a CNI error object with a code that fits, and nothing left. With fakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.fake_plugin import ended, fake_plugin
from tests.system.conflist import Attachment, Conflist

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.plugin_node import Node

GIVES = '{"cniVersion": "1.0.0", "ips": [{"address": "10.5.0.5/24", "gateway": "10.5.0.1"}]}'
# The plugin as it is installed, but with a second for a delegate.
IMPATIENT = """from cni import delegate
delegate.ADD_SECONDS = delegate.OTHER_SECONDS = 1.0
from cni.main import main
main()"""


@dataclass
class Fakes:
    """A node with a list whose addresses come from a fake plugin; what that one was asked is in its log."""

    folder: Path
    conflist: Conflist

    def script(self, **verbs: str) -> None:
        """What the fake does for each verb; nothing, with success, for others."""
        cases = "\n".join(f"{verb}) {script} ;;" for verb, script in verbs.items())
        here = self.folder
        seen = f"cat >{here}/stdin; echo $$ >{here}/pid-$CNI_COMMAND; echo $CNI_COMMAND >>{here}/log"
        fake_plugin(here, "fake", f"{seen}\ncase $CNI_COMMAND in\n{cases}\nesac")

    def asked(self) -> list[str]:
        log = self.folder / "log"
        return log.read_text().split() if log.exists() else []

    def attachment(self, container: str = "c1") -> Attachment:
        return Attachment(container, self.conflist.node.pod())

    def start(self, verb: str, one: Attachment) -> subprocess.Popen[bytes]:
        """A call that goes on while the test does."""
        env = self.conflist.environment(verb, one)
        return self.conflist.node.start(env, self.conflist.conf(one, self.conflist.plugins[0]))

    def await_log(self, process: subprocess.Popen[bytes], *expected: str) -> None:
        """Until the fake was asked this."""
        deadline = time.monotonic() + 20
        while self.asked() != list(expected):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, self.asked()
            time.sleep(0.01)


@pytest.fixture
def fakes(node: Node, tmp_path: Path) -> Fakes:
    folder = tmp_path / "plugins"
    folder.mkdir()
    conf = {"type": "anypod", "bridge": "cni0", "stateDir": str(node.state), "ipam": {"type": "fake"}}
    return Fakes(folder, Conflist(node, [conf], directories=(folder,)))


def nothing_left(node: Node, one: Attachment) -> None:
    assert node.held() == {}
    assert node.links() <= {"lo", "cni0"}
    assert "eth0" not in node.links(one.pod)


def refused(fakes: Fakes, one: Attachment, code: int, says: str) -> None:
    answer = fakes.conflist.try_add(one)
    assert answer.status == 1
    error = answer.json
    assert (error["code"], says in error["msg"]) == (code, True), error
    assert "Traceback" not in answer.stderr
    nothing_left(fakes.conflist.node, one)


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        ('echo \'{"code": 100, "msg": "no pool", "details": "blue"}\'; exit 1', 100, "fake: no pool"),
        ('echo \'{"code": 11, "msg": "busy"}\'; exit 1', 11, "fake: busy"),
        (
            "echo no lease >&2; exit 1",
            999,
            "fake: ADD ended with exit status 1 and no CNI error object; no lease",
        ),
        ("kill -KILL $$", 999, "fake: ADD ended with signal 9"),
        ("echo garbage", 6, "the answer of ipam.type 'fake' is no JSON: 'garbage"),
        ("echo '[]'", 6, "the answer of ipam.type 'fake' is no JSON object"),
        ('echo \'{"ips": [{"address": 5}]}\'', 6, "the answer of ipam.type 'fake' is no CNI result"),
        ("echo '{}'", 6, "the answer of ipam.type 'fake' has no address"),
        ("exec yes", 6, "more than 1 MiB"),
    ],
)
def test_an_add_that_fails_is_followed_by_del(fakes: Fakes, script: str, code: int, says: str) -> None:
    fakes.script(ADD=script)
    refused(fakes, fakes.attachment(), code, says)
    assert fakes.asked() == ["ADD", "DEL"]


def test_the_first_error_is_the_answer_where_del_fails_too(fakes: Fakes) -> None:
    fails = 'echo "{\\"code\\": 100, \\"msg\\": \\"$CNI_COMMAND\\"}"; exit 1'
    fakes.script(ADD=fails, DEL=fails)
    one = fakes.attachment()
    refused(fakes, one, 100, "fake: ADD")
    # It can be tried again at once.
    fakes.script(ADD=f"echo '{GIVES}'")
    fakes.conflist.add(one)


def test_a_delegate_that_is_not_there_is_named_with_the_fix(fakes: Fakes) -> None:
    refused(fakes, fakes.attachment(), 7, "ipam.type: 'fake' is not in CNI_PATH")


@pytest.mark.parametrize("kind", ["../fake", "/bin/true", "a/b", "..", "a b", "x" * 300])
def test_a_delegate_that_is_no_plain_name_is_refused(fakes: Fakes, kind: str) -> None:
    fakes.script()
    fakes.conflist.plugins[0]["ipam"] = {"type": kind}
    one = fakes.attachment()
    refused(fakes, one, 7, "ipam.type")
    assert fakes.conflist.delete(one) == {}
    assert fakes.asked() == []


def test_without_cni_path_the_variable_is_missed(fakes: Fakes) -> None:
    one = fakes.attachment()
    env = fakes.conflist.environment("ADD", one)
    del env["CNI_PATH"]
    stdin = json.dumps(fakes.conflist.conf(one, fakes.conflist.plugins[0])).encode()
    error = fakes.conflist.node.call(env, stdin).json
    assert (error["code"], "[CNI_PATH] missing" in error["msg"]) == (4, True)
    nothing_left(fakes.conflist.node, one)


def test_the_plugin_itself_as_its_delegate_is_refused(fakes: Fakes) -> None:
    one = fakes.attachment()
    fakes.conflist.plugins[0]["ipam"] = {"type": "anypod"}
    refused(fakes, one, 7, "ipam.type")
    # What never gave anything has nothing to take back.
    assert fakes.conflist.delete(one) == {}


def test_a_copy_of_the_plugin_as_its_delegate_comes_to_an_end(fakes: Fakes) -> None:
    (fakes.folder / "copy").symlink_to(fakes.conflist.node.plugin)
    fakes.conflist.plugins[0]["ipam"] = {"type": "copy"}
    one = fakes.attachment()
    assert fakes.conflist.try_add(one).status == 1
    nothing_left(fakes.conflist.node, one)


def test_a_delegate_that_hangs_is_ended_and_rolled_back(fakes: Fakes) -> None:
    node, one = fakes.conflist.node, fakes.attachment()
    fakes.script(ADD="sleep 60")
    launcher = node.plugin.read_text().splitlines()
    packages = next(line for line in launcher if line.startswith("sys.path"))
    interpreter = launcher[0].removeprefix("#!").split()[0]
    code = f"import sys\n{packages}\n{IMPATIENT}"
    done = subprocess.run(
        ["ip", "netns", "exec", node.name, interpreter, "-IS", "-c", code],
        input=json.dumps(fakes.conflist.conf(one, fakes.conflist.plugins[0])).encode(),
        env=fakes.conflist.environment("ADD", one),
        capture_output=True,
        timeout=30,
        check=False,
    )
    error = json.loads(done.stdout)
    assert (error["code"], "was not done within 1 s" in error["msg"]) == (11, True)
    assert ended(fakes.folder / "pid-ADD")
    assert fakes.asked() == ["ADD", "DEL"]
    nothing_left(node, one)


def test_sigterm_during_its_add_ends_it_and_rolls_back(fakes: Fakes) -> None:
    one = fakes.attachment()
    fakes.script(ADD="sleep 60")
    process = fakes.start("ADD", one)
    fakes.await_log(process, "ADD")
    process.send_signal(signal.SIGTERM)
    stdout, _ = process.communicate(timeout=20)
    assert json.loads(stdout)["code"] == 11
    assert ended(fakes.folder / "pid-ADD")
    assert fakes.asked() == ["ADD", "DEL"]
    nothing_left(fakes.conflist.node, one)


def test_kill_during_its_add_ends_it_and_del_cleans_up(fakes: Fakes) -> None:
    one = fakes.attachment()
    fakes.script(ADD="exec sleep 60")
    process = fakes.start("ADD", one)
    fakes.await_log(process, "ADD")
    process.kill()
    process.communicate(timeout=20)
    assert ended(fakes.folder / "pid-ADD")
    assert fakes.conflist.delete(one) == {}
    assert fakes.asked() == ["ADD", "DEL"]
    nothing_left(fakes.conflist.node, one)


def test_del_during_its_add_makes_the_add_undo_itself(fakes: Fakes) -> None:
    one = fakes.attachment()
    gate = fakes.folder / "gate"
    os.mkfifo(gate)
    fakes.script(ADD=f"read line <{gate}; echo '{GIVES}'")
    process = fakes.start("ADD", one)
    fakes.await_log(process, "ADD")
    assert fakes.conflist.delete(one) == {}
    gate.write_text("go\n")
    stdout, _ = process.communicate(timeout=20)
    error: dict[str, Any] = json.loads(stdout)
    assert (error["code"], "was deleted" in error["msg"]) == (3, True)
    assert fakes.asked() == ["ADD", "DEL", "DEL"]
    nothing_left(fakes.conflist.node, one)


def test_a_del_that_it_refuses_is_an_error_and_the_rest_is_gone(fakes: Fakes) -> None:
    one = fakes.attachment()
    fails = 'echo \'{"code": 77, "msg": "not now"}\'; exit 1'
    fakes.script(ADD=f"echo '{GIVES}'", DEL=fails)
    fakes.conflist.add(one)
    error = fakes.conflist.delete(one)["anypod"].json
    assert (error["code"], error["msg"]) == (77, "fake: not now")
    nothing_left(fakes.conflist.node, one)
    fakes.script()
    assert fakes.conflist.delete(one) == {}
    assert fakes.asked() == ["ADD", "DEL", "DEL"]


def test_its_stderr_is_passed_on(fakes: Fakes) -> None:
    fakes.script(ADD=f"echo a remark >&2; echo '{GIVES}'")
    assert fakes.conflist.try_add(fakes.attachment()).stderr == "a remark\n"


def test_check_status_and_gc_reach_it_with_the_whole_configuration(fakes: Fakes) -> None:
    one = fakes.attachment()
    fakes.script(ADD=f"echo '{GIVES}'")
    fakes.conflist.version = "1.1.0"
    result = fakes.conflist.add(one)
    plugin = fakes.conflist.plugins[0]
    assert fakes.conflist.check(one) == {}
    seen = json.loads((fakes.folder / "stdin").read_text())
    conf = plugin | {"cniVersion": "1.1.0", "name": "pods"}
    assert seen == conf | {"prevResult": result}
    valid = [{"containerID": "c1", "ifname": "eth0"}]
    for verb, extra in (("STATUS", {}), ("GC", {"cni.dev/valid-attachments": valid})):
        answer = fakes.conflist.run(verb, one, plugin | extra)
        assert (answer.status, answer.stdout) == (0, ""), answer
        assert json.loads((fakes.folder / "stdin").read_text()) == conf | extra
    assert fakes.asked() == ["ADD", "CHECK", "STATUS", "GC"]
    assert fakes.conflist.node.held().keys() == {"c1"}


@pytest.mark.parametrize("verb", ["CHECK", "GC"])
def test_an_error_of_its_check_or_gc_is_ours(fakes: Fakes, verb: str) -> None:
    one = fakes.attachment()
    fakes.conflist.version = "1.1.0"
    fails = {verb: 'echo \'{"code": 77, "msg": "lost"}\'; exit 1'}
    fakes.script(ADD=f"echo '{GIVES}'", **fails)
    fakes.conflist.add(one)
    plugin = fakes.conflist.plugins[0] | {"cni.dev/valid-attachments": []}
    error = fakes.conflist.run(verb, one, plugin, one.result).json
    assert "fake: lost" in error["msg"]


def test_status_is_50_while_it_can_not_serve(fakes: Fakes) -> None:
    one = fakes.attachment()
    fakes.conflist.version = "1.1.0"
    assert fakes.conflist.run("STATUS", one).json["code"] == 50
    fakes.script(STATUS='echo \'{"code": 51, "msg": "server gone"}\'; exit 1')
    error = fakes.conflist.run("STATUS", one).json
    assert (error["code"], error["msg"]) == (51, "fake: server gone")
    fakes.script()
    assert fakes.conflist.run("STATUS", one).status == 0
