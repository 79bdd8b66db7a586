"""Racks, nodes, routers and clients in network namespaces of one machine."""
