"""What a loss takes and predicts: whether it broadcasts, and losses of the user's own."""
