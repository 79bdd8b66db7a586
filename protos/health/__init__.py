"""The gRPC health checking protocol: grpc.health.v1."""
