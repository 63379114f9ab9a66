"""Helpers for the installed fastai, under the same names for both."""

import random

import pytest
import torch
from torch import nn

from fastai_hf_callback import HFCallback
from tests.installed_stack import FASTAI_1

__all__ = [
    "FASTAI",
    "ADAPTER",
    "LOOP",
    "MODELS",
    "MOMENTS",
    "AFTER_BACKWARD",
    "BEFORE_BACKWARD",
    "MULTI_LABEL_ACCURACY",
    "Callback",
    "Learner",
    "MSELossFlat",
    "MixedPrecision",
    "ScaledOutput",
    "SpyCallback",
    "belongings",
    "build_callback",
    "build_learner",
    "build_output_reader",
    "build_tiny_model",
    "drive_metric",
    "drive_metric_over",
    "find_active_patch",
    "get_datasets",
    "get_recorded",
    "get_recorded_metrics",
    "get_training_ids",
    "hand_over_dicts",
    "make_data",
    "make_learner",
    "make_saving_learner",
    "move_to_gpu",
    "multi_label_accuracy",
    "only_on",
    "seed_loaders",
    "sort_callbacks",
]

if FASTAI_1:
    from fastai import basic_train
    from fastai.basic_train import Learner
    from fastai.callback import Callback, CallbackHandler
    from fastai.callbacks import CSVLogger, EarlyStoppingCallback, SaveModelCallback
    from fastai.callbacks.fp16 import MixedPrecision
    from fastai.layers import MSELossFlat
    from fastai.metrics import accuracy_thresh as multi_label_accuracy

    from fastai_hf_callback.fastai1.comparison.compare import Fastai1Adapter
    from fastai_hf_callback.fastai1.compat.training_loop import find_active_patch
    from tests.fastai1.learners import databunch as make_data
    from tests.fastai1.learners import make_learner as _make_learner
    from tests.tiny_models import tiny_model as build_tiny_model

    BEFORE_BACKWARD = "on_backward_begin"
    FASTAI, ADAPTER, LOOP = 1, Fastai1Adapter(), (basic_train, "loss_batch")
    MODELS = ("bert", "xlnet", "distilbert")
    MULTI_LABEL_ACCURACY, AFTER_BACKWARD = "accuracy_thresh", "on_backward_end"
    MOMENTS = [
        f"on_{event}"
        for event in (
            "train_begin",
            "epoch_begin",
            "batch_begin",
            "loss_begin",
            "backward_begin",
            "backward_end",
            "step_end",
            "batch_end",
            "epoch_end",
            "train_end",
        )
    ]

    class SpyCallback(HFCallback):
        """A callback that calls `look` whenever it unwraps."""

        def __init__(self, look):
            super().__init__()
            self.look = look

        def on_loss_begin(self, **kwargs):
            self.look()
            return super().on_loss_begin(**kwargs)

    class ScaledOutput(HFCallback):
        """A callback that changes the output slightly."""

        def on_loss_begin(self, **kwargs):
            return {"last_output": super().on_loss_begin(**kwargs)["last_output"] * 1.0000001}

    def make_learner(*args, **kwargs):
        """Make a new tiny learner."""
        return _make_learner(*args, **kwargs)

    def make_saving_learner(path):
        """Make a learner that writes ``models/best.pth`` and ``history.csv`` while it trains."""
        learn = make_learner(callback_fns=[CSVLogger], path=path)
        learn.callbacks += [SaveModelCallback(learn, name="best"), EarlyStoppingCallback(learn, patience=5)]
        return learn

    def build_callback(moment, action):
        """Build a callback that calls `action` at one event."""
        callback = Callback()
        setattr(callback, moment, lambda **kwargs: action())
        return callback

    def build_output_reader(action, order):
        """Build a callback that calls `action` with each output, as a callback of this order sees it."""

        class Reader(Callback):
            def on_loss_begin(self, last_output, **kwargs):
                action(last_output)

        Reader._order = order
        return Reader()

    def sort_callbacks(callbacks):
        """Sort callbacks in the order in which fastai calls them."""
        return CallbackHandler(callbacks).callbacks

    def build_learner(model, task="classes", loss_func=None, **kwargs):
        """Build a learner for any model of token ids, without a callback."""
        data, loss_func = make_data(task, masked=False), loss_func or nn.CrossEntropyLoss()
        return Learner(data, model, loss_func=loss_func, silent=True, **kwargs)

    def move_to_gpu(learn):
        """Move model and batches of the learner to the GPU, and return it."""
        learn.data = make_data(device=torch.device("cuda"))
        learn.model.cuda()
        return learn

    def hand_over_dicts(learn):
        """Make the model's inputs a dict."""
        learn.data.add_tfm(lambda batch: ({"attention_mask": batch[0][1], "input_ids": batch[0][0]}, batch[1]))

    def get_datasets(learn):
        """Return the rows to train and to validate on."""
        return [learn.data.train_ds, learn.data.valid_ds]

    def belongings(learn):
        """Return what must be restored, by name, with the content of lists."""
        held = {name: getattr(learn, name) for name in ("callbacks", "callback_fns", "path", "model_dir", "metrics")}
        return held, list(learn.callbacks), list(learn.callback_fns)

    def get_training_ids(learn):
        """Return the token ids of all training rows in one tensor."""
        return learn.data.train_dl.dl.dataset.tensors[0]

    def drive_metric(metric, outputs, targets, sizes):
        """Compute a metric over batches of these sizes as fastai's loop does."""
        return drive_metric_over(metric, zip(outputs.split(sizes), targets.split(sizes)))

    def drive_metric_over(metric, batches):
        """Compute a metric over these batches as fastai's loop does."""
        handler = CallbackHandler([], [metric])
        handler.on_train_begin(1, None, [metric])
        handler.on_epoch_begin()
        for output, target in batches:
            handler.on_batch_begin(None, target, train=False)
            handler.on_loss_begin(output)
            handler.on_batch_end(torch.zeros(()))
        handler.on_epoch_end(0.0)
        return handler.state_dict["last_metrics"][1]

    def get_recorded_metrics(learn):
        """Return the names, and the values of each epoch."""
        return learn.recorder.metrics_names, learn.recorder.metrics

    def get_recorded(learn):
        """Return what fastai's Recorder has: the first loss, validation loss and metric by epoch, learning rates."""
        recorder = learn.recorder
        epochs = [[float(loss), float(values[0])] for loss, values in zip(recorder.val_losses, recorder.metrics)]
        return float(recorder.losses[0]), epochs, recorder.lrs

    def seed_loaders(learn, seed):
        """Do nothing: fastai 1's loaders use the global generators."""

