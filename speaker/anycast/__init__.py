"""Virtual IPs of this node: who serves them, who of those is healthy, and what follows for kernel and peers."""
