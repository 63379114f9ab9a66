"""``text_data`` of fastai 2, its datasets, labels, loaders and ``ordered_preds``."""
