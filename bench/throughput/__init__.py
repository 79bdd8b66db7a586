"""Packets from a pod of one node to a pod of another, beside plain routing and beside an overlay."""
