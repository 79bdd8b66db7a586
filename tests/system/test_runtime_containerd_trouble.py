"""The plugin under containerd when that is in a hurry, restarted, killed or wiped, or finds things gone."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.cri_client import CriError
from tests.system.runtime_host import wait

if TYPE_CHECKING:
    from tests.system.containerd_rig import Containerd

PODS = 100
# Makes the attachment, and then does not come back for a while.
SLOW = """#!/bin/bash
{plugin}
[[ $CNI_COMMAND != ADD ]] || {{ touch {calls}/attached; exec sleep 5; }}
"""


def conflist(subnet: str = "10.244.1.0/24", version: str = "1.0.0") -> dict[str, Any]:
    plugin = {"type": "anypod", "isDefaultGateway": True, "ipam": {"subnet": subnet}}
    return {"cniVersion": version, "name": "pods", "plugins": [plugin]}


@pytest.fixture
def running(containerd: Containerd) -> Containerd:
    containerd.configure(conflist())
    containerd.start()
    return containerd


def test_a_hundred_sandboxes_at_once_have_an_address_each_and_leave_nothing(running: Containerd) -> None:
    made = running.together(PODS)
    sandboxes = [one for one in made if isinstance(one, str)]
    assert len(sandboxes) == PODS, made
    assert len({address for one in sandboxes for address in running.addresses(one)}) == PODS
    running.remove_together(sandboxes)
    assert running.sandboxes() == {}
    assert running.host.left_over() == {}


def test_sandboxes_outlive_a_restart_of_containerd(running: Containerd) -> None:
    node = running.host.node
    kept, removed = running.run(), running.run()
    addresses, held = running.addresses(kept), node.held()
    running.end()
    assert node.pings(node.name, addresses[0])
    running.start()
    assert running.sandboxes() == dict.fromkeys((kept, removed), "SANDBOX_READY")
    assert running.addresses(kept) == addresses
    assert node.held() == held
    running.remove(removed)
    assert set(node.held()) == {kept}
    assert running.addresses(running.run()) != addresses
    running.remove_together(running.sandboxes())
    assert running.host.left_over() == {}


@pytest.mark.parametrize("attached", [1, 12])
def test_containerd_killed_amid_many_adds_leaves_nothing_that_it_can_not_remove(
    running: Containerd, attached: int
) -> None:
    node = running.host.node
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(running.together, 24)
        wait("some pods are attached", lambda: len(node.held()) >= attached)
        running.end(signal.SIGKILL)
        assert any(isinstance(one, CriError) for one in making.result())
    running.start()
    running.remove_together(running.sandboxes())
    assert running.sandboxes() == {}
    assert running.host.left_over() == {}


def test_addresses_of_pods_that_a_wiped_runtime_forgot_are_given_out_again(containerd: Containerd) -> None:
    usable = 13
    containerd.configure(conflist("10.244.1.0/28"))
    containerd.start()
    assert len([one for one in containerd.together(usable) if isinstance(one, str)]) == usable
    forgotten = containerd.host.node.held()
    containerd.wipe()
    assert containerd.host.node.held() == forgotten
    containerd.start()
    made = containerd.together(usable)
    sandboxes = [one for one in made if isinstance(one, str)]
    assert len(sandboxes) == usable, made
    assert set(containerd.host.node.held()) == set(sandboxes)
    with pytest.raises(CriError, match=r"no IP addresses available.*tests"):
        containerd.run()
    containerd.remove_together(sandboxes)
    assert containerd.host.left_over() == {}


def test_a_sandbox_whose_namespace_is_gone_is_removed(running: Containerd) -> None:
    host = running.host
    sandbox = running.run()
    host.run("pkill", "-9", "-x", "pod")
    wait("containerd saw the sandbox end", lambda: running.sandboxes()[sandbox] == "SANDBOX_NOTREADY")
    (namespace,) = host.namespaces()
    host.run("umount", namespace)
    host.run("rm", namespace)
    running.remove(sandbox)
    assert host.left_over() == {}


def test_a_sandbox_that_the_kubelet_did_not_wait_for_leaves_nothing(running: Containerd) -> None:
    running.replace_plugin(SLOW)
    with pytest.raises(CriError, match="Deadline Exceeded"):
        running.call("RunPodSandbox", seconds=2, config=running.config())
    assert (running.calls / "attached").exists()
    wait("containerd takes it back", lambda: not running.host.left_over())
    assert running.sandboxes() == {}


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0"])
def test_an_older_version_of_the_specification_serves_as_well(containerd: Containerd, version: str) -> None:
    containerd.configure(conflist(version=version))
    containerd.start()
    sandbox = containerd.run()
    assert containerd.addresses(sandbox) == ["10.244.1.2"]
    containerd.remove(sandbox)
    assert containerd.host.left_over() == {}


def test_a_version_too_new_for_containerd_leaves_nothing_and_no_status_is_asked_for(
    containerd: Containerd,
) -> None:
    """1.6 has libcni 1.1, which knows the specification up to 1.0.0: there is no STATUS, and no result of 1.1.0."""
    containerd.record()
    containerd.configure(conflist(version="1.1.0"))
    containerd.start()
    if not containerd.call("Version")["runtime_version"].startswith("1.6."):
        pytest.skip("this containerd is newer")
    with pytest.raises(CriError, match=r'unsupported CNI result version "1\.1\.0"'):
        containerd.run()
    assert [one.verb for one in containerd.recorded()] == ["ADD", "DEL"]
    assert containerd.host.left_over() == {}
