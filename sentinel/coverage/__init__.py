"""What collectors account for, placed in time, and what is not there."""
