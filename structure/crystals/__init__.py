"""Crystal structures: read from files, written, drawn and turned into graphs."""
