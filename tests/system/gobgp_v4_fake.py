"""What a fake gobgpd 4 knows and how it answers: taken from GoBGP 4.8's server.go and default.go.

No BGP is spoken: sessions and learned paths come by calls of a test.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface, ip_network

import grpc

from protos.gobgp_v4 import attribute_pb2 as attribute
from protos.gobgp_v4 import gobgp_pb2 as api

INVALID = "invalid IP"  # what Go's netip prints for no address
ESTABLISHED = api.PeerState.SESSION_STATE_ESTABLISHED
ACTIVE = api.PeerState.SESSION_STATE_ACTIVE


class RefusalError(Exception):
    """An answer that is an error; almost all have no code of their own."""

    def __init__(self, text: str, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN) -> None:
        super().__init__(text)
        self.code = code


class PanicError(Exception):
    """Here the real daemon's process ends."""


def invalid(text: str) -> RefusalError:
    return RefusalError(text, grpc.StatusCode.INVALID_ARGUMENT)


def told(prefix: str, neighbour: str, *hops: str, identifier: int = 0) -> api.Path:
    """A path as the daemon has it from a peer."""
    network = ip_network(prefix)
    afi = api.Family.AFI_IP6 if network.version == 6 else api.Family.AFI_IP
    where = attribute.IPAddressPrefix(prefix=str(network.network_address), prefix_len=network.prefixlen)
    return api.Path(
        nlri=attribute.NLRI(prefix=where),
        family=api.Family(afi=afi, safi=api.Family.SAFI_UNICAST),
        pattrs=[
            attribute.Attribute(origin=attribute.OriginAttribute(origin=2)),
            attribute.Attribute(mp_reach=attribute.MpReachNLRIAttribute(next_hops=hops)),
        ],
        neighbor_ip=neighbour,
        source_asn=65100,
        identifier=identifier,
    )


@dataclass
class Tables:
    """Everything that a start or the end of the process loses. Paths by prefix, neighbour and identifier."""

    paths: dict[tuple[str, str, int], api.Path] = field(default_factory=dict)
    sets: dict[tuple[int, str], api.DefinedSet] = field(default_factory=dict)
    policies: dict[str, api.Policy] = field(default_factory=dict)
    assignments: dict[int, api.PolicyAssignment] = field(default_factory=dict)


