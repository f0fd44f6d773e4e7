"""DFT jobs of a campaign: written, collected, judged, rebuilt."""
