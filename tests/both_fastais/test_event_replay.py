"""Callbacks of the user's own that raise, write or only watch outside of a batch, as ``diagnose`` sees them."""

import os
import socket
from pathlib import Path

import pytest

from fastai_hf_callback import diagnose
from fastai_hf_callback.diagnosis.event_replay import leave_no_traces
from tests.diagnosis.learner_states import differences, fastai, state_of
from tests.installed_stack import FASTAI_1

if FASTAI_1:
    from fastai.basic_train import LearnerCallback as Base

    EVENTS = ("on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end")
    EPOCH_BEGINS, EPOCH_ENDS, BATCH_ENDS = "on_epoch_begin", "on_epoch_end", "on_batch_end"
else:
    from fastai.callback.core import Callback as Base
    from fastai.callback.core import CancelFitException

    EVENTS = ("before_fit", "before_epoch", "after_train", "before_validate", "after_validate", "after_epoch")
    EVENTS += ("after_fit",)
    EPOCH_BEGINS, EPOCH_ENDS, BATCH_ENDS = "before_epoch", "after_epoch", "after_batch"


def learner_with(events, **kwargs):
    """A learner with a callback of the user's own, its events functions of that callback and fastai 1's arguments."""
    kind = type("Mine", (Base,), dict(events))
    if not FASTAI_1:
        return fastai.learner_with(kind(), **kwargs)
    learn = fastai.learner_with(**kwargs)
    learn.callbacks.append(kind(learn))
    return learn


def raise_boom(self, **state):
    raise ValueError("boom")


@pytest.mark.parametrize("event", EVENTS)
def test_what_a_callback_raises_outside_of_a_batch_is_a_finding(event):
    learn = learner_with({event: raise_boom})
    diagnosis = diagnose(learn)
    assert diagnosis.causes[0] == "callback-raises" and diagnosis.exit_code() == 1
    assert f"Mine raises in {event}" in diagnosis.findings[0].message
    assert "ValueError: boom (in raise_boom, test_event_replay.py" in diagnosis.findings[0].message
    with pytest.raises(ValueError, match="boom"):  # as the fit does
        learn.fit(1, 1e-3)


def begin(self, **state):
    self.values = []


def watch(self, pbar=None, smooth_loss=None, epoch=None, **state):
    if FASTAI_1:
        self.values.append(self.learn.recorder.val_losses[-1])
        pbar.write(f"{epoch}: {smooth_loss}")
        print(len(self.learn.data.valid_ds), self.learn.opt.lr)
        return
    self.values.append(self.recorder.values[-1][1])
    self.progress.mbar.write(f"{self.epoch}: {self.values[-1]}")
    print(len(self.dls.valid_ds), self.smooth_loss, self.opt.hypers[-1]["lr"])


def compare_values(self, epoch=None, **state):
    assert len(self.values) == (epoch if FASTAI_1 else self.n_epoch)


def end_fit(self, **state):
    if FASTAI_1:
        return {"stop_training": True}
    raise CancelFitException


def predict(self, **state):
    self.predictions = self.learn.get_preds(**{} if FASTAI_1 else {"inner": True})[0]


def predict_once(self, **state):
    if not getattr(self, "is_busy", False):
        self.is_busy = True
        validate(self)
        self.is_busy = False


def validate(self, **state):
    self.learn.validate()


def unfreeze(self, **state):
    self.learn.unfreeze()


RIGHT = {
    "watches": {EVENTS[0]: begin, EPOCH_ENDS: watch, EVENTS[-1]: compare_values, "order": 60, "_order": 60},
    "ends the fit": {EPOCH_ENDS: end_fit},
    "predicts": {EPOCH_ENDS: predict},
    "validates, guarded": {EPOCH_ENDS: predict_once},
}
if not FASTAI_1:  # there a new optimizer within a fit has a slice as its rate, and no step can be taken
    RIGHT["unfreezes"] = {EPOCH_BEGINS: unfreeze}


@pytest.mark.parametrize("kind", RIGHT)
def test_a_callback_that_is_right_is_run_and_leaves_the_learner_as_it_was(kind, capsys):
    learn = learner_with(RIGHT[kind])
    before = state_of(learn)
    verdict = str(diagnose(learn)).splitlines()[0]
    assert verdict.startswith("HEALTHY") and "did not run" not in verdict
    assert differences(before, state_of(learn)) == []
    assert capsys.readouterr().out == ""


def test_a_callback_that_calls_itself_without_end_is_a_finding():
    diagnosis = diagnose(learner_with({EPOCH_ENDS: validate}))  # a fit of it stands still, or ends in a RecursionError
    assert diagnosis.causes[0] == "callback-raises"
    assert f"Mine calls itself without end in {EPOCH_ENDS}" in diagnosis.findings[0].message


def write_text(self, **state):
    (Path(self.folder) / "epoch.txt").write_text("1")


def open_file(self, **state):
    with open(Path(self.folder) / "epoch.csv", "a") as file:
        file.write("1")


def save_weights(self, **state):
    self.learn.save("mine")


def connect(self, **state):
    socket.create_connection(("127.0.0.1", 9), timeout=1)


@pytest.mark.parametrize("write", (write_text, open_file, save_weights, connect))
def test_a_callback_that_would_write_is_stopped_and_named(write, tmp_path):
    learn = learner_with({EPOCH_ENDS: write, "folder": tmp_path}, path=tmp_path)
    verdict = str(diagnose(learn)).splitlines()[0]
    assert verdict.startswith("HEALTHY") and verdict.endswith("; did not run Mine")
    assert not list(tmp_path.iterdir())


def test_what_is_written_at_a_batch_ends_no_examination():
    def write(self, **state):
        open(os.devnull, "w").close()

    def look(self, **state):
        assert self.learn is not None

    assert str(diagnose(learner_with({BATCH_ENDS: write, EPOCH_ENDS: look}))).startswith("HEALTHY")


def test_a_short_epoch_that_ends_otherwise_is_a_doubt(monkeypatch):
    learn = learner_with(RIGHT["watches"])
    monkeypatch.setattr(type(learn), "fit", lambda self, *args, **kwargs: 1 / 0)
    diagnosis = diagnose(learn)
    assert "ended early: ZeroDivisionError" in str(diagnosis) and diagnosis.in_doubt


@pytest.mark.skipif(not FASTAI_1, reason="fastai 2 has no callback_fns")
def test_what_a_fit_makes_of_callback_fns_is_run_too():
    learn = fastai.learner_with(callback_fns=[type("Mine", (Base,), {EPOCH_ENDS: raise_boom})])
    assert diagnose(learn).causes[0] == "callback-raises"
    learn = fastai.learner_with(callback_fns=[type("Mine", (Base,), {EPOCH_ENDS: predict})])
    assert "did not run" not in str(diagnose(learn))


def test_files_can_be_read_and_afterwards_written(tmp_path):
    file = tmp_path / "file.txt"
    file.write_text("old")
    with leave_no_traces():
        assert file.read_text() == "old"
        with pytest.raises(BaseException) as raised:
            file.write_text("new")
        assert not isinstance(raised.value, Exception)
    assert file.read_text() == "old"
    file.write_text("new")
    assert file.read_text() == "new"
