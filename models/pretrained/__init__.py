"""Weights trained by this project, each with its model card."""
