"""Duplicate address detection, where a netconf asks for it: waits until the pod's addresses are usable."""

from __future__ import annotations

from time import monotonic, sleep

from cni.errors import ADDRESS_CONFLICT, TRY_AGAIN_LATER, CniError
from cni.link import IFA_F_DADFAILED, IFA_F_TENTATIVE, Address, address_dump
from cni.network import ip_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.attach import Kernel
    from cni.link import Link

SECONDS = 5.0
POLL_SECONDS = 0.05


def settle(kernel: Kernel, link: Link) -> None:
    """Returns when no address of the link is tentative any more.

    CniError 102 where a neighbour has one of them, 11 where the kernel does not know within 5 s.
    """
    deadline = monotonic() + SECONDS
    while True:
        found = [Address(payload) for _, payload in kernel.socket.dump(address_dump(link.index))]
        own = [one for one in found if one.index == link.index]
        for one in own:
            if one.flags & IFA_F_DADFAILED:
                raise CniError(
                    ADDRESS_CONFLICT,
                    f"enabledad: a neighbour has {ip_text(one.ip)} already, which {link.name} should get;"
                    " find out who took it, or take it out of ipam.ranges",
                )
        tentative = [ip_text(one.ip) for one in own if one.flags & IFA_F_TENTATIVE]
        if not tentative:
            return
        if monotonic() > deadline:
            raise CniError(
                TRY_AGAIN_LATER,
                f"enabledad: {', '.join(tentative)} of {link.name} still in duplicate address detection"
                f" after {SECONDS:.0f} s; try again later",
            )
        sleep(POLL_SECONDS)
