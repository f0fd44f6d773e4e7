"""Whether a composition may be a candidate: validity, what is known, the papers' data rules."""
