"""The base of ``heal`` and ``trusted`` for both fastais: scoped patches, trusted files."""
