"""What counts as damage to the state file and what does not, and how it is set aside."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.system.conformance_rig import ask, finish, refused, wait_until
from tests.system.damage_rig import ASIDE, Scene, aside, bare, execute, garbage, set_aside_and_told
from tests.system.leak_rig import KEY, conf, forget, names, port

if TYPE_CHECKING:
    from tests.system.plugin_node import Answer, Node


@pytest.fixture
def scene(node: Node) -> Scene:
    return Scene(node)


# ---- wrong values


@pytest.mark.parametrize(
    ("statement", "verb"),
    [
        ("UPDATE address SET ip = 'text' WHERE container = 'c1' AND family = 4", "CHECK"),
        ("UPDATE address SET ip = x'0a' WHERE container = 'c1' AND family = 4", "CHECK"),
        ("UPDATE cursor SET next = 'next'", "ADD"),
        ("UPDATE network SET compiled = '{'", "ADD"),
        ("UPDATE network SET compiled = '[1]'", "CHECK"),
        ("UPDATE network SET compiled = json_set(compiled, '$.range_sets', 7)", "ADD"),
        ("UPDATE network SET bridge_index = 'one', compiled = 7", "ADD"),
        ("UPDATE attachment SET network = CAST(x'ff' AS TEXT) WHERE container = 'c1'", "CHECK"),
    ],
)
def test_values_that_no_plugin_wrote_are_damage_too(scene: Scene, statement: str, verb: str) -> None:
    node = scene.node
    execute(node.state, statement)
    document = conf(node, macspoofchk=True) | {"prevResult": scene.results[1]}
    if verb == "ADD":
        answer = node.verb("ADD", "c2", node.pod(), conf(node, macspoofchk=True))
    else:
        answer = node.verb(verb, "c1", scene.pods[1], document)
    set_aside_and_told(node, answer, 2)
    scene.untouched()


def test_a_fault_of_ours_is_not_taken_for_damage(scene: Scene) -> None:
    """The file is in order, and reading it goes wrong all the same."""
    node = scene.node
    strace = ["strace", "-D", "-qq", "-o", "/dev/null", "-P", str(bare(node.state))]
    before = [*strace, "-e", "inject=pread64:error=EIO:when=1+"]
    process = node.start(node.environment("ADD", "c2", node.pod()), conf(node), before)
    refused(finish(process), 5, "disk I/O error")
    assert aside(node) == set()
    scene.untouched()


@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EROFS", "EDQUOT"])
def test_a_disk_that_refuses_is_no_damage(scene: Scene, error: str) -> None:
    node = scene.node
    strace = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", f"inject=pwrite64:error={error}:when=1+"]
    process = node.start(node.environment("ADD", "c2", node.pod()), conf(node), strace)
    refused(finish(process), 5, "state.db")
    assert aside(node) == set()
    scene.untouched()


def test_a_file_on_a_read_only_mount_stays(scene: Scene) -> None:
    """Also a damaged one: it can't be set aside, and the answer says what is wrong with the disk."""
    node = scene.node
    garbage(node.state)
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    before = ["unshare", "-m", "sh", "-c", mount, str(node.state)]
    process = node.start(node.environment("ADD", "c2", node.pod()), conf(node), before)
    refused(finish(process), 5, "state.db")
    assert aside(node) == set()


# ---- what is no damage


def test_an_empty_file_is_a_new_one(scene: Scene) -> None:
    node = scene.node
    os.truncate(bare(node.state), 0)
    node.add("c2", node.pod(), conf(node))
    assert aside(node) == set()
    assert {name: ips for name, ips in node.held().items() if name != "c2"} == scene.held


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_garbage_beside_the_file_is_ignored(scene: Scene, suffix: str) -> None:
    node = scene.node
    (bare(node.state).parent / f"state.db{suffix}").write_bytes(os.urandom(40000))
    node.add("c2", node.pod(), conf(node))
    assert aside(node) == set()
    assert {name: ips for name, ips in node.held().items() if name != "c2"} == scene.held


def test_another_programs_database_is_left_alone(scene: Scene) -> None:
    node = scene.node
    file = bare(node.state)
    file.unlink()
    execute(node.state, "CREATE TABLE theirs (a)", "PRAGMA application_id=7")
    before = file.read_bytes()
    says = "another program's database"
    refused(node.verb("ADD", "c2", node.pod(), conf(node)), 5, says)
    refused(ask(node, "GC", conf(node) | {KEY: []}), 5, says)
    refused(ask(node, "STATUS", conf(node)), 50, says)
    refused(node.verb("DEL", "c0", scene.pods[0], scene.conf), 5, says)
    assert node.links(scene.pods[0]) == {"lo"}
    file.write_bytes(before[:5000] + bytes(len(before) - 5000))
    refused(node.verb("ADD", "c2", node.pod(), conf(node)), 5, says)
    assert aside(node) == set()


