"""Plain data that the rooms exchange: traces, evidence, findings, results. Imports ``errors`` only."""
