"""The table as it was last read: whoever looks at what changed since misses nothing."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from speaker.bgp import Destination, LocalPath, Prefix
from speaker.table import MORE, Table

NETS = [ip_network(f"10.{number}.0.0/16") for number in range(6)]
OURS = LocalPath(NETS[0], ip_address(0))
ENTRY = Destination(NETS[0], OURS, False, ())


def told(net: Prefix, foreign: bool = False) -> Destination:
    return Destination(net, None, foreign, ())


def test_paths_of_ours_are_those_that_the_entries_have() -> None:
    table = Table([ENTRY, told(NETS[1], foreign=True)])
    assert table.ours == {NETS[0]: OURS}
    table.put(replace(ENTRY, ours=None))
    assert table.ours == {}
    table.put(ENTRY)
    table.drop(NETS[0])
    assert table.ours == {}
    table.replace([ENTRY])
    assert (table.ours, [*table]) == ({NETS[0]: OURS}, [NETS[0]])
    table.clear()
    assert (table.ours, dict(table)) == ({}, {})


def test_what_is_as_it_was_is_no_change_and_stays_the_same_object() -> None:
    table = Table([ENTRY])
    before = table.changes
    table.put(replace(ENTRY))
    table.replace([replace(ENTRY)])
    table.drop(NETS[1])
    assert table.changes == before
    assert table[NETS[0]] is ENTRY
    assert not table.since(before)


def test_any_may_have_changed_when_all_was_forgotten() -> None:
    table = Table([ENTRY])
    before = table.changes
    table.clear()
    assert table.changes > before
    assert table.since(before) is None
    assert table.since(-1) is None


def test_changes_that_nobody_looks_at_are_not_kept_for_ever() -> None:
    table = Table()
    for _ in range(MORE):
        table.put(ENTRY)
        table.drop(NETS[0])
    assert table.since(0) is None
    recent = table.changes
    table.put(ENTRY)
    assert table.since(recent) == [NETS[0]]


STEPS = st.one_of(
    st.tuples(
        st.just("put"),
        st.sampled_from(NETS).flatmap(lambda net: st.builds(told, st.just(net), st.booleans())),
    ),
    st.tuples(st.just("drop"), st.sampled_from(NETS)),
    st.tuples(st.just("replace"), st.lists(st.sampled_from(NETS).map(told), max_size=3, unique_by=hash)),
)


@given(st.lists(STEPS), st.lists(STEPS))
def test_what_changed_is_named(before: list[tuple[str, object]], after: list[tuple[str, object]]) -> None:
    table = Table()
    for name, argument in before:
        getattr(table, name)(argument)
    looked, entries = table.changes, dict(table)
    for name, argument in after:
        getattr(table, name)(argument)
    named = {*(table.since(looked) or ())}
    assert {net for net in NETS if table.get(net) != entries.get(net)} <= named
