"""How formulas are read and written, one at a time and by the million."""
