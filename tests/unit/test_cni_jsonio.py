"""JSON without the package `json` reads and writes what that package would."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni.errors import DECODING_FAILURE, CniError
from cni.jsonio import dump, parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_values_come_back(value: object) -> None:
    assert parse(dump(value)) == value
    assert json.loads(dump(value)) == value
    assert parse(f" \n{json.dumps(value)}\r\n\t") == value


def test_equal_values_give_equal_text() -> None:
    assert dump({"b": 1, "a": [True, None]}) == dump({"a": [True, None], "b": 1}) == '{"a":[true,null],"b":1}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "{",
        '{"a":}',
        "nul",
        "[1] 2",
        '{"a":NaN}',
        "[Infinity]",
        "[1e400]",
        '{"a":1,"a":2}',
        "[" * 100000,
        '"\t"',
        "\ufeff{}",
    ],
)
def test_what_is_no_plain_json_is_code_6(text: str) -> None:
    with pytest.raises(CniError) as caught:
        parse(text)
    assert caught.value.code == DECODING_FAILURE


@given(st.text(max_size=60))
def test_text_is_json_for_us_exactly_when_it_is_for_the_package(text: str) -> None:
    def strict(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("twice")
        return dict(pairs)

    def refuse(name: str) -> object:
        raise ValueError(name)

    try:
        expected = json.loads(text, object_pairs_hook=strict, parse_constant=refuse)
    except ValueError:
        with pytest.raises(CniError):
            parse(text)
    else:
        assert parse(text) == expected
