"""A health check as text, as a value and as the state file keeps it; what is refused, and in which words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni.healthcheck import COUNTS, KINDS, MAX_TEXT, TIMES, HealthCheck, load, parse_check

PORTS = st.integers(1, 65535)
PATHS = st.text("abcXYZ019-._~/?=&%", max_size=30)


@st.composite
def urls(draw: st.DrawFn) -> tuple[str, HealthCheck]:
    kind, port, path = draw(st.sampled_from(KINDS)), draw(PORTS), draw(PATHS)
    if kind == "tcp":
        return f"tcp://:{port}", HealthCheck("tcp", port)
    return f"{kind}://:{port}/{path}", HealthCheck(kind, port, path if kind == "grpc" else f"/{path}")


@st.composite
def options(draw: st.DrawFn) -> dict[str, float]:
    """Valid ones, in any order; times in milliseconds, so that their text is exact."""
    interval = draw(st.integers(100, 3_600_000))
    chosen = {
        "interval": interval / 1000,
        "timeout": draw(st.integers(50, min(interval, 60_000))) / 1000,
        "fast": draw(st.integers(100, interval)) / 1000,
        "rise": draw(st.integers(1, 100)),
        "fall": draw(st.integers(1, 100)),
    }
    return {name: chosen[name] for name in draw(st.permutations(list(chosen)))}


@given(urls(), options(), st.sampled_from(["", "s"]))
def test_url_and_options_are_read(url: tuple[str, HealthCheck], chosen: dict[str, float], unit: str) -> None:
    text, wanted = url
    for name, value in chosen.items():
        text += f" {name}={value:.3f}{unit}" if name in TIMES else f" {name}={value}"
        setattr(wanted, name, value)
    assert parse_check(text) == wanted


@given(urls(), options())
def test_the_compiled_form_is_read_back(url: tuple[str, HealthCheck], chosen: dict[str, float]) -> None:
    check = url[1]
    for name, value in chosen.items():
        setattr(check, name, value)
    again = load(json.loads(json.dumps(check.compiled())))
    assert again == check
    assert hash(again) == hash(check)


@given(urls())
def test_its_text_is_read_as_itself(url: tuple[str, HealthCheck]) -> None:
    assert parse_check(str(url[1])) == url[1]


PIECES = st.sampled_from(
    ["tcp://:", "http://:80/", "exec:", "/bin/x", "53", " ", "rise=", "fast=", "5", "ms", "é"]
)


@given(st.text(max_size=60) | st.lists(PIECES, max_size=12).map("".join))
def test_any_text_is_a_check_or_refused_in_words(text: str) -> None:
    try:
        check = parse_check(text, allow_exec=True)
    except ValueError as error:
        words = str(error)
    else:
        words = str(check)
        assert load(check.compiled()) == check
    assert words.isprintable()


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=12))
def test_what_is_not_compiled_is_not_loaded(compiled: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        load(compiled)


@given(st.text(max_size=8).filter(lambda kind: kind not in {*KINDS, "exec"}))
def test_a_kind_of_a_later_release_is_not_loaded(kind: str) -> None:
    with pytest.raises(ValueError, match="no kind"):
        load([kind, 53, "", [], 5, 2, 1, 2, 3])


def test_the_defaults() -> None:
    check = parse_check("tcp://:53")
    assert (check.interval, check.timeout, check.fast) == (5.0, 2.0, 1.0)
    assert (check.rise, check.fall) == (2, 3)


def test_defaults_bow_to_a_shorter_interval() -> None:
    check = parse_check("tcp://:53 interval=500ms")
    assert (check.interval, check.timeout, check.fast) == (0.5, 0.5, 0.5)


def test_a_command_has_words_and_options_behind_them() -> None:
    check = parse_check("exec:/usr/bin/dig +time=1 example.org  timeout=1 fall=2", allow_exec=True)
    assert check.argv == ("/usr/bin/dig", "+time=1", "example.org")
    assert (check.kind, check.port, check.timeout, check.fall) == ("exec", 0, 1.0, 2)
    assert str(check) == "exec:/usr/bin/dig +time=1 example.org"


def test_an_option_in_the_middle_of_a_command_is_a_word_of_it() -> None:
    assert parse_check("exec:/bin/check rise=2 x", allow_exec=True).argv == ("/bin/check", "rise=2", "x")


@pytest.mark.parametrize("name", [*TIMES, *COUNTS])
def test_the_bounds_of_options(name: str) -> None:
    _, least, most = (TIMES | COUNTS)[name]
    interval = "" if name == "interval" else " interval=3600"
    for value in (least, most):
        assert getattr(parse_check(f"tcp://:53{interval} {name}={value:g}"), name) == value
    for value in (least - 0.01, most + 1, -1):
        with pytest.raises(ValueError, match=f"{name}.*{most:g}"):
            parse_check(f"tcp://:53{interval} {name}={value:g}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "write it like tcp"),
        ("  ", "write it like tcp"),
        ("tcp://:53\n", "printable"),
        ("tcp://:53 " + "x" * MAX_TEXT, "1024"),
        ("53", "no URL of tcp, http, https, grpc"),
        ("udp://:53", "no URL of tcp, http, https, grpc"),
        ("tcp://", "host is not left out"),
        ("tcp://10.0.0.1:53", "the pod is asked"),
        ("http://[::1]:80/", "the pod is asked"),
        ("http:///healthz", "host is not left out"),
        ("tcp://:", "port from 1 to 65535"),
        ("tcp://:0", "port from 1 to 65535"),
        ("tcp://:65536", "port from 1 to 65535"),
        ("tcp://:٥٣", "port from 1 to 65535"),
        ("tcp://:53/", "tcp has none of"),
        ("http://:80/ä", "encode them"),
        ("http://:80/ /x", "saying /x, which is no option"),
        ("tcp://:53 intervall=2", "saying intervall=2, which is no option; there are interval, timeout"),
        ("tcp://:53 rise=2 rise=3", "rise twice"),
        ("tcp://:53 rise=1.5", "whole number"),
        ("tcp://:53 interval=1e1", "like 2, 0.5s or 500ms"),
        ("tcp://:53 interval=nan", "like 2, 0.5s or 500ms"),
        ("tcp://:53 interval=1m", "like 2, 0.5s or 500ms"),
        ("tcp://:53 interval=", "like 2, 0.5s or 500ms"),
        ("tcp://:53 interval=1 timeout=2", "timeout longer than the interval"),
        ("tcp://:53 interval=1 fast=2", "fast interval longer than the interval"),
        ("exec:/bin/true", "only the netconf"),
    ],
)
def test_what_is_refused_says_why(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_check(text)


@pytest.mark.parametrize("text", ["exec:", "exec: /bin/true", "exec:true", "exec:./true"])
def test_a_command_needs_its_absolute_path(text: str) -> None:
    with pytest.raises(ValueError, match="absolute path"):
        parse_check(text, allow_exec=True)


def test_the_page_has_every_option_with_its_default_and_bounds() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/health-checks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `([\d.]+)`[^|]* \| ([\d.]+), (`interval`|\d+)", page, re.MULTILINE)
    known = {name: (default, least, most) for name, (default, least, most) in (TIMES | COUNTS).items()}
    assert {
        name: (float(default), float(least), known[name][2] if most == "`interval`" else int(most))
        for name, default, least, most in rows
    } == known
