"""The command line ``agd``."""
