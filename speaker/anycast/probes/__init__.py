"""One probe of each kind. Each asks once, has no deadline of its own, and leaves nothing behind however it ends.

Only grpc, when a probe is cancelled, goes on connecting for what was left of the check's timeout.
"""
