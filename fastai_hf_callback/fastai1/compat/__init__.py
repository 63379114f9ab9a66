"""``heal`` of fastai 1, and what fastai leaves behind, restored."""
