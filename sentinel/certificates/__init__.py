"""What an hour of a product holds and how it was come by, sealed and chained; and the proof that it still holds."""
