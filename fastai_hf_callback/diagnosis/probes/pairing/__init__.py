"""Probes of which output a loss, or a metric, compares with which target."""
