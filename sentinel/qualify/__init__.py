"""The evidence of a run against a venue: what happened, what was lost, what it took, and whether the claims held."""
