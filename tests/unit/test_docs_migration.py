"""docs/migration.md: what it leads kube-router's flags and annotations to are keys that there are."""

from __future__ import annotations

import re
from pathlib import Path

from cni.schema import validator
from speaker.config import cluster, speaker_toml
from tests.unit.test_cni_docs import keys as netconf_keys
from tests.unit.test_speaker_docs import keys

PAGE = (Path(__file__).resolve().parents[2] / "docs/migration.md").read_text(encoding="utf-8")
KNOWN = {
    *(key for key, _ in keys(speaker_toml.load_schema())),
    *(key for key, _ in keys(cluster.load_schema())),
    *netconf_keys(validator().schema),
}
# What stands in such a cell beside keys: values, files and commands.
OTHERS = {"full-mesh", "rack", "reflectors", "[[peer]]", "localip", "anypod status"}


def targets() -> list[str]:
    """What is said of anypod in the tables, flags of kube-router apart."""
    rows = re.findall(r"^\| `[^|]+\| ([^|]+) \|$", PAGE.partition("## From kube-router")[2], re.MULTILINE)
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row)]


def test_every_key_is_one_of_a_schema() -> None:
    found = targets()
    assert len(found) > 40
    assert [word for word in found if word not in KNOWN | OTHERS] == []


def test_no_other_word_is_there_for_nothing() -> None:
    assert set(targets()) >= OTHERS
