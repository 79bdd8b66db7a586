"""The tests of VLANs, in a virtual machine whose kernel has them; tests/vm/guest_vlan*.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system import vm_rig

if TYPE_CHECKING:
    from pathlib import Path

MODULES = ("guest_vlan", "guest_vlan_traffic", "guest_vlan_compare")

pytestmark = pytest.mark.timeout(vm_rig.SECONDS + 60)


@pytest.fixture(scope="module")
def run(prefix: Path) -> vm_rig.Run:
    return vm_rig.run_tests(prefix, MODULES)


@pytest.mark.parametrize("test", vm_rig.tests_of(MODULES), ids=vm_rig.short)
def test_in_the_machine(run: vm_rig.Run, test: str) -> None:
    failures = run.failures(test)
    assert not failures, failures


def test_the_machine_ended_by_itself(run: vm_rig.Run) -> None:
    assert run.status == 0, run.console
