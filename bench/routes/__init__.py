"""How fast learned routes reach the kernel: alone, and from a peer's first update on, beside other speakers."""
