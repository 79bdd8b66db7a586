"""What holds of services whatever kube-proxy's mode is: the same questions on this machine's kernel and on another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.system.kube_rig import FAMILIES, GATEWAY, PLAIN, WEB, everywhere

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.system.kube_rig import Stand

BOTH = {"v4", "v6"}


def answered(stand: Stand, client: str, service: Mapping[int, str], wanted: dict[str, str]) -> None:
    """A service answers as wanted, over each family and protocol."""
    seen = stand.answers(client, service)
    assert seen == wanted, seen


def pods_of_both_nodes_and_a_node_reach_a_service(stand: Stand) -> None:
    stand.filter_bridges(on=True)
    for pod in (stand.b, stand.c):
        answered(stand, pod.namespace, WEB, everywhere("a", pod.addresses))
    answered(stand, stand.nodes[0].name, WEB, everywhere("a", GATEWAY))


def a_service_is_shared_between_its_pods_of_both_nodes(stand: Stand) -> None:
    stand.filter_bridges(on=True)
    for client in (stand.b, stand.c):
        assert all(stand.both_answer(client.namespace, family) for family in FAMILIES)


def a_pod_reaches_itself_by_its_service(stand: Stand) -> None:
    stand.filter_bridges(on=True)
    answered(stand, stand.a.namespace, WEB, everywhere("a", GATEWAY))
    # Its port of the bridge does not send a frame back to where it came from.
    silent = stand.silent(stand.plain.namespace, PLAIN)
    assert silent == BOTH, silent


def past_the_bridges_filter_pods_of_the_same_node_go_without(stand: Stand) -> None:
    stand.filter_bridges(on=False)
    answered(stand, stand.c.namespace, WEB, everywhere("a", stand.c.addresses))
    answered(stand, stand.nodes[0].name, WEB, everywhere("a", GATEWAY))
    for pod, name, service in ((stand.a, "a", WEB), (stand.plain, "plain", PLAIN)):
        answered(stand, pod.namespace, service, everywhere(name, GATEWAY))
    # The answer comes from the pod's own address: nothing on its way puts the service's there.
    silent = stand.silent(stand.b.namespace, WEB)
    assert silent == BOTH, silent
