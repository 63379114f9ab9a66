"""``text_data`` of fastai 2 and what it is made of."""
