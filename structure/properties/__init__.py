"""Properties that can be sought or measured, and what a campaign asks of them."""
