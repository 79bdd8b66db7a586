"""ADD, one transaction: all of it, or nothing that a later verb does not clean up.

What orders ADD and DEL of one attachment is the record in the state file. ADD writes it
before it makes anything and looks again when all stands; DEL takes it away before it
removes the links. Whichever order the two run in, one of them sees the other's trace. A
record is known by the moment at which its ADD began, a link by its hardware address: what
a later ADD of the same attachment made is not mistaken for one's own.
"""

from __future__ import annotations

import posix
from _signal import SIG_IGN, SIGTERM, signal  # type: ignore[import-not-found]

from cni.allocate import allocate
from cni.allocation import Allocation
from cni.attach import (
    Kernel,
    await_port,
    configure,
    connect,
    host_ifname,
    ifb_ifname,
    local_mac,
    overtaken,
    owner_alias,
    pod_mac,
)
from cni.bridge import gateway_holder, with_gateway
from cni.errors import ADDRESS_CONFLICT, ALREADY_ATTACHED, EXHAUSTED, HOST_PORT_TAKEN, CniError
from cni.netns import SELF, enter, identity, open_netns
from cni.network import BUILT_IN, NO_IPAM, PodAddress
from cni.prepared import prepare_for, prepared_bridge, remembered
from cni.request import parse_request
from cni.results import Interface, Result, parse_previous
from cni.spec import network_name
from cni.store import Store, state_dir
from cni.sysctl import ignore_redirects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni.anycast import Endpoint
    from cni.link import Link
    from cni.network import PodRoute
    from cni.prepared import Remembered
    from cni.request import Request
    from cni.spec import Call


def add(call: Call, conf: dict[str, object], version: str) -> dict[str, object]:
    """Attaches the pod; the result in the shape of `version`. Undone whole where a step fails."""
    network_name(conf)
    request = parse_request(call, conf)
    earlier = parse_previous(conf, version)
    if earlier is not None and earlier.inside(call.ifname) is not None:
        from cni.chained import join

        return join(call, conf, version, earlier)
    netns = open_netns(call.netns, call.own_netns)
    store = Store(state_dir(conf))
    known = remembered(store, conf, version)
    kernel = Kernel()
    if known.network.chained:
        from cni.chained import alone

        raise alone(call)
    endpoint = None
    if request.vips or known.network.gives_vips:
        from cni.anycast import virtual_ips

        endpoint = virtual_ips(call, known.network, request, kernel)
    bridge = prepared_bridge(store, kernel, known, bool(request.ports))
    addition = Addition(call, known, bridge, request, store, kernel, endpoint)
    try:
        addition.reserve(identity(posix.fstat(netns)))
        host = addition.make(netns, conf)
        addition.stand(host)
        # From here on it stands: a runtime that ends us now has to say DEL.
        signal(SIGTERM, SIG_IGN)
    except BaseException as error:
        if addition.undo(conf) and isinstance(error, CniError):
            # What a step stumbled over then is no news: the links went while it worked on them.
            raise overtaken(call) from None
        raise
    store.close()
    result = addition.result(host)
    return (result if earlier is None else result.behind(earlier)).json(version)


def _from_file(path: str) -> dict[str, object]:
    """The name servers of `ipam.resolvConf`, as they are now."""
    if not path:
        return {}
    from cni.resolvconf import read

    return read(path)


