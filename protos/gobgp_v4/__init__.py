"""Messages and calls of GoBGP 4's API, as far as the speaker uses them."""
