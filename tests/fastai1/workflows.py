"""What fastai 1's users do with a learner: each trains, and returns what the paths after it say."""

from functools import partial

from fastai_hf_callback import HFCallback

MODELS = ("bert", "roberta", "distilbert", "xlnet", "xlm", "gpt2", "transfoxl", "bert of transformers 5")


class Flipped(HFCallback):
    """A faulty callback."""

    def on_loss_begin(self, **kwargs):
        return {"last_output": super().on_loss_begin(**kwargs)["last_output"].flip(-1)}


def after(learn):
    """What ``validate``, ``get_preds`` with and without loss, and ``pred_batch`` say."""
    return [learn.validate(), learn.get_preds(), learn.get_preds(with_loss=_has_flat_loss(learn)), learn.pred_batch()]


def _has_flat_loss(learn) -> bool:
    # fastai 1 asks the loss for one value per row, which a mean over several columns cannot give.
    return type(learn.loss_func).__name__ == "CrossEntropyLoss"


def fit(learn):
    learn.fit(1, 1e-2)
    return after(learn)


def fit_one_cycle(learn):
    learn.fit_one_cycle(1, 1e-2)
    return after(learn)


def lr_find_then_fit(learn):
    learn.lr_find(num_it=5)
    learn.fit_one_cycle(1, 1e-2)
    return after(learn)


def freeze_then_unfreeze(learn):
    learn.freeze()
    learn.fit_one_cycle(1, 1e-2)
    learn.unfreeze()
    learn.fit_one_cycle(1, slice(1e-3, 1e-2))
    return after(learn)


def gradient_clipping(learn):
    from fastai.train import GradientClipping

    learn.callback_fns.append(partial(GradientClipping, clip=0.05))
    learn.fit(1, 1e-2)
    return after(learn)


def saved_stopped_and_logged(learn):
    from fastai.callbacks import CSVLogger, EarlyStoppingCallback, SaveModelCallback

    learn.callback_fns += [
        CSVLogger,
        partial(SaveModelCallback, name="best"),
        partial(EarlyStoppingCallback, patience=1, min_delta=1.0),
    ]
    learn.fit(3, 1e-2)
    rows = learn.csv_logger.read_logged_file().drop(columns="time")
    return after(learn) + [rows.to_csv()]


def two_workers(learn):
    learn.data.train_dl = learn.data.train_dl.new(num_workers=2)
    learn.fit(1, 1e-2)
    return after(learn)


def half_precision(learn):
    learn.to_fp16(loss_scale=128.0, dynamic=False)
    learn.fit(1, 1e-3)
    return after(learn)


WORKFLOWS = {
    function.__name__: function
    for function in (
        fit,
        fit_one_cycle,
        lr_find_then_fit,
        freeze_then_unfreeze,
        gradient_clipping,
        saved_stopped_and_logged,
        two_workers,
        half_precision,
    )
}