def test_a_value_out_of_its_range_does_no_harm(scene: Scene) -> None:
    execute(scene.node.state, "UPDATE cursor SET next = x'0a01'")
    fresh = scene.node.add("c2", scene.node.pod(), conf(scene.node))["ips"][0]["address"]
    assert fresh.startswith("10.244.1.")
    assert fresh not in {ip for ips in scene.held.values() for ip in ips}


def test_a_newer_versions_file_is_left_alone(scene: Scene) -> None:
    execute(scene.node.state, "PRAGMA user_version=99")
    refused(scene.node.verb("ADD", "c2", scene.node.pod(), conf(scene.node)), 999, "downgraded")
    assert aside(scene.node) == set()


# ---- setting aside


def test_of_several_calls_one_sets_it_aside(scene: Scene) -> None:
    node = scene.node
    garbage(node.state)
    pods = [node.pod() for _ in range(8)]

    def add(number: int) -> Answer:
        return node.verb("ADD", f"d{number}", pods[number], conf(node))

    with ThreadPoolExecutor(8) as workers:
        answers = list(workers.map(add, range(8)))
    assert {answer.status and answer.json["code"] for answer in answers} <= {0, 11}, answers
    assert aside(node) == {f"{ASIDE}1"}
    served = {f"d{number}" for number, answer in enumerate(answers) if answer.status == 0}
    assert set(node.held()) == {"c0", "c1"} | served


def test_the_three_newest_are_kept(scene: Scene) -> None:
    node = scene.node
    for _ in range(5):
        garbage(node.state)
        refused(node.verb("ADD", "c2", node.pod(), conf(node)), 11, "is set aside")
        scene.untouched()
    assert aside(node) == {f"{ASIDE}{number}" for number in (3, 4, 5)}


def test_what_was_set_aside_is_what_was_there(scene: Scene) -> None:
    node = scene.node
    garbage(node.state)
    kept = (node.state / "state.db").read_bytes()
    refused(node.verb("ADD", "c2", node.pod(), conf(node)), 11, "file is not a database")
    assert (node.state / f"{ASIDE}1").read_bytes() == kept


@pytest.mark.parametrize("when", [1, 2, 3])
def test_a_call_killed_while_it_sets_aside_leaves_that_to_the_next(scene: Scene, when: int) -> None:
    node = scene.node
    garbage(node.state)
    for suffix in ("-wal", "-shm"):
        (node.state / f"state.db{suffix}").write_bytes(b"old")
    strace = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", f"inject=rename:signal=KILL:when={when}"]
    process = node.start(node.environment("ADD", "c2", node.pod()), conf(node), strace)
    finish(process)
    for _ in range(2):
        if node.verb("ADD", "c3", node.pods[-1], conf(node)).status == 0:
            break
    assert set(node.held()) == {"c0", "c1", "c3"}
    assert {name: ips for name, ips in node.held().items() if name != "c3"} == scene.held


def test_an_add_whose_file_was_set_aside_under_it_undoes_itself(scene: Scene) -> None:
    """It wrote into the old one: nobody would know of its addresses."""
    node = scene.node
    pod = node.pod()
    strace = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", "inject=setns:delay_enter=2500000"]
    process = node.start(node.environment("ADD", "c2", pod), conf(node), strace)
    wait_until(lambda: port("c2") in node.links(), "no veth was made")
    # Another file takes the place of the one that the call has open.
    new = node.state / "new"
    new.write_bytes(b"garbage" * 5000)
    new.rename(node.state / "state.db")
    refused(node.verb("ADD", "c3", node.pod(), conf(node)), 11, "is set aside")
    refused(finish(process), 11, "try again")
    assert node.links(pod) == {"lo"}
    node.delete("c2", pod, conf(node))
    assert node.held() == scene.held


def test_a_del_whose_file_was_lost_under_it_is_done_again(scene: Scene) -> None:
    node = scene.node
    forget(node, "c1")
    for name in names(node.state):
        (node.state / name).unlink()
    node.delete("c1", scene.pods[1], conf(node))
    assert node.held() == {"c0": scene.held["c0"]}
