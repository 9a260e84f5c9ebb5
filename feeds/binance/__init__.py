"""Everything that is known of Binance's spot market."""
