"""An endpoint and its rows: which address leads to a virtual IP, which number it gets, who may have what."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest

from cni import anycast
from cni.allocation import Allocation
from cni.anycast import Endpoint, take_out, virtual_ips
from cni.book import Book
from cni.errors import ADDRESS_CONFLICT, VIP_REFUSED, CniError
from cni.ipam import choose
from cni.netlink import NetlinkError, attributes
from cni.network import Network, PodAddress, Range, packed
from cni.nexthop import FIRST_ID, LAST_ID
from cni.reader import StateReader
from cni.request import Request
from cni.spec import Call
from cni.statefile import now
from cni.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cni.allocation import Vip

VIP, OTHER, VIP6 = "198.51.100.10", "198.51.100.11", "2001:db8::10"
POOLS: dict[str, Any] = {"pools": [["edge", ["198.51.100.0/24"], []]], "vips": [], "check": "", "weight": 1}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(str(tmp_path))
    yield made
    made.close()


def call(container: str = "c1", started: int = 0) -> Call:
    made = Call("ADD", container, "/run/netns/x", "eth0")
    made.started = started or now()
    return made


def endpoint(*vips: str, of: Call | None = None) -> Endpoint:
    return Endpoint(of or call(), "anypod.dev/anycast", {packed(vip): "edge" for vip in vips})


def address(text: str) -> PodAddress:
    ip, _, length = text.partition("/")
    return PodAddress(packed(ip), int(length), b"")


def attach(store: Store, of: Call, *vips: str) -> None:
    record = Allocation("pods", of.container, of.ifname, of.netns, "", ())
    record.detail = {"vips": list(vips)} if vips else {}
    store.begin()
    store.attach(record, of.started)
    store.commit()


def serve(store: Store, container: str, *vips: str, via: str = "10.1.0.5/24") -> tuple[Vip, ...]:
    """Records an attachment that serves; its rows."""
    of = call(container)
    attach(store, of, *vips)
    made = endpoint(*vips, of=of)
    made.route([address(via)])
    assert made.record(store)
    return next(one.vips for one in StateReader(store.state_dir).allocations() if one.container == container)


@pytest.mark.parametrize(
    ("held", "ways"),
    [
        (["10.1.0.5/24"], {VIP: "10.1.0.5"}),
        (["10.1.0.5/24", "10.2.0.5/24", "fd00::5/64"], {VIP: "10.1.0.5", VIP6: "fd00::5"}),
        (["fd00::5/64", "10.1.0.5/24"], {VIP: "10.1.0.5", VIP6: "fd00::5"}),
        (["fd00::5/64"], {VIP: "fd00::5", VIP6: "fd00::5"}),
    ],
)
def test_the_first_address_of_the_family_leads_to_a_vip_or_one_of_ipv6(
    store: Store, held: list[str], ways: dict[str, str]
) -> None:
    of = call()
    attach(store, of, *ways)
    made = endpoint(*ways, of=of)
    made.route([address(one) for one in held])
    assert made.record(store)
    (found,) = StateReader(store.state_dir).allocations()
    assert {one.ip: one.via for one in found.vips} == ways
    numbers = {one.via: one.nexthop for one in found.vips}
    assert len(set(numbers.values())) == len(numbers)
    assert all(FIRST_ID <= number <= LAST_ID for number in numbers.values())


@pytest.mark.parametrize(
    ("vip", "held", "code", "says"),
    [
        (VIP6, ["10.1.0.5/24"], VIP_REFUSED, "needs a pod with an IPv6 address"),
        (VIP, [], VIP_REFUSED, "needs a pod with an IPv6 address"),
        (VIP, ["198.51.100.200/24"], ADDRESS_CONFLICT, r"is in 198\.51\.100\.0/24, the pod's own subnet"),
        (VIP, [f"{VIP}/32"], ADDRESS_CONFLICT, "the pod's own subnet"),
        (VIP, ["fd00::5/64", "198.51.100.8/29"], ADDRESS_CONFLICT, "the pod's own subnet"),
    ],
)
def test_a_pod_that_can_t_be_an_endpoint_is_told_why(vip: str, held: list[str], code: int, says: str) -> None:
    with pytest.raises(CniError, match=says) as caught:
        endpoint(vip).route([address(one) for one in held])
    assert caught.value.code == code


def test_a_number_that_is_taken_is_passed_over_also_at_the_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    span = LAST_ID - FIRST_ID
    monkeypatch.setattr(anycast, "now", lambda: span * 10**6)
    numbers = [
        serve(store, name, VIP, via=f"10.1.0.{place}/24")[0].nexthop for place, name in enumerate("abc")
    ]
    assert numbers == [LAST_ID, FIRST_ID, FIRST_ID + 1]


def test_an_attachment_that_a_del_took_away_serves_nothing(store: Store) -> None:
    of = call()
    attach(store, of, VIP)
    store.release("c1", "eth0", list)
    made = endpoint(VIP, of=of)
    made.route([address("10.1.0.5/24")])
    assert not made.record(store)
    assert store.execute("SELECT count(*) FROM vip").fetchone() == (0,)


def test_del_tells_what_was_served_and_what_was_granted_and_not_yet_served(store: Store) -> None:
    (one,) = serve(store, "c1", VIP)
    attach(store, call("c2"), VIP, OTHER)
    told: list[object] = []
    assert store.release("c1", "eth0", list, told.append) == [(packed(VIP), one.nexthop)]
    assert store.release("c2", "eth0", list, told.append) == [(packed(VIP), 0), (packed(OTHER), 0)]
    assert len(told) == 2
    attach(store, call("c3"))
    assert store.release("c3", "eth0", list, told.append) == []
    assert len(told) == 2


def test_what_other_attachments_of_a_container_were_granted_stays_on_lo(store: Store) -> None:
    first = call("c1")
    attach(store, first, VIP, OTHER)
    second = Call("ADD", "c1", "/run/netns/x", "net1")
    second.started = first.started + 1
    attach(store, second, VIP)
    assert store.granted("c1", first.started) == {packed(VIP)}
    assert store.granted("c1", second.started) == {packed(VIP), packed(OTHER)}
    assert store.granted("c2", 0) == set()


def test_a_pod_s_address_is_no_vip_and_a_vip_no_pod_s_address(store: Store) -> None:
    serve(store, "c1", VIP)
    store.begin()
    with pytest.raises(CniError, match=f"{VIP} is held by c1/eth0 already") as caught:
        store.hold("pods", address(f"{VIP}/24"), "p", ("c2", "eth0"))
    assert caught.value.code == ADDRESS_CONFLICT
    store.hold("others", address(f"{OTHER}/24"), "p", ("c2", "eth0"))
    # An address of a chained pod is known as a way alone.
    for taken, holder in ((OTHER, "c2/eth0"), ("10.1.0.5", "c1/eth0")):
        with pytest.raises(CniError, match=f"{taken} is the address of {holder}") as caught:
            endpoint(VIP, taken).refuse_taken(store)
        assert caught.value.code == ADDRESS_CONFLICT
    endpoint(VIP).refuse_taken(store)
    store.commit()


def test_the_allocator_goes_past_vips(store: Store) -> None:
    """Of addresses that were never given out, and of those that were released."""
    small = Range(4, 0xC6336408, 29, 0xC6336409, 0xC633640C, 0xC6336409)
    serve(store, "c1", VIP)
    found = []
    store.begin()
    for number in range(2):
        chosen = choose(Book(store, "pods"), [small], now())
        assert chosen is not None
        found.append(chosen[1])
        store.hold("pods", PodAddress(chosen[1], 29, b""), small.pool, (f"p{number}", "eth0"))
    assert choose(Book(store, "pods"), [small], now()) is None
    store.commit()
    assert found == [packed(OTHER), packed("198.51.100.12")]
    attach(store, call("p0"))
    store.release("p0", "eth0", list)
    serve(store, "c2", OTHER, via="10.1.0.6/24")
    store.begin()
    assert choose(Book(store, "pods"), [small], now()) is None
    moved = Range(4, 0xC6336408, 29, 0xC633640A, 0xC633640C, 0xC6336409)
    assert choose(Book(store, "pods"), [moved], now()) is None
    store.commit()


def test_a_gateway_is_no_vip_of_a_pod(store: Store) -> None:
    serve(store, "c1", VIP)
    store.refuse_served([packed(OTHER)])
    with pytest.raises(CniError, match=f"gateway {VIP} is a virtual IP of c1/eth0") as caught:
        store.refuse_served([packed(OTHER), packed(VIP)])
    assert caught.value.code == ADDRESS_CONFLICT


class FakeSocket:
    """A fake of the kernel: the next-hop objects it is asked to remove, and what it says of each."""

    def __init__(self, *verdicts: int) -> None:
        self.removed: list[int] = []
        self._verdicts = verdicts

    def request_each(self, messages: list[bytes]) -> list[NetlinkError | None]:
        self.removed = [struct.unpack("=I", attributes(one, 24)[1])[0] for one in messages]
        return [NetlinkError(code, "no") if code else None for code in self._verdicts]


class FakeKernel:
    """A fake of `Kernel` with such a socket."""

    def __init__(self, *verdicts: int) -> None:
        self.socket = FakeSocket(*verdicts)


def test_next_hops_go_once_each_and_those_that_no_speaker_made_are_not_missed() -> None:
    kernel = FakeKernel(0, 2, 95)
    served = [(b"", 7), (b"", 7), (b"", 0), (b"", 8), (b"", 9)]
    take_out(kernel, served)  # type: ignore[arg-type]
    assert kernel.socket.removed == [7, 8, 9]
    with pytest.raises(CniError, match="removal of next hops"):
        take_out(FakeKernel(1), [(b"", 7)])  # type: ignore[arg-type]
    take_out(None, [(b"", 0)])  # type: ignore[arg-type]


def test_a_network_without_pools_says_what_to_set() -> None:
    request = Request()
    request.vips, request.vips_key = [packed(VIP)], "anypod.dev/anycast"
    with pytest.raises(
        CniError, match=f"{VIP} is asked for, and network pods has no pools .* set anycast.pools"
    ):
        virtual_ips(call(), Network("pods"), request, None)  # type: ignore[arg-type]
    request.vips = [packed("192.0.2.1")]
    with pytest.raises(CniError, match="in none of the network's pools") as caught:
        virtual_ips(call(), Network("pods", anycast=POOLS), request, None)  # type: ignore[arg-type]
    assert caught.value.code == VIP_REFUSED
