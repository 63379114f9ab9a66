"""Tables and texts, as a user has them -> encoded rows -> batches, as a model takes them. Imports ``errors`` only."""
