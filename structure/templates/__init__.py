"""Known crystals a candidate can borrow: how far they are, and how elements are substituted."""
