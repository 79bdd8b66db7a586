"""docs/speaker-toml.md and the schema name the same keys with the same defaults."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from speaker.config import cluster
from speaker.config import speaker_toml as config
from speaker.config.render import config_for
from speaker.config.speaker_toml import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "speaker-toml.md").read_text(encoding="utf-8")
CLUSTER = (DOCS / "cluster.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([a-z0-9-]+(?:\[\])?\.[a-z0-9.\[\]-]+)` \| ([^|]+) \|", re.MULTILINE)


def keys(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for key, below in schema["properties"].items():
        name = f"{path}{key}"
        if below.get("properties"):
            yield from keys(below, f"{name}.")
        elif below.get("type") == "array" and below["items"].get("type") == "object":
            yield from keys(below["items"], f"{name}[].")
        else:
            yield name, below


def defaults(schema: dict[str, Any]) -> dict[str, str | None]:
    """Each key's default as TOML spells it; None where it has none."""
    return {key: json.dumps(below["default"]) if "default" in below else None for key, below in keys(schema)}


def documented(page: str) -> dict[str, str | None]:
    """Each key's default as the page spells it; None where it says none."""
    found: dict[str, str | None] = {}
    for key, about in ROW.findall(page):
        marked = re.search(r", `([^`]+)`\s*$", about)
        found[key] = marked[1] if marked else None
    return found


def test_every_key_stands_there_with_its_default() -> None:
    expected = defaults(config.load_schema())
    # The page says that dynamic neighbours have the keys of others: so they must.
    for key in [key for key in expected if key.startswith("dynamic-peer[].")]:
        if key not in {"dynamic-peer[].name", "dynamic-peer[].prefixes"}:
            assert expected.pop(key) == expected[key.removeprefix("dynamic-")]
    assert documented(PAGE) == expected


def test_every_key_of_a_cluster_stands_there_with_its_default() -> None:
    expected = defaults(cluster.load_schema())
    peer = {key.removeprefix("peer[].") for key in expected if key.startswith("peer[].")}
    assert {key for key in expected if key.startswith("rack[].router[].")} == {
        f"rack[].router[].{key}" for key in peer
    }
    session = {key.split(".")[2] for key in expected if key.startswith("cluster.session.")}
    assert all(f"`{key}`" in CLUSTER for key in session)
    elsewhere = ("rack[].router[].", "cluster.session.")
    common = defaults(config.load_schema()).keys() - {"bgp.listen-port"}
    own = {key: default for key, default in expected.items() if not key.startswith(elsewhere)}
    assert documented(CLUSTER) == {key: default for key, default in own.items() if key not in common}


def test_the_example_of_a_cluster_is_valid() -> None:
    example = re.search(r"```toml\n(.*?)```", CLUSTER, re.DOTALL)
    assert example is not None
    whole = cluster.build(tomllib.loads(example[1]), "f")
    assert len(config_for(whole, whole.nodes[0]).peers) == 2


def test_the_example_is_valid() -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    assert parse(example[1]).peers[0].description == "rack"


@pytest.mark.parametrize(
    "path", sorted((DOCS.parent / "examples").glob("speaker/*.toml")), ids=lambda path: path.name
)
def test_the_example_files_are_valid(path: Path, tmp_path: Path) -> None:
    secret = tmp_path / "rack.password"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    text = path.read_text(encoding="utf-8")
    assert parse(text.replace("/etc/anypod/rack.password", str(secret)), path.name).peers


def test_every_event_that_wants_attention_is_explained() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (DOCS.parent / "speaker").rglob("*.py"))
    page = (DOCS / "speaker.md").read_text(encoding="utf-8")
    calls = re.findall(r'\blog\.(?:warning|error)[(,]\s*"([^"]+)"(?: if .* else "([^"]+)")?', source)
    assert len(calls) == len(re.findall(r"\blog\.(?:warning|error)\b", source)), (
        "a name that is not read here"
    )
    events = {event for call in calls for event in call if event}
    internal = {"no netlink socket", "speaker failed", "systemd not notified"}
    assert {event for event in events - internal if f"`{event}`" not in page} == set()
