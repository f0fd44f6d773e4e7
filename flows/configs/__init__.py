"""Campaign configurations shipped with the product, as YAML."""
