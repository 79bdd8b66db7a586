"""DEL: releases and removes what is there; nothing there is success. Links go even without a state file."""

from __future__ import annotations

from cni.attach import Kernel, host_ifname, ifb_ifname
from cni.errors import IO_FAILURE, DamagedError
from cni.netns import refuse_own
from cni.network import BUILT_IN
from cni.removal import remove_links
from cni.spec import network_name
from cni.store import Store, state_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni.elements import Element, ElementSocket
    from cni.spec import Call
    from cni.store import Served

OWN_IPAM = ("", "host-local")


def delete(call: Call, conf: dict[str, object]) -> None:
    """Whatever network recorded the attachment: an interface of a container is in one network only."""
    network_name(conf)
    if not call.own_netns:
        refuse_own(call.netns)
    recorded = BUILT_IN
    nftables: list[ElementSocket] = []
    try:
        store = Store(state_dir(conf))
        recorded = store.ipam(call.container, call.ifname)
        if not isinstance(recorded, str):
            # It is of use behind the release only, and then the file shows nothing of it any more.
            raise DamagedError(IO_FAILURE, "the state file has an attachment whose ipam is no text")
        served = store.release(
            call.container,
            call.ifname,
            lambda elements: nftables.append(remove_elements(elements)),
            lambda served: _leave(call, store, served),
        )
        store.close()
        if served:
            from cni.anycast import take_out

            take_out(Kernel(), served)
    except DamagedError:
        # The links stay for now: the state file is made anew from them, and DEL runs again.
        raise
    except BaseException:
        remove(call, conf, recorded, nftables)
        raise
    remove(call, conf, recorded, nftables)


def _leave(call: Call, store: Store, served: Sequence[Served]) -> None:
    from cni.anycast import leave

    leave(call, store, served)


def remove(
    call: Call, conf: dict[str, object], recorded: str = BUILT_IN, nftables: Sequence[ElementSocket] = ()
) -> None:
    """What needs no state file: the links go, and with another plugin for addresses, what that one reserved."""
    try:
        # While the links stand: `dhcp` sends its release through the pod's.
        _give_back(recorded or delegate_of(conf), call, conf)
    finally:
        _remove_links(call, nftables)


def _remove_links(call: Call, nftables: Sequence[ElementSocket]) -> None:
    owner = call.container, call.ifname
    slow = [one.netfilter.fileno() for one in nftables]
    remove_links(Kernel(), (host_ifname(*owner), ifb_ifname(*owner)), slow)


def delegate_of(conf: dict[str, object]) -> str:
    """The plugin that `ipam.type` names. DEL must not fail for a netconf that has gone wrong since."""
    ipam = conf.get("ipam")
    kind = ipam.get("type") if isinstance(ipam, dict) else None
    return kind if isinstance(kind, str) and kind not in OWN_IPAM else BUILT_IN


def _give_back(kind: str, call: Call, conf: dict[str, object]) -> None:
    if kind != BUILT_IN:
        from cni.delegate import delete as give_back

        give_back(kind, call, conf)


def remove_elements(elements: Sequence[Element]) -> ElementSocket:
    """Takes elements out of nftables' sets, of the namespace that the process is in.

    As long as the socket is not closed, nothing waits for the kernel to free them, which takes it some 9 ms.
    """
    from cni.elements import ElementSocket

    netfilter = ElementSocket()
    netfilter.remove(elements)
    return netfilter
