"""What every room may use: random states, processes, logs, progress, state set aside and restored. Imports ``errors`` only."""
