"""Everything that is known of OKX."""
