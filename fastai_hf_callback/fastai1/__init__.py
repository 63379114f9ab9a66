"""Everything that imports fastai 1. Its twin for fastai 2 is ``fastai2/``, room for room."""
