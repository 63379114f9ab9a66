"""What every room may use: random states, processes, logs, progress, saved states. Imports ``errors`` only."""
