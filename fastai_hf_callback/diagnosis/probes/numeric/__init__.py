"""Probes of inputs that are numbers and no token ids: pixels, waveforms, spectrograms, features of a table."""
