"""The calls of `apipb.GobgpApi` that the speaker makes, typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from protos.calls import Calls
from protos.gobgp_v3 import gobgp_pb2 as api

if TYPE_CHECKING:
    from grpc.aio import Channel

SERVICE = "apipb.GobgpApi"


class GobgpStub:
    """One attribute for each call, named like the call."""

    def __init__(self, channel: Channel) -> None:
        calls = Calls(channel, SERVICE)
        unary, listing = calls.unary, calls.listing

        self.get_bgp = unary("GetBgp", api.GetBgpRequest, api.GetBgpResponse)
        self.start_bgp = unary("StartBgp", api.StartBgpRequest, Empty)

        self.list_peer = listing("ListPeer", api.ListPeerRequest, api.ListPeerResponse)
        self.add_peer = unary("AddPeer", api.AddPeerRequest, Empty)
        self.update_peer = unary("UpdatePeer", api.UpdatePeerRequest, api.UpdatePeerResponse)
        self.delete_peer = unary("DeletePeer", api.DeletePeerRequest, Empty)
        self.reset_peer = unary("ResetPeer", api.ResetPeerRequest, Empty)

        self.list_peer_group = listing("ListPeerGroup", api.ListPeerGroupRequest, api.ListPeerGroupResponse)
        self.add_peer_group = unary("AddPeerGroup", api.AddPeerGroupRequest, Empty)
        self.delete_peer_group = unary("DeletePeerGroup", api.DeletePeerGroupRequest, Empty)
        self.list_dynamic_neighbor = listing(
            "ListDynamicNeighbor", api.ListDynamicNeighborRequest, api.ListDynamicNeighborResponse
        )
        self.add_dynamic_neighbor = unary("AddDynamicNeighbor", api.AddDynamicNeighborRequest, Empty)
        self.delete_dynamic_neighbor = unary("DeleteDynamicNeighbor", api.DeleteDynamicNeighborRequest, Empty)

        self.list_path = listing("ListPath", api.ListPathRequest, api.ListPathResponse)
        self.add_path_stream = calls.sending("AddPathStream", api.AddPathStreamRequest, Empty)

        self.list_defined_set = listing(
            "ListDefinedSet", api.ListDefinedSetRequest, api.ListDefinedSetResponse
        )
        self.add_defined_set = unary("AddDefinedSet", api.AddDefinedSetRequest, Empty)
        self.delete_defined_set = unary("DeleteDefinedSet", api.DeleteDefinedSetRequest, Empty)
        self.list_policy = listing("ListPolicy", api.ListPolicyRequest, api.ListPolicyResponse)
        self.add_policy = unary("AddPolicy", api.AddPolicyRequest, Empty)
        self.delete_policy = unary("DeletePolicy", api.DeletePolicyRequest, Empty)
        self.list_policy_assignment = listing(
            "ListPolicyAssignment", api.ListPolicyAssignmentRequest, api.ListPolicyAssignmentResponse
        )
        self.set_policy_assignment = unary("SetPolicyAssignment", api.SetPolicyAssignmentRequest, Empty)

        self.watch_event = listing("WatchEvent", api.WatchEventRequest, api.WatchEventResponse)
