"""Everything that imports fastai 2. Its twin for fastai 1 is ``fastai1/``, room for room."""
