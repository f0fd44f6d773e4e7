"""The campaign's ledger: one database that knows every label, candidate, job and finished stage."""
