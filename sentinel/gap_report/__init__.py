"""``sentinel-ws gap-report``: what is complete, what is missing, and why. It reads the accounts, never the points."""
