"""One process: who runs when, the one door into the pipeline, and its lines on their way to the disk."""
