"""An attachment as an endpoint of virtual IPs: granted, put on the pod's `lo`, recorded, and all of that taken back.

The record comes last, when the pod's inside stands: the speaker has packets led to what is in table `vip`. It makes
the next-hop objects; whoever ends an attachment takes its objects away, so that no group leads to a pod that goes.
"""

from __future__ import annotations

import posix

from cni import sysctl
from cni.allocation import Vip
from cni.attach import EEXIST, Kernel, owner_alias, refused
from cni.errors import ADDRESS_CONFLICT, CHECK_FAILED, INVALID_NETNS, KERNEL_REFUSED, VIP_REFUSED, CniError
from cni.label import label
from cni.link import Address, address_add, address_delete, address_dump, link_up
from cni.netns import SELF, enter, inode, open_netns
from cni.network import ip_text
from cni.nexthop import FIRST_ID, LAST_ID, nexthop_delete
from cni.pools import load
from cni.statefile import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cni.link import Link
    from cni.network import Network, PodAddress
    from cni.request import Request
    from cni.spec import Call
    from cni.store import Served, Store

ENOENT = 2
EOPNOTSUPP = 95
# The kernel's index of `lo`, in every namespace.
LOOPBACK = 1


def virtual_ips(call: Call, network: Network, request: Request, kernel: Kernel) -> Endpoint:
    """For a pod that asks, or whose network does. CniError 106 for what no pool gives, 102 for the node's own."""
    if network.anycast is None:
        raise CniError(
            VIP_REFUSED,
            f"{request.vips_key}: {ip_text(request.vips[0])} is asked for, and network {network.name} has no pools"
            " of virtual IPs; set anycast.pools in its netconf, or don't ask",
        )
    pools = load(network.anycast)
    key = request.vips_key or "anycast.vips"
    namespace = request.pod.partition("/")[0]
    granted = {ip: pools.grant(key, ip, namespace).name for ip in request.vips or pools.vips}
    try:
        own = {Address(payload).ip for _, payload in kernel.socket.dump(address_dump())}
    except OSError as error:
        raise refused("the listing of the node's addresses", error) from None
    for ip in granted:
        if ip in own:
            raise CniError(
                ADDRESS_CONFLICT,
                f"{key}: {ip_text(ip)} is an address of this node; ask for another, or remove it from the node",
            )
    found = Endpoint(call, key, granted)
    found.check = request.check or pools.check
    found.weight = request.weight or pools.weight
    return found


class Endpoint:
    """One attachment's virtual IPs, each with the name of its pool."""

    def __init__(self, call: Call, key: str, granted: dict[bytes, str]) -> None:
        self._call = call
        self._key = key
        self._granted = granted
        self._vias: dict[bytes, bytes] = {}
        self.check = ""
        self.weight = 1
        # What was put on `lo`, and a way back to it from outside.
        self._put: list[bytes] = []
        self._pod: Kernel | None = None
        self._vips: list[Vip] = []

    def texts(self) -> list[str]:
        """The virtual IPs, for the record of the attachment: a call that is killed leaves no other word of them."""
        return [ip_text(ip) for ip in self._granted]

    def route(self, addresses: Sequence[PodAddress]) -> None:
        """Chooses which of the pod's addresses leads to each virtual IP: the first of its family, or of IPv6.

        CniError 106 where none can, 102 where the pod's own subnet has the virtual IP: no neighbour would find it.
        """
        first: dict[int, bytes] = {}
        for address in addresses:
            first.setdefault(len(address.ip), address.ip)
        for ip in self._granted:
            via = first.get(len(ip)) or first.get(16)
            if via is None:
                raise CniError(
                    VIP_REFUSED,
                    f"{self._key}: {ip_text(ip)} needs a pod with an IPv6 address, and this one has none;"
                    " give the network an IPv6 range, or ask for an IPv4 address",
                )
            for address in addresses:
                if _same_subnet(address, ip):
                    raise CniError(
                        ADDRESS_CONFLICT,
                        f"{self._key}: {ip_text(ip)} is in {address.subnet_text()}, the pod's own subnet;"
                        " choose a pool outside of it",
                    )
            self._vias[ip] = via

    def refuse_taken(self, store: Store) -> None:
        """CniError 102 where a pod has one of the virtual IPs as its own address. Inside a transaction."""
        marks = ",".join("?" * len(self._granted))
        found = store.execute(
            "SELECT ip, container, ifname FROM address"  # noqa: S608 - marks only
            f" WHERE container IS NOT NULL AND ip IN ({marks})"
            f" UNION ALL SELECT via, container, ifname FROM vip WHERE via IN ({marks}) LIMIT 1",
            (*self._granted, *self._granted),
        ).fetchall()
        for ip, container, ifname in found:
            raise CniError(
                ADDRESS_CONFLICT,
                f"{self._key}: {ip_text(ip)} is the address of {container}/{ifname}; take it out of"
                " anycast.pools, or delete that pod",
            )

    # ---- the pod, by a process that is in its namespace

    def serve(self) -> None:
        """Puts the virtual IPs on `lo`. The pod answers no ARP request for them, nor asks with them."""
        self._pod = Kernel()
        if any(len(ip) == 16 for ip in self._granted):
            sysctl.ensure("ipv6/conf/lo/disable_ipv6", "0")
        sysctl.attempt(f"ipv4/conf/{self._call.ifname}/arp_announce", "2")
        sysctl.attempt(f"ipv4/conf/{self._call.ifname}/arp_ignore", "1")
        index = _loopback(self._pod)
        # What the kernel did with them is not known where it does not get to answer.
        self._put = list(self._granted)
        try:
            verdicts = self._pod.socket.request_each(
                [link_up(index), *(address_add(index, ip, 8 * len(ip)) for ip in self._granted)]
            )
        except OSError as error:
            raise refused(f"virtual IPs on lo in {self._call.netns}", error) from None
        self._put = [ip for ip, verdict in zip(self._granted, verdicts[1:], strict=True) if verdict is None]
        for verdict in verdicts:
            # Another attachment of the pod may serve it, too.
            if verdict is not None and verdict.errno != EEXIST:
                raise refused(f"virtual IPs on lo in {self._call.netns}", verdict)

    # ---- the state file

    def record(self, store: Store) -> bool:
        """Writes what the speaker reads, in a transaction of its own; whether the attachment still stood."""
        store.begin()
        stands = store.stands(self._call.container, self._call.ifname, self._call.started)
        if stands:
            self.refuse_taken(store)
            numbers: dict[bytes, int] = {}
            for ip, pool in self._granted.items():
                via = self._vias[ip]
                if via not in numbers:
                    numbers[via] = _free_number(store, numbers.values())
                self._vips.append(Vip(ip_text(ip), ip_text(via), numbers[via], self.weight, self.check, pool))
                store.serve(self._vips[-1], (self._call.container, self._call.ifname))
        store.commit()
        return stands

    def leave_word(self, kernel: Kernel, host: Link, network: str) -> None:
        """Says on the node's end of the pod what was recorded: the state file may be lost."""
        if self._vips:
            owner = owner_alias(network, self._call.container, self._call.ifname)
            # A verdict says no more than that there is no word.
            kernel.socket.request_each([link_up(host.index, label(owner, self._vips))])

    def undo(self, store: Store, kernel: Kernel) -> None:
        """Takes back what was put and what the speaker made of it, as far as it goes; the record is the caller's.

        The process is in the node's namespace again.
        """
        try:
            take_out(kernel, [(b"", vip.nexthop) for vip in self._vips])
            if self._pod is not None:
                store.begin()
                _take_off(store, self._call, self._pod, self._put)
                store.commit()
        except (CniError, OSError):
            store.rollback()


