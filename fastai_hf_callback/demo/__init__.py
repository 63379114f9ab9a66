"""The offline demo for every fastai: ``setup`` of data, model and stories; ``comments`` and their ``phrases``."""
