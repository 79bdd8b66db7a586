"""The status page: what the speaker knows, as one HTML document for people."""
