"""Servers, load and instruments that run inside namespaces; they import the standard library and each other."""
