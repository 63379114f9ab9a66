"""``diagnose``, ``Doctor`` and ``explain`` on fastai 1."""
