"""Encoded rows -> batches: which rows, padded how, with which mask and targets."""