class Addition:
    """One ADD on its way: what it recorded and made so far, and how to take that back."""

    def __init__(
        self,
        call: Call,
        known: Remembered,
        bridge: Link,
        request: Request,
        store: Store,
        kernel: Kernel,
        endpoint: Endpoint | None,
    ) -> None:
        self._call = call
        self._known = known
        self._network = known.network
        self._bridge = bridge
        self._request = request
        self._store = store
        self._kernel = kernel
        self._endpoint = endpoint
        self._owner = (call.container, call.ifname)
        self._host_ifname = host_ifname(*self._owner)
        self._addresses: list[PodAddress] = []
        self._routes: Sequence[PodRoute] = ()
        self._dns = request.dns or known.network.dns or _from_file(known.network.resolv_conf)
        self._mac = b""
        self._claims = None
        if request.ports or known.network.macspoofchk:
            from cni.claims import Claims

            self._claims = Claims(call, request, known.network.macspoofchk)
        self._own_netns = posix.open(SELF, posix.O_RDONLY | posix.O_CLOEXEC)
        self._delegated = False
        self._recorded = False

    # ---- the state file

    def reserve(self, netns_inode: int) -> None:
        """Records the attachment with an address of each range set. What gone pods hold is taken back first."""
        try:
            self._reserve(netns_inode)
        except CniError as error:
            if error.code not in (EXHAUSTED, ALREADY_ATTACHED, ADDRESS_CONFLICT, HOST_PORT_TAKEN):
                raise
            self._store.rollback()
            from cni.reclaim import reclaim

            if not reclaim(self._store, self._kernel):
                raise
            self._reserve(netns_inode)

    def _reserve(self, netns_inode: int) -> None:
        network, call = self._network, self._call
        self._store.begin()
        record = Allocation(network.name, *self._owner, call.netns, self._host_ifname, ())
        record.netns_inode = netns_inode
        record.ipam = network.ipam if network.ipam != NO_IPAM else ""
        record.pod = self._request.pod
        record.detail = self._request.detail()
        if self._endpoint is not None:
            record.detail["vips"] = self._endpoint.texts()
            self._endpoint.refuse_taken(self._store)
        self._store.attach(record, self._call.started)
        if network.ipam == BUILT_IN:
            self._addresses = allocate(self._store, network, self._request.ips, self._owner)
        first = self._addresses[0].ip if self._addresses else b""
        self._mac = self._request.mac or (pod_mac(first) if first else local_mac())
        if network.ipam == BUILT_IN:
            self._claim()
        self._store.commit()
        self._recorded = True

    def _claim(self) -> None:
        """With the addresses known: what the pod gets in nftables' sets, and which leads to its virtual IPs."""
        if self._endpoint is not None:
            self._endpoint.route(self._addresses)
        if self._claims is not None:
            self._claims.record(self._store, self._addresses, self._host_ifname, self._mac)

    # ---- the kernel

    def make(self, netns: int, conf: dict[str, object]) -> Link:
        """Links, limits, nftables elements, and the pod's inside; returns the node's end of the veth pair."""
        call, network, kernel = self._call, self._network, self._kernel
        host = connect(kernel, network, self._bridge, call, netns, self._mac)
        if network.ipam != BUILT_IN:
            self._delegate(conf)
        if self._request.bandwidth is not None:
            from cni.bandwidth import limit

            alias = owner_alias(network.name, *self._owner)
            limit(kernel, host, self._request.bandwidth, ifb_ifname(*self._owner), alias)
        if self._claims is not None:
            self._claims.open()
        configure(call, netns, self._mac, network, self._addresses, self._all_routes())
        if network.anycast is not None:
            ignore_redirects(call.ifname)
        if self._endpoint is not None:
            self._endpoint.serve()
        if self._claims is not None:
            self._claims.put(self._store)
        if not network.host_only:
            await_port(kernel, host)
        return host

    def _delegate(self, conf: dict[str, object]) -> None:
        """Has the plugin that `ipam.type` names give the addresses, and records them.

        The pod's interface exists by then: `dhcp` works on it.
        """
        if self._network.ipam != NO_IPAM:
            from cni.delegate import add as ask

            self._delegated = True
            given = ask(self._network, self._call, conf)
            self._addresses = [with_gateway(self._network, one) for one in given.addresses]
            self._routes = given.routes
            self._dns = self._request.dns or self._network.dns or given.dns
        self._store.begin()
        if not self._store.stands(*self._owner, self._call.started):
            raise overtaken(self._call)
        for one in self._addresses:
            self._store.hold(self._network.name, one, "", self._owner)
        self._claim()
        self._store.commit()
        if self._addresses:
            prepare_for(self._store, self._kernel, self._known, self._bridge, self._addresses)

    def _all_routes(self) -> list[PodRoute]:
        return self._network.routes_with(self._addresses, self._routes)

    # ---- the end

    def stand(self, host: Link) -> None:
        """Sees to it that no DEL came, and with that says that the virtual IPs are served."""
        if self._endpoint is None:
            stands = self._store.stands(*self._owner, self._call.started)
        else:
            stands = self._endpoint.record(self._store)
            self._endpoint.leave_word(self._kernel, host, self._network.name)
        if not stands:
            raise overtaken(self._call)

    def result(self, host: Link) -> Result:
        """What was made."""
        interfaces = [
            Interface(self._bridge.name, self._bridge.address, "", self._bridge.mtu),
            Interface(host.name, host.address, "", host.mtu),
            Interface(self._call.ifname, self._mac, self._call.netns, host.mtu),
        ]
        ips = [(one, len(interfaces) - 1) for one in self._addresses]
        holder = gateway_holder(self._kernel, self._network, self._bridge)
        if holder is not self._bridge:
            interfaces.append(Interface(holder.name, holder.address, "", holder.mtu))
        return Result(interfaces, ips, self._all_routes(), self._dns)

    def undo(self, conf: dict[str, object]) -> bool:
        """Takes back what this ADD recorded and made, as far as it goes; whether a DEL had taken it away."""
        signal(SIGTERM, SIG_IGN)
        if not self._store.recorded:
            self._store.close()
            return False
        deleted = False
        try:
            # Delegates and nftables are the node's affair, and the pod's namespace may have been entered.
            enter(self._own_netns)
            self._store.rollback()
            deleted = self._recorded and (not self._stands() or self._kernel.lost())
            if self._endpoint is not None:
                self._endpoint.undo(self._store, self._kernel)
            if self._delegated:
                self._give_back(conf)
            self._kernel.delete_made()
            from cni.delete import remove_elements

            self._store.withdraw(*self._owner, self._call.started, remove_elements)
        except (CniError, OSError):
            # The error that led here is the one to answer with.
            return deleted
        return deleted

    def _stands(self) -> bool:
        """Whether the record is there, as far as the state file can be asked: it may have been set aside."""
        try:
            return self._store.stands(*self._owner, self._call.started)
        except (CniError, OSError):
            return True

    def _give_back(self, conf: dict[str, object]) -> None:
        """Before the links go: `dhcp` sends its release through the pod's. If that fails, DEL asks again."""
        from cni.delegate import delete as give_back

        try:
            if not self._stands() and self._store.ipam(*self._owner):
                return  # of a later ADD, which the delegate can't tell from this one
            give_back(self._network.ipam, self._call, conf)
        except (CniError, OSError):
            return
