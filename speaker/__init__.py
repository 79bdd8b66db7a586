"""The speaker: announces this node's addresses over BGP and installs what it learns in the kernel."""

import os

# grpc reads it when it is loaded: what a server says would go to the log as it came.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
