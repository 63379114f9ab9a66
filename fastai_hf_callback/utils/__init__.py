"""What every room may use: random states, processes, logs, progress, protocols, state set aside and restored."""
