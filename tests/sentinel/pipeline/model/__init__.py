"""An honest little world around the pipeline: a market, its venue, its disk, and a judge who knows the truth."""
