"""What is worked out from finished calculations, whatever code made them."""