class FakeDaemon:
    """The state of one daemon, and one method for each of its calls that changes it."""

    def __init__(self) -> None:
        self.own = api.Global(router_id=INVALID)
        self.tables = Tables()
        self.peers: dict[str, api.Peer] = {}
        self.groups: dict[str, api.PeerGroup] = {}
        self.dynamic: list[api.DynamicNeighbor] = []
        self.links: dict[str, str] = {}  # the kernel's link-local neighbour of each interface
        self.starts = 0
        self.resets: list[api.ResetPeerRequest] = []

    def active(self) -> None:
        if not self.own.asn:
            raise RefusalError("bgp server hasn't started yet")

    def start(self, wanted: api.Global) -> None:
        """A second start is no error where no port is listened on, and wipes everything but the peers."""
        if self.own.asn and wanted.listen_port > 0:
            raise RefusalError(f"listen tcp4 0.0.0.0:{wanted.listen_port}: bind: address already in use")
        try:
            ip_address(wanted.router_id)
        except ValueError:
            raise RefusalError(f"invalid router-id format: {wanted.router_id}") from None
        self.own = wanted
        self.own.listen_addresses[:] = wanted.listen_addresses or ["0.0.0.0", "::"]
        self.own.listen_port = wanted.listen_port or 179
        self.tables = Tables()
        self.starts += 1

    # ---- peers

    def add_peer(self, wanted: api.Peer) -> None:
        self.active()
        conf = wanted.conf
        if conf.neighbor_interface:
            if conf.neighbor_interface not in self.links:
                raise RefusalError("no ipv6 link-local neighbor found")
            wanted.state.neighbor_address = f"{self.links[conf.neighbor_interface]}%{conf.neighbor_interface}"
            conf.neighbor_address = INVALID
        else:
            try:
                wanted.state.neighbor_address = str(ip_address(conf.neighbor_address))
            except ValueError:
                raise RefusalError("no neighbor address/interface specified") from None
        if wanted.state.neighbor_address in self.peers:
            raise RefusalError(f"can't overwrite the existing peer: {wanted.state.neighbor_address}")
        if wanted.ebgp_multihop.enabled and wanted.ttl_security.enabled:
            raise RefusalError("ebgp-multihop and ttl-security are mututally exclusive")
        self.peers[wanted.state.neighbor_address] = self._completed(wanted)

    def _completed(self, peer: api.Peer) -> api.Peer:
        """What the daemon puts where nothing was said."""
        six = ":" in peer.state.neighbor_address
        peer.conf.local_asn = peer.conf.local_asn or self.own.asn
        peer.transport.local_address = peer.transport.local_address or ("::" if six else "0.0.0.0")
        peer.state.router_id = INVALID
        peer.state.session_state = ACTIVE
        peer.state.admin_state = api.PeerState.ADMIN_STATE_UP
        reflector = peer.route_reflector
        if not reflector.route_reflector_client:
            reflector.route_reflector_cluster_id = INVALID
        elif not reflector.route_reflector_cluster_id:
            reflector.route_reflector_cluster_id = self.own.router_id
        if not peer.afi_safis:
            afi = api.Family.AFI_IP6 if six else api.Family.AFI_IP
            peer.afi_safis.add().config.family.CopyFrom(api.Family(afi=afi, safi=api.Family.SAFI_UNICAST))
        return peer

    def update_peer(self, wanted: api.Peer) -> None:
        """A session whose options change is made anew."""
        self.active()
        address = wanted.conf.neighbor_address
        if address not in self.peers:
            raise RefusalError(f"neighbor that has {address} doesn't exist")
        self.delete_peer(address)
        self.add_peer(wanted)

    def delete_peer(self, address: str) -> None:
        self.active()
        if not address:
            raise PanicError("netip.MustParseAddr")
        if self.peers.pop(address, None) is None:
            raise RefusalError(f"can't delete a peer configuration for {address}")
        self.forget(address)

    def reset(self, request: api.ResetPeerRequest) -> None:
        self.active()
        if request.direction == api.ResetPeerRequest.DIRECTION_UNSPECIFIED:
            raise invalid("unknown direction")
        self.resets.append(request)

    # ---- dynamic peers

    def add_group(self, wanted: api.PeerGroup) -> None:
        self.active()
        name = wanted.conf.peer_group_name
        if name in self.groups:
            raise RefusalError(f"can't overwrite the existing peer-group: {name}")
        wanted.transport.local_address = wanted.transport.local_address or INVALID
        reflector = wanted.route_reflector
        reflector.route_reflector_cluster_id = reflector.route_reflector_cluster_id or INVALID
        self.groups[name] = wanted

    def delete_group(self, name: str) -> None:
        self.active()
        for address, peer in self.peers.items():
            if peer.conf.peer_group == name:
                raise RefusalError(f"failed to delete peer-group {name}: neighbor {address} is in use")
        if self.groups.pop(name, None) is None:
            raise RefusalError(f"can't delete a peer-group {name} which does not exist")

    def add_dynamic(self, wanted: api.DynamicNeighbor) -> None:
        self.active()
        if wanted.peer_group not in self.groups:
            raise PanicError("nil peerGroup")
        self.dynamic.append(wanted)

    def delete_dynamic(self, prefix: str, group: str) -> None:
        self.active()
        if group not in self.groups:
            raise PanicError("nil peerGroup")
        self.dynamic = [one for one in self.dynamic if (one.prefix, one.peer_group) != (prefix, group)]

    # ---- paths

    def apply(self, request: api.AddPathStreamRequest) -> list[api.Path]:
        """One message of AddPathStream, all of it or nothing; gives the paths as events tell them."""
        if request.table_type != api.TABLE_TYPE_GLOBAL:
            raise RefusalError(f"unsupported resource: {api.TableType.Name(request.table_type)}")
        checked = [self._checked(path) for path in request.paths]
        self.active()
        for key, path in checked:
            if path.is_withdraw:
                self.tables.paths.pop(key, None)
            else:
                self.tables.paths[key] = path
        return [path for _, path in checked]

    def _checked(self, path: api.Path) -> tuple[tuple[str, str, int], api.Path]:
        if not path.HasField("family"):
            raise RefusalError("family cannot be nil")
        told = path.nlri.prefix
        try:
            prefix = str(ip_interface(f"{told.prefix}/{told.prefix_len}").network)
        except ValueError:
            raise RefusalError(f'netip.ParsePrefix("{told.prefix}/{told.prefix_len}")') from None
        kinds = [item.WhichOneof("attr") for item in path.pattrs]
        if len(kinds) != len(set(kinds)):
            raise RefusalError("duplicated path attribute type")
        if not path.is_withdraw and not {"next_hop", "mp_reach"} & set(kinds):
            raise RefusalError("nexthop not found")
        if not path.is_withdraw and "origin" not in kinds:
            raise RefusalError("no origin path attr")
        path.source_asn = self.own.asn
        return (prefix, "", path.identifier), path

    def destinations(self, request: api.ListPathRequest) -> list[api.Destination]:
        """Without host bits and with the exact prefixes only; the best path is not searched for."""
        if request.table_type != api.TABLE_TYPE_GLOBAL:
            raise RefusalError("unspecified table type")
        self.active()
        version = 6 if request.family.afi == api.Family.AFI_IP6 else 4
        wanted = {one.prefix for one in request.prefixes}
        found: dict[str, api.Destination] = {}
        for (prefix, _, _), path in self.tables.paths.items():
            if ip_network(prefix).version == version and (not wanted or prefix in wanted):
                found.setdefault(prefix, api.Destination(prefix=prefix)).paths.append(path)
        return list(found.values())

    # ---- what a test makes happen

    def establish(self, address: str, up: bool = True) -> api.Peer:
        """The session with a peer comes up or goes down, with what was learned by it."""
        peer = self.peers[address]
        peer.state.session_state = ESTABLISHED if up else ACTIVE
        peer.state.router_id = "192.0.2.99" if up else INVALID
        peer.timers.state.uptime.seconds = 1_000_000_000 if up else 0
        del peer.state.remote_cap[:]
        if up:
            peer.state.remote_cap.add().graceful_restart.SetInParent()
        for entry in peer.afi_safis:
            entry.mp_graceful_restart.state.end_of_rib_received = up
        if not up:
            self.forget(address)
        return peer

    def member(self, address: str, group: str) -> api.Peer:
        """A dynamic neighbour calls."""
        peer = api.Peer(conf=api.PeerConf(peer_asn=65100, neighbor_address=address, peer_group=group))
        peer.state.neighbor_address = address
        self.peers[address] = self._completed(peer)
        return self.establish(address)

    def learn(self, path: api.Path) -> None:
        told = path.nlri.prefix
        self.tables.paths[f"{told.prefix}/{told.prefix_len}", path.neighbor_ip, path.identifier] = path

    def forget(self, address: str) -> list[api.Path]:
        """All that was learned from a neighbour goes."""
        gone = [key for key in self.tables.paths if key[1] == address]
        return [self.tables.paths.pop(key) for key in gone]
