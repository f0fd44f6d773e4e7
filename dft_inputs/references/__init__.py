"""Calculations that candidates are compared with: elements and competing phases."""
