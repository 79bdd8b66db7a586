"""The kernel's side: which learned routes it should have, by which next hops, and how they get there."""
