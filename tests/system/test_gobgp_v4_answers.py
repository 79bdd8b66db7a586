"""Calls that no adapter should make: the fake of version 4 answers them as a real gobgpd 4 does, if there is one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest

from protos.gobgp_v4 import gobgp_pb2 as api
from protos.gobgp_v4.stub import GobgpStub
from speaker.gobgp.v4_paths import path_to_api
from speaker.gobgp.v4_peers import global_to_api, group_to_api, peer_to_api
from tests.system.gobgp_daemons import GROUP, OWN, PATHS, PEER, Daemon

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
    from pathlib import Path

    Call = Callable[[GobgpStub], Awaitable[object]]

UNKNOWN, INVALID = grpc.StatusCode.UNKNOWN, grpc.StatusCode.INVALID_ARGUMENT
KINDS = ["fake-gobgpd-4", "gobgpd-4"]
START = api.StartBgpRequest(**{"global": global_to_api(OWN)})


@pytest.fixture(params=KINDS)
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(request.param, tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.close()


async def listed(answers: AsyncIterable[object]) -> list[object]:
    return [answer async for answer in answers]


def changed(**fields: object) -> api.Path:
    """A good path but for these fields; None: without it."""
    made = path_to_api(PATHS[0])
    for name in fields:
        made.ClearField(name)
    made.MergeFrom(api.Path(**{name: value for name, value in fields.items() if value is not None}))  # type: ignore[arg-type]
    return made


def add(*paths: api.Path, kind: api.TableType = api.TABLE_TYPE_GLOBAL) -> Call:
    return lambda stub: stub.add_path_stream(
        [api.AddPathStreamRequest(table_type=kind, paths=paths)], timeout=5
    )


def policy(conditions: api.Conditions, actions: api.Actions | None = None) -> Call:
    statement = api.Statement(name="s", conditions=conditions, actions=actions)
    request = api.AddPolicyRequest(policy=api.Policy(name="p", statements=[statement]))
    return lambda stub: stub.add_policy(request, timeout=5)


def named(name: str, kind: api.DefinedType = api.DEFINED_TYPE_NEIGHBOR) -> api.DefinedSet:
    return api.DefinedSet(name=name, defined_type=kind)


FAMILIES = [api.Prefix(ip_prefix="10.0.0.0/8"), api.Prefix(ip_prefix="fd00::/8")]
REFUSED: dict[str, tuple[Call, grpc.StatusCode, str]] = {
    "a table of no type": (add(changed(), kind=api.TABLE_TYPE_UNSPECIFIED), UNKNOWN, "unsupported resource"),
    "a path without a family": (add(changed(family=None)), UNKNOWN, "family cannot be nil"),
    "a path without a next hop": (
        add(changed(pattrs=path_to_api(PATHS[0]).pattrs[:1])),
        UNKNOWN,
        "nexthop not found",
    ),
    "a path without an origin": (
        add(changed(pattrs=path_to_api(PATHS[0]).pattrs[1:])),
        UNKNOWN,
        "no origin path attr",
    ),
    "a path told twice": (
        add(changed(pattrs=[*path_to_api(PATHS[0]).pattrs] * 2)),
        UNKNOWN,
        "duplicated path attr",
    ),
    "a listing of no table": (
        lambda stub: listed(stub.list_path(api.ListPathRequest(), timeout=5)),
        UNKNOWN,
        "unspecified table type",
    ),
    "a peer without an address": (
        lambda stub: stub.add_peer(
            api.AddPeerRequest(peer=api.Peer(conf=api.PeerConf(peer_asn=1))), timeout=5
        ),
        UNKNOWN,
        "no neighbor address/interface specified",
    ),
    "a peer that is there": (
        lambda stub: stub.add_peer(api.AddPeerRequest(peer=peer_to_api(PEER, False)), timeout=5),
        UNKNOWN,
        "can't overwrite the existing peer",
    ),
    "a peer that is not there": (
        lambda stub: stub.delete_peer(api.DeletePeerRequest(address="192.0.2.77"), timeout=5),
        UNKNOWN,
        "can't delete a peer configuration for 192.0.2.77",
    ),
    "a change of a peer that is not there": (
        lambda stub: stub.update_peer(
            api.UpdatePeerRequest(peer=api.Peer(conf=api.PeerConf(neighbor_address="192.0.2.77"))), timeout=5
        ),
        UNKNOWN,
        "neighbor that has 192.0.2.77 doesn't exist",
    ),
    "a reset in no direction": (
        lambda stub: stub.reset_peer(api.ResetPeerRequest(address="all", soft=True), timeout=5),
        INVALID,
        "unknown direction",
    ),
    "a group that is there": (
        lambda stub: stub.add_peer_group(api.AddPeerGroupRequest(peer_group=group_to_api(GROUP)), timeout=5),
        UNKNOWN,
        "can't overwrite the existing peer-group",
    ),
    "a group that is not there": (
        lambda stub: stub.delete_peer_group(api.DeletePeerGroupRequest(name="x"), timeout=5),
        UNKNOWN,
        "can't delete a peer-group x which does not exist",
    ),
    "a set of both families": (
        lambda stub: stub.add_defined_set(
            api.AddDefinedSetRequest(
                defined_set=api.DefinedSet(name="x", defined_type=api.DEFINED_TYPE_PREFIX, prefixes=FAMILIES)
            ),
            timeout=5,
        ),
        UNKNOWN,
        "multiple families",
    ),
    "a set of no type": (
        lambda stub: stub.add_defined_set(
            api.AddDefinedSetRequest(defined_set=named("x", api.DEFINED_TYPE_UNSPECIFIED)), timeout=5
        ),
        INVALID,
        "unknown defined set type",
    ),
    "a set that is not there": (
        lambda stub: stub.delete_defined_set(
            api.DeleteDefinedSetRequest(defined_set=named("x"), all=True), timeout=5
        ),
        UNKNOWN,
        "not found defined-set: x",
    ),
    "a condition on a set that is not there": (
        policy(api.Conditions(neighbor_set=api.MatchSet(type=api.MatchSet.TYPE_ANY, name="x"))),
        UNKNOWN,
        "not found neighbor set x",
    ),
    "a condition of no type": (
        policy(api.Conditions(prefix_set=api.MatchSet(name="x"))),
        INVALID,
        "invalid match",
    ),
    "an action of no type": (
        policy(api.Conditions(), api.Actions(community=api.CommunityAction(communities=["1:1"]))),
        INVALID,
        "unspecified community action type",
    ),
    "a policy that is not there": (
        lambda stub: stub.delete_policy(
            api.DeletePolicyRequest(policy=api.Policy(name="x"), all=True), timeout=5
        ),
        UNKNOWN,
        "not found policy: x",
    ),
    "an assignment of a policy that is not there": (
        lambda stub: stub.set_policy_assignment(
            api.SetPolicyAssignmentRequest(
                assignment=api.PolicyAssignment(
                    name="global", direction=api.POLICY_DIRECTION_EXPORT, policies=[api.Policy(name="x")]
                )
            ),
            timeout=5,
        ),
        UNKNOWN,
        "not found policy x",
    ),
    "a subscription to nothing": (
        lambda stub: listed(stub.watch_event(api.WatchEventRequest(), timeout=5)),
        INVALID,
        "no events to watch",
    ),
}


def using(daemon: Daemon, work: Callable[[GobgpStub], Awaitable[None]]) -> None:
    """Does the work with a daemon that has a peer and a group."""

    async def run() -> None:
        async with grpc.aio.insecure_channel(daemon.target) as channel:
            stub = GobgpStub(channel)
            await stub.start_bgp(START, timeout=5)
            await stub.add_peer(api.AddPeerRequest(peer=peer_to_api(PEER, False)), timeout=5)
            await stub.add_peer_group(api.AddPeerGroupRequest(peer_group=group_to_api(GROUP)), timeout=5)
            await work(stub)

    asyncio.run(run())


def test_refusals_are_the_same(daemon: Daemon) -> None:
    async def work(stub: GobgpStub) -> None:
        for name, (call, code, words) in REFUSED.items():
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(stub)
            told = (caught.value.code(), caught.value.details() or "")
            assert told[0] == code, (name, told)
            assert words in told[1], (name, told)
        assert daemon.runs()

    using(daemon, work)


def test_a_second_start_wipes_the_table_without_a_word(daemon: Daemon) -> None:
    async def work(stub: GobgpStub) -> None:
        await add(changed())(stub)
        request = api.ListPathRequest(table_type=api.TABLE_TYPE_GLOBAL, family=changed().family)
        assert len(await listed(stub.list_path(request, timeout=5))) == 1
        await stub.start_bgp(START, timeout=5)
        assert await listed(stub.list_path(request, timeout=5)) == []
        assert len(await listed(stub.list_peer(api.ListPeerRequest(), timeout=5))) == 1

    using(daemon, work)


def test_one_bad_path_takes_its_message_along_and_not_those_before(daemon: Daemon) -> None:
    async def work(stub: GobgpStub) -> None:
        good, other = path_to_api(PATHS[0]), path_to_api(PATHS[1])
        messages = [[good], [other, changed(family=None)]]
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.add_path_stream(
                [api.AddPathStreamRequest(table_type=api.TABLE_TYPE_GLOBAL, paths=some) for some in messages],
                timeout=5,
            )
        request = api.ListPathRequest(table_type=api.TABLE_TYPE_GLOBAL, family=good.family)
        found = [answer.destination.prefix async for answer in stub.list_path(request, timeout=5)]
        assert found == [str(PATHS[0].prefix)]

    using(daemon, work)


@pytest.mark.parametrize(
    "call",
    [
        lambda stub: stub.delete_peer(api.DeletePeerRequest(), timeout=5),
        lambda stub: stub.add_dynamic_neighbor(
            api.AddDynamicNeighborRequest(
                dynamic_neighbor=api.DynamicNeighbor(prefix="10.0.0.0/8", peer_group="x")
            ),
            timeout=5,
        ),
        lambda stub: stub.delete_dynamic_neighbor(
            api.DeleteDynamicNeighborRequest(prefix="10.0.0.0/8", peer_group="x"), timeout=5
        ),
    ],
    ids=["a peer without an address", "a neighbour of no group", "the end of a neighbour of no group"],
)
def test_what_ends_the_process(daemon: Daemon, call: Call) -> None:
    async def work(stub: GobgpStub) -> None:
        with pytest.raises(grpc.aio.AioRpcError):
            await call(stub)

    using(daemon, work)
    daemon.member.processes["gobgpd"].wait(10)
