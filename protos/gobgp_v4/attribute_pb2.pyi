from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class IPAddressPrefix(_message.Message):
    __slots__ = ("prefix_len", "prefix")
    PREFIX_LEN_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    prefix_len: int
    prefix: str
    def __init__(self, prefix_len: _Optional[int] = ..., prefix: _Optional[str] = ...) -> None: ...

class NLRI(_message.Message):
    __slots__ = ("prefix",)
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    prefix: IPAddressPrefix
    def __init__(self, prefix: _Optional[_Union[IPAddressPrefix, _Mapping]] = ...) -> None: ...

class OriginAttribute(_message.Message):
    __slots__ = ("origin",)
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    origin: int
    def __init__(self, origin: _Optional[int] = ...) -> None: ...

class AsSegment(_message.Message):
    __slots__ = ("type", "numbers")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TYPE_UNSPECIFIED: _ClassVar[AsSegment.Type]
        TYPE_AS_SET: _ClassVar[AsSegment.Type]
        TYPE_AS_SEQUENCE: _ClassVar[AsSegment.Type]
        TYPE_AS_CONFED_SEQUENCE: _ClassVar[AsSegment.Type]
        TYPE_AS_CONFED_SET: _ClassVar[AsSegment.Type]
    TYPE_UNSPECIFIED: AsSegment.Type
    TYPE_AS_SET: AsSegment.Type
    TYPE_AS_SEQUENCE: AsSegment.Type
    TYPE_AS_CONFED_SEQUENCE: AsSegment.Type
    TYPE_AS_CONFED_SET: AsSegment.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    type: AsSegment.Type
    numbers: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, type: _Optional[_Union[AsSegment.Type, str]] = ..., numbers: _Optional[_Iterable[int]] = ...) -> None: ...

class AsPathAttribute(_message.Message):
    __slots__ = ("segments",)
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    segments: _containers.RepeatedCompositeFieldContainer[AsSegment]
    def __init__(self, segments: _Optional[_Iterable[_Union[AsSegment, _Mapping]]] = ...) -> None: ...

class NextHopAttribute(_message.Message):
    __slots__ = ("next_hop",)
    NEXT_HOP_FIELD_NUMBER: _ClassVar[int]
    next_hop: str
    def __init__(self, next_hop: _Optional[str] = ...) -> None: ...

class MultiExitDiscAttribute(_message.Message):
    __slots__ = ("med",)
    MED_FIELD_NUMBER: _ClassVar[int]
    med: int
    def __init__(self, med: _Optional[int] = ...) -> None: ...

class LocalPrefAttribute(_message.Message):
    __slots__ = ("local_pref",)
    LOCAL_PREF_FIELD_NUMBER: _ClassVar[int]
    local_pref: int
    def __init__(self, local_pref: _Optional[int] = ...) -> None: ...

class CommunitiesAttribute(_message.Message):
    __slots__ = ("communities",)
    COMMUNITIES_FIELD_NUMBER: _ClassVar[int]
    communities: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, communities: _Optional[_Iterable[int]] = ...) -> None: ...

class LargeCommunity(_message.Message):
    __slots__ = ("global_admin", "local_data1", "local_data2")
    GLOBAL_ADMIN_FIELD_NUMBER: _ClassVar[int]
    LOCAL_DATA1_FIELD_NUMBER: _ClassVar[int]
    LOCAL_DATA2_FIELD_NUMBER: _ClassVar[int]
    global_admin: int
    local_data1: int
    local_data2: int
    def __init__(self, global_admin: _Optional[int] = ..., local_data1: _Optional[int] = ..., local_data2: _Optional[int] = ...) -> None: ...

class LargeCommunitiesAttribute(_message.Message):
    __slots__ = ("communities",)
    COMMUNITIES_FIELD_NUMBER: _ClassVar[int]
    communities: _containers.RepeatedCompositeFieldContainer[LargeCommunity]
    def __init__(self, communities: _Optional[_Iterable[_Union[LargeCommunity, _Mapping]]] = ...) -> None: ...

class LinkBandwidthExtended(_message.Message):
    __slots__ = ("asn", "bandwidth")
    ASN_FIELD_NUMBER: _ClassVar[int]
    BANDWIDTH_FIELD_NUMBER: _ClassVar[int]
    asn: int
    bandwidth: float
    def __init__(self, asn: _Optional[int] = ..., bandwidth: _Optional[float] = ...) -> None: ...

class ExtendedCommunity(_message.Message):
    __slots__ = ("link_bandwidth",)
    LINK_BANDWIDTH_FIELD_NUMBER: _ClassVar[int]
    link_bandwidth: LinkBandwidthExtended
    def __init__(self, link_bandwidth: _Optional[_Union[LinkBandwidthExtended, _Mapping]] = ...) -> None: ...

class ExtendedCommunitiesAttribute(_message.Message):
    __slots__ = ("communities",)
    COMMUNITIES_FIELD_NUMBER: _ClassVar[int]
    communities: _containers.RepeatedCompositeFieldContainer[ExtendedCommunity]
    def __init__(self, communities: _Optional[_Iterable[_Union[ExtendedCommunity, _Mapping]]] = ...) -> None: ...

class MpReachNLRIAttribute(_message.Message):
    __slots__ = ("next_hops",)
    NEXT_HOPS_FIELD_NUMBER: _ClassVar[int]
    next_hops: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, next_hops: _Optional[_Iterable[str]] = ...) -> None: ...

class Attribute(_message.Message):
    __slots__ = ("origin", "as_path", "next_hop", "multi_exit_disc", "local_pref", "communities", "mp_reach", "extended_communities", "large_communities")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    AS_PATH_FIELD_NUMBER: _ClassVar[int]
    NEXT_HOP_FIELD_NUMBER: _ClassVar[int]
    MULTI_EXIT_DISC_FIELD_NUMBER: _ClassVar[int]
    LOCAL_PREF_FIELD_NUMBER: _ClassVar[int]
    COMMUNITIES_FIELD_NUMBER: _ClassVar[int]
    MP_REACH_FIELD_NUMBER: _ClassVar[int]
    EXTENDED_COMMUNITIES_FIELD_NUMBER: _ClassVar[int]
    LARGE_COMMUNITIES_FIELD_NUMBER: _ClassVar[int]
    origin: OriginAttribute
    as_path: AsPathAttribute
    next_hop: NextHopAttribute
    multi_exit_disc: MultiExitDiscAttribute
    local_pref: LocalPrefAttribute
    communities: CommunitiesAttribute
    mp_reach: MpReachNLRIAttribute
    extended_communities: ExtendedCommunitiesAttribute
    large_communities: LargeCommunitiesAttribute
    def __init__(self, origin: _Optional[_Union[OriginAttribute, _Mapping]] = ..., as_path: _Optional[_Union[AsPathAttribute, _Mapping]] = ..., next_hop: _Optional[_Union[NextHopAttribute, _Mapping]] = ..., multi_exit_disc: _Optional[_Union[MultiExitDiscAttribute, _Mapping]] = ..., local_pref: _Optional[_Union[LocalPrefAttribute, _Mapping]] = ..., communities: _Optional[_Union[CommunitiesAttribute, _Mapping]] = ..., mp_reach: _Optional[_Union[MpReachNLRIAttribute, _Mapping]] = ..., extended_communities: _Optional[_Union[ExtendedCommunitiesAttribute, _Mapping]] = ..., large_communities: _Optional[_Union[LargeCommunitiesAttribute, _Mapping]] = ...) -> None: ...
