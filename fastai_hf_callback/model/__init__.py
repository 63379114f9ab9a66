"""The Hugging Face model under fastai: wrapper, output, layer groups, losses, metrics, first-batch checks."""
