"""HTTP/2 (RFC 9113, RFC 7541) as far as one gRPC call on a connection of its own needs it."""