else:
    from fastai.callback.core import Callback
    from fastai.callback.fp16 import MixedPrecision
    from fastai.callback.progress import CSVLogger
    from fastai.callback.tracker import EarlyStoppingCallback, SaveModelCallback
    from fastai.learner import AvgMetric, Learner, Metric
    from fastai.losses import MSELossFlat
    from fastai.metrics import accuracy_multi as multi_label_accuracy
    from fastai.torch_basics import ItemTransform
    from fastcore.foundation import L

    from fastai_hf_callback.fastai2.comparison.compare import Fastai2Adapter
    from fastai_hf_callback.fastai2.compat.training_loop import find_active_patch
    from fastai_hf_callback.fastai2.metrics import SingleBatchLearner
    from tests.fastai2.learners import MODELS, without_progress_bar
    from tests.fastai2.learners import loaders as make_data
    from tests.fastai2.learners import make_learner as _make_learner
    from tests.tiny_models import tiny_transformers_model as build_tiny_model

    BEFORE_BACKWARD = "before_backward"
    FASTAI, ADAPTER, LOOP = 2, Fastai2Adapter(), (Learner, "_do_one_batch")
    MULTI_LABEL_ACCURACY, AFTER_BACKWARD = "accuracy_multi", "after_backward"
    MOMENTS = [
        *("before_fit", "before_epoch", "before_train", "before_batch", "after_pred", "after_loss"),
        *("before_backward", "after_backward", "before_step", "after_step", "after_batch", "after_train"),
        *("before_validate", "after_validate", "after_epoch", "after_fit"),
    ]

    class SpyCallback(HFCallback):
        """A callback that calls `look` whenever it unwraps."""

        def __init__(self, look):
            super().__init__()
            self.look = look

        def after_pred(self):
            self.look()
            super().after_pred()

    class ScaledOutput(HFCallback):
        """A callback that changes the output slightly."""

        def after_pred(self):
            super().after_pred()
            self.learn.pred = self.learn.pred * 1.0000001

    def make_learner(*args, callbacks=None, **kwargs):
        """Make a new tiny learner."""
        return _make_learner(*args, cbs=callbacks, **kwargs)

    def make_saving_learner(path):
        """Make a learner that writes ``models/best.pth`` and ``history.csv`` while it trains."""
        saving = [CSVLogger(), SaveModelCallback(fname="best"), EarlyStoppingCallback(patience=5)]
        return make_learner(path=path, callbacks=[HFCallback(), *saving])

    def build_callback(moment, action):
        """Build a callback that calls `action` at one event."""
        return Callback(**{moment: lambda callback: action()})

    def build_output_reader(action, order):
        """Build a callback that calls `action` with each output, as a callback of this order sees it."""

        class Reader(Callback):
            def after_pred(self):
                action(self.learn.pred)

        Reader.order = order
        return Reader()

    def sort_callbacks(callbacks):
        """Sort callbacks in the order in which fastai calls them."""
        return L(callbacks).sorted("order")

    def build_learner(model, task="classes", loss_func=None, callbacks=None, **kwargs):
        """Build a learner for any model of token ids, without a callback."""
        data, loss_func = make_data(task, masked=False), loss_func or nn.CrossEntropyLoss()
        return without_progress_bar(Learner(data, model, loss_func=loss_func, cbs=callbacks, **kwargs))

    class _AsDict(ItemTransform):
        def encodes(self, batch):
            ids, mask, target = batch
            return {"attention_mask": mask, "input_ids": ids}, target

    def move_to_gpu(learn):
        """Move model and batches of the learner to the GPU, and return it."""
        learn.dls = make_data(device=torch.device("cuda"))
        learn.model.cuda()
        return learn

    def hand_over_dicts(learn):
        """Make the model's inputs a dict."""
        for loader in learn.dls.loaders:
            loader.after_batch.add(_AsDict())
            loader._n_inp = 1

    def get_datasets(learn):
        """Return the rows to train and to validate on."""
        return [loader.dataset for loader in learn.dls.loaders]

    def belongings(learn):
        """Return what must be restored, by name, with the content of lists."""
        data = {f"dls.{name}": value for name, value in vars(learn.dls).items()}
        return {**vars(learn), **data}, list(learn.cbs), list(learn.dls.loaders)

    def get_training_ids(learn):
        """Return the token ids of all training rows in one tensor."""
        return learn.dls.train.dataset.tensors[0]

    def drive_metric(metric, outputs, targets, sizes):
        """Compute a metric over batches of these sizes as fastai's Recorder does."""
        return drive_metric_over(metric, zip(outputs.split(sizes), targets.split(sizes)))

    def drive_metric_over(metric, batches):
        """Compute a metric over these batches as fastai's Recorder does."""
        metric = metric if isinstance(metric, Metric) else AvgMetric(metric)
        metric.reset()
        for output, target in batches:
            metric.accumulate(SingleBatchLearner(output, target))
        return metric.value

    def get_recorded_metrics(learn):
        """Return the names, and the values of each epoch."""
        names = list(learn.recorder.metric_names)[-1 - len(learn.metrics) : -1]
        return names, [list(values)[-len(names) :] for values in learn.recorder.values]

    def get_recorded(learn):
        """Return what fastai's Recorder has: the first loss, validation loss and metric by epoch, learning rates."""
        recorder = learn.recorder
        return float(recorder.losses[0]), [list(values)[1:] for values in recorder.values], recorder.lrs

    def seed_loaders(learn, seed):
        """Seed the loaders, which have generators of their own."""
        learn.dls.train.rng = random.Random(seed)


def only_on(fastai):
    """Mark a test of what only one fastai has, or does differently."""
    return pytest.mark.skipif(fastai != FASTAI, reason=f"only on fastai {fastai}")
