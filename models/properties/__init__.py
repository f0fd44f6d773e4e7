"""What predicts a property from a composition or a crystal."""
