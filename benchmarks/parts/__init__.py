"""The parts of the benchmark: each has `measure(peers, options)`, which returns raw figures, and `tell(raw)`."""
