"""How the speaker talks to gobgpd: one `Session` protocol, one adapter for each version of its API."""
