"""VASP: its inputs, and how what it left is read and judged."""
