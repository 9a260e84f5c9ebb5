"""What each exchange says, and what it means. Pure: no clock, no I/O, no logging, no randomness."""
