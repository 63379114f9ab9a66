"""``heal`` of fastai 2, and what fastai leaves behind, restored."""
