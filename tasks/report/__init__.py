"""Report: everything a campaign found on one page that opens offline."""
