"""The calls of `api.GoBgpService` that the speaker makes, typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protos.calls import Calls
from protos.gobgp_v4 import gobgp_pb2 as api

if TYPE_CHECKING:
    from grpc.aio import Channel

SERVICE = "api.GoBgpService"


class GobgpStub:
    """One attribute for each call, named like the call."""

    def __init__(self, channel: Channel) -> None:
        calls = Calls(channel, SERVICE)
        self.get_bgp = calls.unary("GetBgp", api.GetBgpRequest, api.GetBgpResponse)
        self.start_bgp = calls.unary("StartBgp", api.StartBgpRequest, api.Done)

        self.add_peer = calls.unary("AddPeer", api.AddPeerRequest, api.Done)
        self.update_peer = calls.unary("UpdatePeer", api.UpdatePeerRequest, api.Done)
        self.delete_peer = calls.unary("DeletePeer", api.DeletePeerRequest, api.Done)
        self.list_peer = calls.listing("ListPeer", api.ListPeerRequest, api.ListPeerResponse)
        self.reset_peer = calls.unary("ResetPeer", api.ResetPeerRequest, api.Done)
        self.add_peer_group = calls.unary("AddPeerGroup", api.AddPeerGroupRequest, api.Done)
        self.delete_peer_group = calls.unary("DeletePeerGroup", api.DeletePeerGroupRequest, api.Done)
        self.list_peer_group = calls.listing(
            "ListPeerGroup", api.ListPeerGroupRequest, api.ListPeerGroupResponse
        )
        self.add_dynamic_neighbor = calls.unary("AddDynamicNeighbor", api.AddDynamicNeighborRequest, api.Done)
        self.delete_dynamic_neighbor = calls.unary(
            "DeleteDynamicNeighbor", api.DeleteDynamicNeighborRequest, api.Done
        )
        self.list_dynamic_neighbor = calls.listing(
            "ListDynamicNeighbor", api.ListDynamicNeighborRequest, api.ListDynamicNeighborResponse
        )

        self.add_path_stream = calls.sending("AddPathStream", api.AddPathStreamRequest, api.Done)
        self.list_path = calls.listing("ListPath", api.ListPathRequest, api.ListPathResponse)

        self.add_defined_set = calls.unary("AddDefinedSet", api.AddDefinedSetRequest, api.Done)
        self.delete_defined_set = calls.unary("DeleteDefinedSet", api.DeleteDefinedSetRequest, api.Done)
        self.list_defined_set = calls.listing(
            "ListDefinedSet", api.ListDefinedSetRequest, api.ListDefinedSetResponse
        )
        self.add_policy = calls.unary("AddPolicy", api.AddPolicyRequest, api.Done)
        self.delete_policy = calls.unary("DeletePolicy", api.DeletePolicyRequest, api.Done)
        self.list_policy = calls.listing("ListPolicy", api.ListPolicyRequest, api.ListPolicyResponse)
        self.set_policy_assignment = calls.unary(
            "SetPolicyAssignment", api.SetPolicyAssignmentRequest, api.Done
        )
        self.list_policy_assignment = calls.listing(
            "ListPolicyAssignment", api.ListPolicyAssignmentRequest, api.ListPolicyAssignmentResponse
        )

        self.watch_event = calls.listing("WatchEvent", api.WatchEventRequest, api.WatchEventResponse)
