"""Whether VASP calculated what it was asked for: one module a kind of input."""
