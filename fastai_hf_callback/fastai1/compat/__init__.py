"""``heal`` of fastai 1, its training loop, and its progress bars."""
