"""Exporting a campaign: formats that other people's programs read."""
