"""``compare`` on fastai 2: the patched loop, the recorder, the arms."""
