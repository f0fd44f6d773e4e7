"""Tables and structures that people bring: columns, numbers and units."""
