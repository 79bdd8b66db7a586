"""The part of the gRPC interface of GoBGP 3 that the speaker uses."""
