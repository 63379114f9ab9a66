"""What fastai 2's users do with a learner: each trains, and returns what the paths after it say."""

from fastai_hf_callback import HFCallback


class Flipped(HFCallback):
    """A faulty callback."""

    def after_pred(self):
        super().after_pred()
        self.learn.pred = self.learn.pred.flip(-1)


def after(learn):
    """What ``validate`` and ``get_preds``, with all that it can give, say."""
    return [learn.validate(), learn.get_preds(), learn.get_preds(with_input=True, with_decoded=True, with_loss=True)]


def fit(learn):
    learn.fit(1, 1e-2)
    return after(learn)


def fit_one_cycle(learn):
    learn.fit_one_cycle(1, 1e-2)
    return after(learn)


def fit_flat_cos(learn):
    learn.fit_flat_cos(1, 1e-2)
    return after(learn)


def fine_tune(learn):
    learn.fine_tune(1, 1e-2)
    return after(learn)


def lr_find_then_fit(learn):
    suggested = learn.lr_find(num_it=10, show_plot=False)
    learn.fit_one_cycle(1, 1e-2)
    return [suggested, *after(learn)]


def freeze_then_unfreeze(learn):
    learn.freeze()
    learn.fit_one_cycle(1, 1e-2)
    learn.unfreeze()
    learn.fit_one_cycle(1, slice(1e-3, 1e-2))
    return after(learn)


def accumulation(learn):
    from fastai.callback.training import GradientAccumulation

    learn.fit(1, 1e-2, cbs=GradientAccumulation(n_acc=16))
    return after(learn)


def gradient_clipping(learn):
    from fastai.callback.training import GradientClip

    learn.fit(1, 1e-2, cbs=GradientClip(0.05))
    return after(learn)


def saved_stopped_and_logged(learn):
    from fastai.callback.progress import CSVLogger
    from fastai.callback.tracker import EarlyStoppingCallback, SaveModelCallback

    logger = CSVLogger()
    learn.fit(3, 1e-2, cbs=[logger, SaveModelCallback(fname="best"), EarlyStoppingCallback(patience=1, min_delta=1.0)])
    rows = (learn.path / logger.fname).read_text().splitlines()
    return [*after(learn), [row.rpartition(",")[0] for row in rows]]  # the last column is the time


def two_workers(learn):
    learn.dls.train = learn.dls.train.new(num_workers=2)
    learn.fit(1, 1e-2)
    return after(learn)


WORKFLOWS = {
    function.__name__: function
    for function in (
        fit,
        fit_one_cycle,
        fit_flat_cos,
        fine_tune,
        lr_find_then_fit,
        freeze_then_unfreeze,
        accumulation,
        gradient_clipping,
        saved_stopped_and_logged,
        two_workers,
    )
}
