"""One probe of each kind. Each asks once, has no deadline of its own, and leaves nothing behind however it ends."""
