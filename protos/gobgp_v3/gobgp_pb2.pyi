import datetime

from google.protobuf import any_pb2 as _any_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TableType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GLOBAL: _ClassVar[TableType]

class DefinedType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PREFIX: _ClassVar[DefinedType]
    NEIGHBOR: _ClassVar[DefinedType]
    COMMUNITY: _ClassVar[DefinedType]

class RouteAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NONE: _ClassVar[RouteAction]
    ACCEPT: _ClassVar[RouteAction]
    REJECT: _ClassVar[RouteAction]

class PolicyDirection(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNKNOWN: _ClassVar[PolicyDirection]
    IMPORT: _ClassVar[PolicyDirection]
    EXPORT: _ClassVar[PolicyDirection]
GLOBAL: TableType
PREFIX: DefinedType
NEIGHBOR: DefinedType
COMMUNITY: DefinedType
NONE: RouteAction
ACCEPT: RouteAction
REJECT: RouteAction
UNKNOWN: PolicyDirection
IMPORT: PolicyDirection
EXPORT: PolicyDirection

class Global(_message.Message):
    __slots__ = ("asn", "router_id", "listen_port", "listen_addresses", "use_multiple_paths")
    ASN_FIELD_NUMBER: _ClassVar[int]
    ROUTER_ID_FIELD_NUMBER: _ClassVar[int]
    LISTEN_PORT_FIELD_NUMBER: _ClassVar[int]
    LISTEN_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    USE_MULTIPLE_PATHS_FIELD_NUMBER: _ClassVar[int]
    asn: int
    router_id: str
    listen_port: int
    listen_addresses: _containers.RepeatedScalarFieldContainer[str]
    use_multiple_paths: bool
    def __init__(self, asn: _Optional[int] = ..., router_id: _Optional[str] = ..., listen_port: _Optional[int] = ..., listen_addresses: _Optional[_Iterable[str]] = ..., use_multiple_paths: _Optional[bool] = ...) -> None: ...

class StartBgpRequest(_message.Message):
    __slots__ = ()
    GLOBAL_FIELD_NUMBER: _ClassVar[int]
    def __init__(self, **kwargs) -> None: ...

class GetBgpRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetBgpResponse(_message.Message):
    __slots__ = ()
    GLOBAL_FIELD_NUMBER: _ClassVar[int]
    def __init__(self, **kwargs) -> None: ...

class Family(_message.Message):
    __slots__ = ("afi", "safi")
    class Afi(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        AFI_UNKNOWN: _ClassVar[Family.Afi]
        AFI_IP: _ClassVar[Family.Afi]
        AFI_IP6: _ClassVar[Family.Afi]
    AFI_UNKNOWN: Family.Afi
    AFI_IP: Family.Afi
    AFI_IP6: Family.Afi
    class Safi(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SAFI_UNKNOWN: _ClassVar[Family.Safi]
        SAFI_UNICAST: _ClassVar[Family.Safi]
    SAFI_UNKNOWN: Family.Safi
    SAFI_UNICAST: Family.Safi
    AFI_FIELD_NUMBER: _ClassVar[int]
    SAFI_FIELD_NUMBER: _ClassVar[int]
    afi: Family.Afi
    safi: Family.Safi
    def __init__(self, afi: _Optional[_Union[Family.Afi, str]] = ..., safi: _Optional[_Union[Family.Safi, str]] = ...) -> None: ...

class PeerConf(_message.Message):
    __slots__ = ("auth_password", "description", "local_asn", "neighbor_address", "peer_asn", "peer_group", "neighbor_interface")
    AUTH_PASSWORD_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    LOCAL_ASN_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOR_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PEER_ASN_FIELD_NUMBER: _ClassVar[int]
    PEER_GROUP_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOR_INTERFACE_FIELD_NUMBER: _ClassVar[int]
    auth_password: str
    description: str
    local_asn: int
    neighbor_address: str
    peer_asn: int
    peer_group: str
    neighbor_interface: str
    def __init__(self, auth_password: _Optional[str] = ..., description: _Optional[str] = ..., local_asn: _Optional[int] = ..., neighbor_address: _Optional[str] = ..., peer_asn: _Optional[int] = ..., peer_group: _Optional[str] = ..., neighbor_interface: _Optional[str] = ...) -> None: ...

class EbgpMultihop(_message.Message):
    __slots__ = ("enabled", "multihop_ttl")
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    MULTIHOP_TTL_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    multihop_ttl: int
    def __init__(self, enabled: _Optional[bool] = ..., multihop_ttl: _Optional[int] = ...) -> None: ...

class TtlSecurity(_message.Message):
    __slots__ = ("enabled", "ttl_min")
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    TTL_MIN_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    ttl_min: int
    def __init__(self, enabled: _Optional[bool] = ..., ttl_min: _Optional[int] = ...) -> None: ...

class RouteReflector(_message.Message):
    __slots__ = ("route_reflector_client", "route_reflector_cluster_id")
    ROUTE_REFLECTOR_CLIENT_FIELD_NUMBER: _ClassVar[int]
    ROUTE_REFLECTOR_CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    route_reflector_client: bool
    route_reflector_cluster_id: str
    def __init__(self, route_reflector_client: _Optional[bool] = ..., route_reflector_cluster_id: _Optional[str] = ...) -> None: ...

class GracefulRestart(_message.Message):
    __slots__ = ("enabled", "restart_time", "deferral_time", "local_restarting")
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    RESTART_TIME_FIELD_NUMBER: _ClassVar[int]
    DEFERRAL_TIME_FIELD_NUMBER: _ClassVar[int]
    LOCAL_RESTARTING_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    restart_time: int
    deferral_time: int
    local_restarting: bool
    def __init__(self, enabled: _Optional[bool] = ..., restart_time: _Optional[int] = ..., deferral_time: _Optional[int] = ..., local_restarting: _Optional[bool] = ...) -> None: ...

class Messages(_message.Message):
    __slots__ = ("received", "sent")
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    received: Message
    sent: Message
    def __init__(self, received: _Optional[_Union[Message, _Mapping]] = ..., sent: _Optional[_Union[Message, _Mapping]] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("notification", "open")
    NOTIFICATION_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    notification: int
    open: int
    def __init__(self, notification: _Optional[int] = ..., open: _Optional[int] = ...) -> None: ...

class PeerState(_message.Message):
    __slots__ = ("messages", "neighbor_address", "session_state", "admin_state", "remote_cap", "router_id")
    class SessionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN: _ClassVar[PeerState.SessionState]
        IDLE: _ClassVar[PeerState.SessionState]
        CONNECT: _ClassVar[PeerState.SessionState]
        ACTIVE: _ClassVar[PeerState.SessionState]
        OPENSENT: _ClassVar[PeerState.SessionState]
        OPENCONFIRM: _ClassVar[PeerState.SessionState]
        ESTABLISHED: _ClassVar[PeerState.SessionState]
    UNKNOWN: PeerState.SessionState
    IDLE: PeerState.SessionState
    CONNECT: PeerState.SessionState
    ACTIVE: PeerState.SessionState
    OPENSENT: PeerState.SessionState
    OPENCONFIRM: PeerState.SessionState
    ESTABLISHED: PeerState.SessionState
    class AdminState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UP: _ClassVar[PeerState.AdminState]
        DOWN: _ClassVar[PeerState.AdminState]
        PFX_CT: _ClassVar[PeerState.AdminState]
    UP: PeerState.AdminState
    DOWN: PeerState.AdminState
    PFX_CT: PeerState.AdminState
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOR_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SESSION_STATE_FIELD_NUMBER: _ClassVar[int]
    ADMIN_STATE_FIELD_NUMBER: _ClassVar[int]
    REMOTE_CAP_FIELD_NUMBER: _ClassVar[int]
    ROUTER_ID_FIELD_NUMBER: _ClassVar[int]
    messages: Messages
    neighbor_address: str
    session_state: PeerState.SessionState
    admin_state: PeerState.AdminState
    remote_cap: _containers.RepeatedCompositeFieldContainer[_any_pb2.Any]
    router_id: str
    def __init__(self, messages: _Optional[_Union[Messages, _Mapping]] = ..., neighbor_address: _Optional[str] = ..., session_state: _Optional[_Union[PeerState.SessionState, str]] = ..., admin_state: _Optional[_Union[PeerState.AdminState, str]] = ..., remote_cap: _Optional[_Iterable[_Union[_any_pb2.Any, _Mapping]]] = ..., router_id: _Optional[str] = ...) -> None: ...

class TimersConfig(_message.Message):
    __slots__ = ("connect_retry", "hold_time", "keepalive_interval")
    CONNECT_RETRY_FIELD_NUMBER: _ClassVar[int]
    HOLD_TIME_FIELD_NUMBER: _ClassVar[int]
    KEEPALIVE_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    connect_retry: int
    hold_time: int
    keepalive_interval: int
    def __init__(self, connect_retry: _Optional[int] = ..., hold_time: _Optional[int] = ..., keepalive_interval: _Optional[int] = ...) -> None: ...

class TimersState(_message.Message):
    __slots__ = ("uptime",)
    UPTIME_FIELD_NUMBER: _ClassVar[int]
    uptime: _timestamp_pb2.Timestamp
    def __init__(self, uptime: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Timers(_message.Message):
    __slots__ = ("config", "state")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    config: TimersConfig
    state: TimersState
    def __init__(self, config: _Optional[_Union[TimersConfig, _Mapping]] = ..., state: _Optional[_Union[TimersState, _Mapping]] = ...) -> None: ...

class Transport(_message.Message):
    __slots__ = ("local_address", "passive_mode", "remote_port")
    LOCAL_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PASSIVE_MODE_FIELD_NUMBER: _ClassVar[int]
    REMOTE_PORT_FIELD_NUMBER: _ClassVar[int]
    local_address: str
    passive_mode: bool
    remote_port: int
    def __init__(self, local_address: _Optional[str] = ..., passive_mode: _Optional[bool] = ..., remote_port: _Optional[int] = ...) -> None: ...

class AfiSafiConfig(_message.Message):
    __slots__ = ("family", "enabled")
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    family: Family
    enabled: bool
    def __init__(self, family: _Optional[_Union[Family, _Mapping]] = ..., enabled: _Optional[bool] = ...) -> None: ...

class AfiSafiState(_message.Message):
    __slots__ = ("received", "accepted", "advertised")
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    ADVERTISED_FIELD_NUMBER: _ClassVar[int]
    received: int
    accepted: int
    advertised: int
    def __init__(self, received: _Optional[int] = ..., accepted: _Optional[int] = ..., advertised: _Optional[int] = ...) -> None: ...

class MpGracefulRestartConfig(_message.Message):
    __slots__ = ("enabled",)
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    def __init__(self, enabled: _Optional[bool] = ...) -> None: ...

class MpGracefulRestartState(_message.Message):
    __slots__ = ("end_of_rib_received",)
    END_OF_RIB_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    end_of_rib_received: bool
    def __init__(self, end_of_rib_received: _Optional[bool] = ...) -> None: ...

class MpGracefulRestart(_message.Message):
    __slots__ = ("config", "state")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    config: MpGracefulRestartConfig
    state: MpGracefulRestartState
    def __init__(self, config: _Optional[_Union[MpGracefulRestartConfig, _Mapping]] = ..., state: _Optional[_Union[MpGracefulRestartState, _Mapping]] = ...) -> None: ...

class PrefixLimit(_message.Message):
    __slots__ = ("family", "max_prefixes", "shutdown_threshold_pct")
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    MAX_PREFIXES_FIELD_NUMBER: _ClassVar[int]
    SHUTDOWN_THRESHOLD_PCT_FIELD_NUMBER: _ClassVar[int]
    family: Family
    max_prefixes: int
    shutdown_threshold_pct: int
    def __init__(self, family: _Optional[_Union[Family, _Mapping]] = ..., max_prefixes: _Optional[int] = ..., shutdown_threshold_pct: _Optional[int] = ...) -> None: ...

class AfiSafi(_message.Message):
    __slots__ = ("mp_graceful_restart", "config", "state", "prefix_limits")
    MP_GRACEFUL_RESTART_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_LIMITS_FIELD_NUMBER: _ClassVar[int]
    mp_graceful_restart: MpGracefulRestart
    config: AfiSafiConfig
    state: AfiSafiState
    prefix_limits: PrefixLimit
    def __init__(self, mp_graceful_restart: _Optional[_Union[MpGracefulRestart, _Mapping]] = ..., config: _Optional[_Union[AfiSafiConfig, _Mapping]] = ..., state: _Optional[_Union[AfiSafiState, _Mapping]] = ..., prefix_limits: _Optional[_Union[PrefixLimit, _Mapping]] = ...) -> None: ...

class Peer(_message.Message):
    __slots__ = ("conf", "ebgp_multihop", "route_reflector", "state", "timers", "transport", "graceful_restart", "afi_safis", "ttl_security")
    CONF_FIELD_NUMBER: _ClassVar[int]
    EBGP_MULTIHOP_FIELD_NUMBER: _ClassVar[int]
    ROUTE_REFLECTOR_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TIMERS_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_FIELD_NUMBER: _ClassVar[int]
    GRACEFUL_RESTART_FIELD_NUMBER: _ClassVar[int]
    AFI_SAFIS_FIELD_NUMBER: _ClassVar[int]
    TTL_SECURITY_FIELD_NUMBER: _ClassVar[int]
    conf: PeerConf
    ebgp_multihop: EbgpMultihop
    route_reflector: RouteReflector
    state: PeerState
    timers: Timers
    transport: Transport
    graceful_restart: GracefulRestart
    afi_safis: _containers.RepeatedCompositeFieldContainer[AfiSafi]
    ttl_security: TtlSecurity
    def __init__(self, conf: _Optional[_Union[PeerConf, _Mapping]] = ..., ebgp_multihop: _Optional[_Union[EbgpMultihop, _Mapping]] = ..., route_reflector: _Optional[_Union[RouteReflector, _Mapping]] = ..., state: _Optional[_Union[PeerState, _Mapping]] = ..., timers: _Optional[_Union[Timers, _Mapping]] = ..., transport: _Optional[_Union[Transport, _Mapping]] = ..., graceful_restart: _Optional[_Union[GracefulRestart, _Mapping]] = ..., afi_safis: _Optional[_Iterable[_Union[AfiSafi, _Mapping]]] = ..., ttl_security: _Optional[_Union[TtlSecurity, _Mapping]] = ...) -> None: ...

class AddPeerRequest(_message.Message):
    __slots__ = ("peer",)
    PEER_FIELD_NUMBER: _ClassVar[int]
    peer: Peer
    def __init__(self, peer: _Optional[_Union[Peer, _Mapping]] = ...) -> None: ...

class UpdatePeerRequest(_message.Message):
    __slots__ = ("peer",)
    PEER_FIELD_NUMBER: _ClassVar[int]
    peer: Peer
    def __init__(self, peer: _Optional[_Union[Peer, _Mapping]] = ...) -> None: ...

class UpdatePeerResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DeletePeerRequest(_message.Message):
    __slots__ = ("address",)
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...

class ListPeerRequest(_message.Message):
    __slots__ = ("enableAdvertised",)
    ENABLEADVERTISED_FIELD_NUMBER: _ClassVar[int]
    enableAdvertised: bool
    def __init__(self, enableAdvertised: _Optional[bool] = ...) -> None: ...

class ListPeerResponse(_message.Message):
    __slots__ = ("peer",)
    PEER_FIELD_NUMBER: _ClassVar[int]
    peer: Peer
    def __init__(self, peer: _Optional[_Union[Peer, _Mapping]] = ...) -> None: ...

class ResetPeerRequest(_message.Message):
    __slots__ = ("address", "soft", "direction")
    class SoftResetDirection(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        IN: _ClassVar[ResetPeerRequest.SoftResetDirection]
        OUT: _ClassVar[ResetPeerRequest.SoftResetDirection]
        BOTH: _ClassVar[ResetPeerRequest.SoftResetDirection]
    IN: ResetPeerRequest.SoftResetDirection
    OUT: ResetPeerRequest.SoftResetDirection
    BOTH: ResetPeerRequest.SoftResetDirection
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SOFT_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    address: str
    soft: bool
    direction: ResetPeerRequest.SoftResetDirection
    def __init__(self, address: _Optional[str] = ..., soft: _Optional[bool] = ..., direction: _Optional[_Union[ResetPeerRequest.SoftResetDirection, str]] = ...) -> None: ...

class PeerGroupConf(_message.Message):
    __slots__ = ("auth_password", "description", "local_asn", "peer_asn", "peer_group_name")
    AUTH_PASSWORD_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    LOCAL_ASN_FIELD_NUMBER: _ClassVar[int]
    PEER_ASN_FIELD_NUMBER: _ClassVar[int]
    PEER_GROUP_NAME_FIELD_NUMBER: _ClassVar[int]
    auth_password: str
    description: str
    local_asn: int
    peer_asn: int
    peer_group_name: str
    def __init__(self, auth_password: _Optional[str] = ..., description: _Optional[str] = ..., local_asn: _Optional[int] = ..., peer_asn: _Optional[int] = ..., peer_group_name: _Optional[str] = ...) -> None: ...

class PeerGroup(_message.Message):
    __slots__ = ("conf", "ebgp_multihop", "route_reflector", "timers", "transport", "graceful_restart", "afi_safis", "ttl_security")
    CONF_FIELD_NUMBER: _ClassVar[int]
    EBGP_MULTIHOP_FIELD_NUMBER: _ClassVar[int]
    ROUTE_REFLECTOR_FIELD_NUMBER: _ClassVar[int]
    TIMERS_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_FIELD_NUMBER: _ClassVar[int]
    GRACEFUL_RESTART_FIELD_NUMBER: _ClassVar[int]
    AFI_SAFIS_FIELD_NUMBER: _ClassVar[int]
    TTL_SECURITY_FIELD_NUMBER: _ClassVar[int]
    conf: PeerGroupConf
    ebgp_multihop: EbgpMultihop
    route_reflector: RouteReflector
    timers: Timers
    transport: Transport
    graceful_restart: GracefulRestart
    afi_safis: _containers.RepeatedCompositeFieldContainer[AfiSafi]
    ttl_security: TtlSecurity
    def __init__(self, conf: _Optional[_Union[PeerGroupConf, _Mapping]] = ..., ebgp_multihop: _Optional[_Union[EbgpMultihop, _Mapping]] = ..., route_reflector: _Optional[_Union[RouteReflector, _Mapping]] = ..., timers: _Optional[_Union[Timers, _Mapping]] = ..., transport: _Optional[_Union[Transport, _Mapping]] = ..., graceful_restart: _Optional[_Union[GracefulRestart, _Mapping]] = ..., afi_safis: _Optional[_Iterable[_Union[AfiSafi, _Mapping]]] = ..., ttl_security: _Optional[_Union[TtlSecurity, _Mapping]] = ...) -> None: ...

class AddPeerGroupRequest(_message.Message):
    __slots__ = ("peer_group",)
    PEER_GROUP_FIELD_NUMBER: _ClassVar[int]
    peer_group: PeerGroup
    def __init__(self, peer_group: _Optional[_Union[PeerGroup, _Mapping]] = ...) -> None: ...

class DeletePeerGroupRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListPeerGroupRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPeerGroupResponse(_message.Message):
    __slots__ = ("peer_group",)
    PEER_GROUP_FIELD_NUMBER: _ClassVar[int]
    peer_group: PeerGroup
    def __init__(self, peer_group: _Optional[_Union[PeerGroup, _Mapping]] = ...) -> None: ...

class DynamicNeighbor(_message.Message):
    __slots__ = ("prefix", "peer_group")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    PEER_GROUP_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    peer_group: str
    def __init__(self, prefix: _Optional[str] = ..., peer_group: _Optional[str] = ...) -> None: ...

class AddDynamicNeighborRequest(_message.Message):
    __slots__ = ("dynamic_neighbor",)
    DYNAMIC_NEIGHBOR_FIELD_NUMBER: _ClassVar[int]
    dynamic_neighbor: DynamicNeighbor
    def __init__(self, dynamic_neighbor: _Optional[_Union[DynamicNeighbor, _Mapping]] = ...) -> None: ...

class DeleteDynamicNeighborRequest(_message.Message):
    __slots__ = ("prefix", "peer_group")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    PEER_GROUP_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    peer_group: str
    def __init__(self, prefix: _Optional[str] = ..., peer_group: _Optional[str] = ...) -> None: ...

class ListDynamicNeighborRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListDynamicNeighborResponse(_message.Message):
    __slots__ = ("dynamic_neighbor",)
    DYNAMIC_NEIGHBOR_FIELD_NUMBER: _ClassVar[int]
    dynamic_neighbor: DynamicNeighbor
    def __init__(self, dynamic_neighbor: _Optional[_Union[DynamicNeighbor, _Mapping]] = ...) -> None: ...

class Path(_message.Message):
    __slots__ = ("nlri", "pattrs", "is_withdraw", "family", "source_asn", "source_id", "stale", "neighbor_ip", "identifier")
    NLRI_FIELD_NUMBER: _ClassVar[int]
    PATTRS_FIELD_NUMBER: _ClassVar[int]
    IS_WITHDRAW_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ASN_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOR_IP_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    nlri: _any_pb2.Any
    pattrs: _containers.RepeatedCompositeFieldContainer[_any_pb2.Any]
    is_withdraw: bool
    family: Family
    source_asn: int
    source_id: str
    stale: bool
    neighbor_ip: str
    identifier: int
    def __init__(self, nlri: _Optional[_Union[_any_pb2.Any, _Mapping]] = ..., pattrs: _Optional[_Iterable[_Union[_any_pb2.Any, _Mapping]]] = ..., is_withdraw: _Optional[bool] = ..., family: _Optional[_Union[Family, _Mapping]] = ..., source_asn: _Optional[int] = ..., source_id: _Optional[str] = ..., stale: _Optional[bool] = ..., neighbor_ip: _Optional[str] = ..., identifier: _Optional[int] = ...) -> None: ...

class Destination(_message.Message):
    __slots__ = ("prefix", "paths")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    paths: _containers.RepeatedCompositeFieldContainer[Path]
    def __init__(self, prefix: _Optional[str] = ..., paths: _Optional[_Iterable[_Union[Path, _Mapping]]] = ...) -> None: ...

class AddPathStreamRequest(_message.Message):
    __slots__ = ("table_type", "paths")
    TABLE_TYPE_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    table_type: TableType
    paths: _containers.RepeatedCompositeFieldContainer[Path]
    def __init__(self, table_type: _Optional[_Union[TableType, str]] = ..., paths: _Optional[_Iterable[_Union[Path, _Mapping]]] = ...) -> None: ...

class TableLookupPrefix(_message.Message):
    __slots__ = ("prefix", "type")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        EXACT: _ClassVar[TableLookupPrefix.Type]
    EXACT: TableLookupPrefix.Type
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    type: TableLookupPrefix.Type
    def __init__(self, prefix: _Optional[str] = ..., type: _Optional[_Union[TableLookupPrefix.Type, str]] = ...) -> None: ...

class ListPathRequest(_message.Message):
    __slots__ = ("table_type", "family", "prefixes")
    TABLE_TYPE_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    PREFIXES_FIELD_NUMBER: _ClassVar[int]
    table_type: TableType
    family: Family
    prefixes: _containers.RepeatedCompositeFieldContainer[TableLookupPrefix]
    def __init__(self, table_type: _Optional[_Union[TableType, str]] = ..., family: _Optional[_Union[Family, _Mapping]] = ..., prefixes: _Optional[_Iterable[_Union[TableLookupPrefix, _Mapping]]] = ...) -> None: ...

class ListPathResponse(_message.Message):
    __slots__ = ("destination",)
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    destination: Destination
    def __init__(self, destination: _Optional[_Union[Destination, _Mapping]] = ...) -> None: ...

class Prefix(_message.Message):
    __slots__ = ("ip_prefix", "mask_length_min", "mask_length_max")
    IP_PREFIX_FIELD_NUMBER: _ClassVar[int]
    MASK_LENGTH_MIN_FIELD_NUMBER: _ClassVar[int]
    MASK_LENGTH_MAX_FIELD_NUMBER: _ClassVar[int]
    ip_prefix: str
    mask_length_min: int
    mask_length_max: int
    def __init__(self, ip_prefix: _Optional[str] = ..., mask_length_min: _Optional[int] = ..., mask_length_max: _Optional[int] = ...) -> None: ...

class DefinedSet(_message.Message):
    __slots__ = ("defined_type", "name", "list", "prefixes")
    DEFINED_TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    PREFIXES_FIELD_NUMBER: _ClassVar[int]
    defined_type: DefinedType
    name: str
    list: _containers.RepeatedScalarFieldContainer[str]
    prefixes: _containers.RepeatedCompositeFieldContainer[Prefix]
    def __init__(self, defined_type: _Optional[_Union[DefinedType, str]] = ..., name: _Optional[str] = ..., list: _Optional[_Iterable[str]] = ..., prefixes: _Optional[_Iterable[_Union[Prefix, _Mapping]]] = ...) -> None: ...

class AddDefinedSetRequest(_message.Message):
    __slots__ = ("defined_set",)
    DEFINED_SET_FIELD_NUMBER: _ClassVar[int]
    defined_set: DefinedSet
    def __init__(self, defined_set: _Optional[_Union[DefinedSet, _Mapping]] = ...) -> None: ...

class DeleteDefinedSetRequest(_message.Message):
    __slots__ = ("defined_set", "all")
    DEFINED_SET_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    defined_set: DefinedSet
    all: bool
    def __init__(self, defined_set: _Optional[_Union[DefinedSet, _Mapping]] = ..., all: _Optional[bool] = ...) -> None: ...

class ListDefinedSetRequest(_message.Message):
    __slots__ = ("defined_type",)
    DEFINED_TYPE_FIELD_NUMBER: _ClassVar[int]
    defined_type: DefinedType
    def __init__(self, defined_type: _Optional[_Union[DefinedType, str]] = ...) -> None: ...

class ListDefinedSetResponse(_message.Message):
    __slots__ = ("defined_set",)
    DEFINED_SET_FIELD_NUMBER: _ClassVar[int]
    defined_set: DefinedSet
    def __init__(self, defined_set: _Optional[_Union[DefinedSet, _Mapping]] = ...) -> None: ...

class MatchSet(_message.Message):
    __slots__ = ("type", "name")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ANY: _ClassVar[MatchSet.Type]
    ANY: MatchSet.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    type: MatchSet.Type
    name: str
    def __init__(self, type: _Optional[_Union[MatchSet.Type, str]] = ..., name: _Optional[str] = ...) -> None: ...

class Conditions(_message.Message):
    __slots__ = ("prefix_set", "neighbor_set", "community_set", "route_type")
    class RouteType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ROUTE_TYPE_NONE: _ClassVar[Conditions.RouteType]
        ROUTE_TYPE_INTERNAL: _ClassVar[Conditions.RouteType]
        ROUTE_TYPE_EXTERNAL: _ClassVar[Conditions.RouteType]
        ROUTE_TYPE_LOCAL: _ClassVar[Conditions.RouteType]
    ROUTE_TYPE_NONE: Conditions.RouteType
    ROUTE_TYPE_INTERNAL: Conditions.RouteType
    ROUTE_TYPE_EXTERNAL: Conditions.RouteType
    ROUTE_TYPE_LOCAL: Conditions.RouteType
    PREFIX_SET_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOR_SET_FIELD_NUMBER: _ClassVar[int]
    COMMUNITY_SET_FIELD_NUMBER: _ClassVar[int]
    ROUTE_TYPE_FIELD_NUMBER: _ClassVar[int]
    prefix_set: MatchSet
    neighbor_set: MatchSet
    community_set: MatchSet
    route_type: Conditions.RouteType
    def __init__(self, prefix_set: _Optional[_Union[MatchSet, _Mapping]] = ..., neighbor_set: _Optional[_Union[MatchSet, _Mapping]] = ..., community_set: _Optional[_Union[MatchSet, _Mapping]] = ..., route_type: _Optional[_Union[Conditions.RouteType, str]] = ...) -> None: ...

class CommunityAction(_message.Message):
    __slots__ = ("type", "communities")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ADD: _ClassVar[CommunityAction.Type]
    ADD: CommunityAction.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    COMMUNITIES_FIELD_NUMBER: _ClassVar[int]
    type: CommunityAction.Type
    communities: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, type: _Optional[_Union[CommunityAction.Type, str]] = ..., communities: _Optional[_Iterable[str]] = ...) -> None: ...

class MedAction(_message.Message):
    __slots__ = ("type", "value")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MOD: _ClassVar[MedAction.Type]
        REPLACE: _ClassVar[MedAction.Type]
    MOD: MedAction.Type
    REPLACE: MedAction.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    type: MedAction.Type
    value: int
    def __init__(self, type: _Optional[_Union[MedAction.Type, str]] = ..., value: _Optional[int] = ...) -> None: ...

class AsPrependAction(_message.Message):
    __slots__ = ("asn", "repeat", "use_left_most")
    ASN_FIELD_NUMBER: _ClassVar[int]
    REPEAT_FIELD_NUMBER: _ClassVar[int]
    USE_LEFT_MOST_FIELD_NUMBER: _ClassVar[int]
    asn: int
    repeat: int
    use_left_most: bool
    def __init__(self, asn: _Optional[int] = ..., repeat: _Optional[int] = ..., use_left_most: _Optional[bool] = ...) -> None: ...

class LocalPrefAction(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: int
    def __init__(self, value: _Optional[int] = ...) -> None: ...

class Actions(_message.Message):
    __slots__ = ("route_action", "community", "med", "as_prepend", "local_pref", "large_community")
    ROUTE_ACTION_FIELD_NUMBER: _ClassVar[int]
    COMMUNITY_FIELD_NUMBER: _ClassVar[int]
    MED_FIELD_NUMBER: _ClassVar[int]
    AS_PREPEND_FIELD_NUMBER: _ClassVar[int]
    LOCAL_PREF_FIELD_NUMBER: _ClassVar[int]
    LARGE_COMMUNITY_FIELD_NUMBER: _ClassVar[int]
    route_action: RouteAction
    community: CommunityAction
    med: MedAction
    as_prepend: AsPrependAction
    local_pref: LocalPrefAction
    large_community: CommunityAction
    def __init__(self, route_action: _Optional[_Union[RouteAction, str]] = ..., community: _Optional[_Union[CommunityAction, _Mapping]] = ..., med: _Optional[_Union[MedAction, _Mapping]] = ..., as_prepend: _Optional[_Union[AsPrependAction, _Mapping]] = ..., local_pref: _Optional[_Union[LocalPrefAction, _Mapping]] = ..., large_community: _Optional[_Union[CommunityAction, _Mapping]] = ...) -> None: ...

class Statement(_message.Message):
    __slots__ = ("name", "conditions", "actions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    conditions: Conditions
    actions: Actions
    def __init__(self, name: _Optional[str] = ..., conditions: _Optional[_Union[Conditions, _Mapping]] = ..., actions: _Optional[_Union[Actions, _Mapping]] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("name", "statements")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATEMENTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    statements: _containers.RepeatedCompositeFieldContainer[Statement]
    def __init__(self, name: _Optional[str] = ..., statements: _Optional[_Iterable[_Union[Statement, _Mapping]]] = ...) -> None: ...

class PolicyAssignment(_message.Message):
    __slots__ = ("name", "direction", "policies", "default_action")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_ACTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    direction: PolicyDirection
    policies: _containers.RepeatedCompositeFieldContainer[Policy]
    default_action: RouteAction
    def __init__(self, name: _Optional[str] = ..., direction: _Optional[_Union[PolicyDirection, str]] = ..., policies: _Optional[_Iterable[_Union[Policy, _Mapping]]] = ..., default_action: _Optional[_Union[RouteAction, str]] = ...) -> None: ...

class AddPolicyRequest(_message.Message):
    __slots__ = ("policy",)
    POLICY_FIELD_NUMBER: _ClassVar[int]
    policy: Policy
    def __init__(self, policy: _Optional[_Union[Policy, _Mapping]] = ...) -> None: ...

class DeletePolicyRequest(_message.Message):
    __slots__ = ("policy", "all")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    policy: Policy
    all: bool
    def __init__(self, policy: _Optional[_Union[Policy, _Mapping]] = ..., all: _Optional[bool] = ...) -> None: ...

class ListPolicyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPolicyResponse(_message.Message):
    __slots__ = ("policy",)
    POLICY_FIELD_NUMBER: _ClassVar[int]
    policy: Policy
    def __init__(self, policy: _Optional[_Union[Policy, _Mapping]] = ...) -> None: ...

class ListPolicyAssignmentRequest(_message.Message):
    __slots__ = ("name", "direction")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    direction: PolicyDirection
    def __init__(self, name: _Optional[str] = ..., direction: _Optional[_Union[PolicyDirection, str]] = ...) -> None: ...

class ListPolicyAssignmentResponse(_message.Message):
    __slots__ = ("assignment",)
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    assignment: PolicyAssignment
    def __init__(self, assignment: _Optional[_Union[PolicyAssignment, _Mapping]] = ...) -> None: ...

class SetPolicyAssignmentRequest(_message.Message):
    __slots__ = ("assignment",)
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    assignment: PolicyAssignment
    def __init__(self, assignment: _Optional[_Union[PolicyAssignment, _Mapping]] = ...) -> None: ...

class WatchEventRequest(_message.Message):
    __slots__ = ("peer", "table")
    class Peer(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class Table(_message.Message):
        __slots__ = ("filters",)
        class Filter(_message.Message):
            __slots__ = ("type",)
            class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
                __slots__ = ()
                BEST: _ClassVar[WatchEventRequest.Table.Filter.Type]
            BEST: WatchEventRequest.Table.Filter.Type
            TYPE_FIELD_NUMBER: _ClassVar[int]
            type: WatchEventRequest.Table.Filter.Type
            def __init__(self, type: _Optional[_Union[WatchEventRequest.Table.Filter.Type, str]] = ...) -> None: ...
        FILTERS_FIELD_NUMBER: _ClassVar[int]
        filters: _containers.RepeatedCompositeFieldContainer[WatchEventRequest.Table.Filter]
        def __init__(self, filters: _Optional[_Iterable[_Union[WatchEventRequest.Table.Filter, _Mapping]]] = ...) -> None: ...
    PEER_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    peer: WatchEventRequest.Peer
    table: WatchEventRequest.Table
    def __init__(self, peer: _Optional[_Union[WatchEventRequest.Peer, _Mapping]] = ..., table: _Optional[_Union[WatchEventRequest.Table, _Mapping]] = ...) -> None: ...

class WatchEventResponse(_message.Message):
    __slots__ = ("peer", "table")
    class PeerEvent(_message.Message):
        __slots__ = ("type", "peer")
        class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            UNKNOWN: _ClassVar[WatchEventResponse.PeerEvent.Type]
            INIT: _ClassVar[WatchEventResponse.PeerEvent.Type]
            END_OF_INIT: _ClassVar[WatchEventResponse.PeerEvent.Type]
            STATE: _ClassVar[WatchEventResponse.PeerEvent.Type]
        UNKNOWN: WatchEventResponse.PeerEvent.Type
        INIT: WatchEventResponse.PeerEvent.Type
        END_OF_INIT: WatchEventResponse.PeerEvent.Type
        STATE: WatchEventResponse.PeerEvent.Type
        TYPE_FIELD_NUMBER: _ClassVar[int]
        PEER_FIELD_NUMBER: _ClassVar[int]
        type: WatchEventResponse.PeerEvent.Type
        peer: Peer
        def __init__(self, type: _Optional[_Union[WatchEventResponse.PeerEvent.Type, str]] = ..., peer: _Optional[_Union[Peer, _Mapping]] = ...) -> None: ...
    class TableEvent(_message.Message):
        __slots__ = ("paths",)
        PATHS_FIELD_NUMBER: _ClassVar[int]
        paths: _containers.RepeatedCompositeFieldContainer[Path]
        def __init__(self, paths: _Optional[_Iterable[_Union[Path, _Mapping]]] = ...) -> None: ...
    PEER_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    peer: WatchEventResponse.PeerEvent
    table: WatchEventResponse.TableEvent
    def __init__(self, peer: _Optional[_Union[WatchEventResponse.PeerEvent, _Mapping]] = ..., table: _Optional[_Union[WatchEventResponse.TableEvent, _Mapping]] = ...) -> None: ...
