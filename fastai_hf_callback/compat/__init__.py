"""What ``heal`` and ``trusted`` of both fastais stand on: scoped patches, named files."""
