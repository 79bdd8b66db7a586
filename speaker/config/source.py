"""Where a speaker's configuration comes from: a file of its own, or the cluster's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from speaker.config import speaker_toml as config

if TYPE_CHECKING:
    from speaker.settings import Config


@dataclass(frozen=True, slots=True)
class Source:
    """A speaker.toml, or with `cluster` a cluster.toml and in it the node of that name, empty: this machine."""

    path: str
    cluster: bool = False
    node: str = ""

    def load(self) -> Config:
        """Reads it, each time anew; ConfigError says what is wrong with it."""
        if not self.cluster:
            return config.load(self.path)
        from speaker.config.cluster import find
        from speaker.config.cluster import load as load_cluster
        from speaker.config.render import config_for

        cluster = load_cluster(self.path)
        return config_for(cluster, find(cluster, self.node))
