"""Exactly the files that are copied to a cluster."""
