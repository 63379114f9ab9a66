"""Some nine hundred inputs of the command line, most of them bad, and what good software answers to each."""
