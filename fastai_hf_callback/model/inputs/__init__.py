"""What a model takes: the names of ``forward``, followed to where they are read, and the padding id. Imports torch."""
