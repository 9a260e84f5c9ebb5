"""Everything that is known of Tidepool."""
