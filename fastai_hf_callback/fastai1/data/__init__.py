"""``text_data`` of fastai 1 and what it is made of."""
