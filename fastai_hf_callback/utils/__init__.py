"""What every room may use: random states, processes, logs, progress, protocols, state saved and restored."""
