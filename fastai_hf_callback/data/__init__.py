"""Texts and labels, as a user has them -> batches, as a model takes them, on either fastai."""
