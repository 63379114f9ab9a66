"""Plain data that crosses between the rooms: traces, evidence, findings, results. Imports ``errors`` only."""
