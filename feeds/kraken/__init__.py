"""Everything that is known of Kraken spot."""
