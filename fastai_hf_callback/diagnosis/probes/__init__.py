"""What measures: a model, a loss, batches and targets -> the parts of ``Evidence``. Imports torch and no fastai.

One file per part. Nothing here knows a cause; nothing here changes what it is given, except where its
docstring says so and the caller puts it back.
"""
