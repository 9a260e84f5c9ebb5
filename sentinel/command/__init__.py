"""What commands have in common at a terminal: their options, their tables, and text for any locale."""
