"""What a market looks like at an instant. Pure: no clock, no I/O, no logging, no randomness."""
