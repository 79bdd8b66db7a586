"""Our definitions of GoBGP 4 beside those of GoBGP 3, which a real daemon of every distribution has proven."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from protos.gobgp_v3 import attribute_pb2 as attribute_v3
from protos.gobgp_v3 import gobgp_pb2 as v3
from protos.gobgp_v4 import attribute_pb2 as attribute_v4
from protos.gobgp_v4 import gobgp_pb2 as v4

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor

# Version 4 put "nothing was said" before the first value of these.
SHIFTED = {
    "CommunityAction.Type",
    "DefinedType",
    "MatchSet.Type",
    "MedAction.Type",
    "PeerState.AdminState",
    "TableLookupPrefix.Type",
    "TableType",
    "WatchEventRequest.Table.Filter.Type",
}
# Renamed in version 4, or of another type there.
CHANGED = {
    ("ListPeerRequest", "enable_advertised"),
    ("Path", "nlri"),
    ("Path", "pattrs"),
    ("PeerState", "remote_cap"),
}


def messages(*files: FileDescriptor) -> dict[str, Descriptor]:
    """By their names within the package."""
    found: dict[str, Descriptor] = {}

    def walk(these: Iterable[Descriptor], before: str) -> None:
        for one in these:
            found[before + one.name] = one
            walk(one.nested_types, f"{before}{one.name}.")

    for file in files:
        walk(file.message_types_by_name.values(), "")
    return found


def enums(*files: FileDescriptor) -> Iterator[tuple[str, EnumDescriptor]]:
    for file in files:
        yield from file.enum_types_by_name.items()
    for name, message in messages(*files).items():
        for one in message.enum_types:
            yield f"{name}.{one.name}", one


OLD = (v3.DESCRIPTOR, attribute_v3.DESCRIPTOR)
NEW = (v4.DESCRIPTOR, attribute_v4.DESCRIPTOR)


def test_fields_have_the_numbers_and_types_of_version_3() -> None:
    old, new = messages(*OLD), messages(*NEW)
    compared = 0
    for name in old.keys() & new.keys():
        for field in new[name].fields:
            if (name, field.name) not in CHANGED and field.name in old[name].fields_by_name:
                other = old[name].fields_by_name[field.name]
                assert (field.number, field.type, field.is_repeated) == (
                    other.number,
                    other.type,
                    other.is_repeated,
                ), f"{name}.{field.name}"
                compared += 1
    assert compared > 100


@pytest.mark.parametrize(
    "name", sorted({name for name, _ in enums(*OLD)} & {name for name, _ in enums(*NEW)})
)
def test_values_are_those_of_version_3_or_one_more(name: str) -> None:
    old = {value.name: value.number for value in dict(enums(*OLD))[name].values}
    shift = 1 if name in SHIFTED else 0
    compared = 0
    for value in dict(enums(*NEW))[name].values:
        fitting = [before for before in old if value.name == before or value.name.endswith(f"_{before}")]
        if fitting:
            assert value.number == old[max(fitting, key=len)] + shift, value.name
            compared += 1
    assert compared >= len(old) - 1


def test_the_enums_that_moved_begin_with_nothing() -> None:
    for name, found in enums(*NEW):
        assert found.values_by_number[0].name.endswith("_UNSPECIFIED"), name
