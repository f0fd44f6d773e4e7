"""Fetching open data: what providers have, as a folder that ingest and training read."""
