"""``compare`` on fastai 1: the patched loop, the recorder, the arms."""
