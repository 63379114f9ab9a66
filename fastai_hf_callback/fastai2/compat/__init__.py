"""``heal`` of fastai 2, its training loop, its progress bars, and the state that fastai leaves behind."""
