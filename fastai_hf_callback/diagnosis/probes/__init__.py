"""Probes: a model, a loss, batches and targets -> the parts of ``Evidence``. Imports torch and no fastai.

One file per part. No probe knows a cause, and none changes what it is given, except where its docstring says so and
the caller restores it.
"""
