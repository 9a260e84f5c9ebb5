"""Everything that is known of Bybit."""
