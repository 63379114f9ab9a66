"""What is done to a model's weights while they train, and so that they work together. Imports torch."""
