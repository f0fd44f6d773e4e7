"""What each kind of part must keep, as functions that a package which brings one can copy."""
