"""One job directory: its ticket, its files and its state."""
