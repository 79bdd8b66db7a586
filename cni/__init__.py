"""The anypod CNI plugin: one process, one verb, one transaction."""
