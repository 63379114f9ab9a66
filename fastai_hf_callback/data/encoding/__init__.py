"""Texts -> token ids, once, in bulk, for any Hugging Face tokenizer."""
