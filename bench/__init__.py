"""What is measured, always beside a peer in the same run."""
