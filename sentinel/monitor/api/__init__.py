"""What a running collector tells over HTTP: health, status, gaps, books, metrics, and a live page."""
