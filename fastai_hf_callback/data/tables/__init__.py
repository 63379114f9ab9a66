"""DataFrames, CSV files, Hugging Face datasets -> the texts and targets of train, valid and test, checked."""