def leave(call: Call, store: Store, served: Sequence[Served]) -> None:
    """DEL: the pod's `lo` loses what it served. Inside the transaction: killed behind this, the record stands."""
    own = posix.open(SELF, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        enter(open_netns(call.netns, call.own_netns))
        _take_off(store, call, Kernel(), [ip for ip, _ in served])
    except CniError as error:
        if error.code != INVALID_NETNS and inode(call.netns) != (0, 0):
            raise
        # The namespace has gone, and all that was in it.
    finally:
        enter(own)
        posix.close(own)


def _take_off(store: Store, call: Call, pod: Kernel, ips: Sequence[bytes]) -> None:
    """Takes virtual IPs off `lo` that no other attachment of the container has.

    Inside a transaction: no ADD begins meanwhile.
    """
    kept = store.granted(call.container, call.started)
    # What is not there any more needs no removal. By number: a pod may give its `lo` another name.
    pod.socket.request_each([address_delete(LOOPBACK, ip, 8 * len(ip)) for ip in ips if ip not in kept])


def take_out(kernel: Kernel, served: Iterable[Served]) -> None:
    """Removes the next-hop objects of what was served; the kernel takes them out of all groups in the same moment."""
    numbers = sorted({number for _, number in served if number})
    if not numbers:
        return
    try:
        verdicts = kernel.socket.request_each([nexthop_delete(number) for number in numbers])
    except OSError as error:
        raise refused("the removal of next hops", error) from None
    for verdict in verdicts:
        # There is none where no speaker made it, or on a kernel that has no such objects.
        if verdict is not None and verdict.errno not in (ENOENT, EOPNOTSUPP):
            raise refused("the removal of next hops", verdict)


def check(call: Call, vips: Sequence[bytes]) -> None:
    """CHECK of a pod that asks, in its namespace: what the state file has is on `lo`. CniError 104 where not."""
    where = f"lo in {call.netns}"
    if not vips:
        raise CniError(
            CHECK_FAILED,
            f"the state file has no virtual IPs of {call.container}/{call.ifname}, which asks for some;"
            " delete the pod, so that it is made anew",
        )
    pod = Kernel()
    lo = pod.link("lo")
    if lo is None or not lo.up:
        raise CniError(CHECK_FAILED, f"{where} is down; set it up")
    present = pod.addresses(lo.index)
    for ip in vips:
        if (ip, 8 * len(ip)) not in present:
            raise CniError(
                CHECK_FAILED,
                f"{where} lost its virtual IP {ip_text(ip)}; delete the pod, so that it is made anew",
            )


def _loopback(pod: Kernel) -> int:
    lo = pod.link("lo")
    if lo is None:
        raise CniError(KERNEL_REFUSED, "the pod's namespace has no lo, which its virtual IPs belong on")
    index: int = lo.index
    return index


def _same_subnet(address: PodAddress, ip: bytes) -> bool:
    if len(address.ip) != len(ip):
        return False
    shift = 8 * len(ip) - address.prefixlen
    return int.from_bytes(address.ip, "big") >> shift == int.from_bytes(ip, "big") >> shift


def _free_number(store: Store, chosen: Iterable[int]) -> int:
    """A next-hop id that no attachment has. By the clock, so that one that was just given up does not come back."""
    span = LAST_ID - FIRST_ID
    number: int = FIRST_ID | now() // 10**6 & span
    while number in chosen or store.execute("SELECT 1 FROM vip WHERE nexthop = ?", (number,)).fetchone():
        number = FIRST_ID | number + 1 & span
    return number
