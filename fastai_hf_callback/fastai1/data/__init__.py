"""``text_data`` of fastai 1, its item lists, labels, loaders and ``ordered_preds``."""
