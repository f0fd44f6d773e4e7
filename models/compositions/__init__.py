"""Generators and the autoencoder: what learns the space of compositions."""
