"""Ingest: what a campaign starts from."""
