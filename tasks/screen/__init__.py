"""Screen: which drawn compositions are new, possible and in the window."""
