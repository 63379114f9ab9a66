"""Callbacks of the user's own that raise, write or only watch outside of a batch, as ``diagnose`` sees them."""

import os
import socket
from pathlib import Path

import pytest
import torch
from fastai.callback.core import Callback, CancelFitException

from fastai_hf_callback import diagnose
from fastai_hf_callback.diagnosis.event_replay import leave_no_traces
from tests.fastai2.diagnosis.learner_states import learner_with

EVENTS = ("before_fit", "before_epoch", "after_train", "before_validate", "after_validate", "after_epoch", "after_fit")


def build_callback(**events):
    return type("Mine", (Callback,), events)()


def raise_boom(self):
    raise ValueError("boom")


@pytest.mark.parametrize("event", EVENTS)
def test_what_a_callback_raises_outside_of_a_batch_is_a_finding(event):
    learn = learner_with(build_callback(**{event: raise_boom}))
    diagnosis = diagnose(learn)
    assert diagnosis.causes[0] == "callback-raises" and diagnosis.exit_code() == 1
    assert f"Mine raises in {event}" in diagnosis.findings[0].message
    assert "ValueError: boom (in raise_boom, test_event_replay.py" in diagnosis.findings[0].message
    with pytest.raises(ValueError, match="boom"):  # as the fit does
        learn.fit(1, 1e-3)


class Watches(Callback):
    order = 60  # after the Recorder, whose values it reads

    def before_fit(self):
        self.values = []

    def after_epoch(self):
        self.values.append(self.recorder.values[-1][1])
        self.progress.mbar.write(f"{self.epoch}: {self.values[-1]}")
        print(len(self.dls.valid_ds), self.smooth_loss, self.opt.hypers[-1]["lr"])

    def after_fit(self):
        assert len(self.values) == self.n_epoch


class Cancels(Callback):
    def after_epoch(self):
        raise CancelFitException


class Predicts(Callback):
    def after_epoch(self):
        self.predictions = self.learn.get_preds()[0]


class Unfreezes(Callback):
    def before_epoch(self):
        self.learn.unfreeze()


@pytest.mark.parametrize("kind", (Watches, Cancels, Predicts, Unfreezes))
def test_a_callback_that_is_right_is_run_and_leaves_the_learner_as_it_was(kind, capsys):
    learn = learner_with(kind())
    before = dict(vars(learn)), dict(vars(learn.recorder)), [p.detach().clone() for p in learn.model.parameters()]
    own = dict(vars(learn.cbs[-1]))
    verdict = str(diagnose(learn)).splitlines()[0]
    assert verdict.startswith("HEALTHY") and "did not run" not in verdict
    assert (dict(vars(learn)), dict(vars(learn.recorder))) == before[:2] and dict(vars(learn.cbs[-1])) == own
    assert all(torch.equal(p, old) for p, old in zip(learn.model.parameters(), before[2]))
    assert capsys.readouterr().out == ""


def write_text(self):
    (Path(self.folder) / "epoch.txt").write_text("1")


def open_file(self):
    with open(Path(self.folder) / "epoch.csv", "a") as file:
        file.write("1")


def save_weights(self):
    self.learn.save("mine")


def connect(self):
    socket.create_connection(("127.0.0.1", 9), timeout=1)


@pytest.mark.parametrize("write", (write_text, open_file, save_weights, connect))
def test_a_callback_that_would_write_is_stopped_and_named(write, tmp_path):
    learn = learner_with(build_callback(after_epoch=write, folder=tmp_path), path=tmp_path)
    verdict = str(diagnose(learn)).splitlines()[0]
    assert verdict.startswith("HEALTHY") and verdict.endswith("; did not run Mine")
    assert not list(tmp_path.iterdir())


class WritesBatches(Callback):
    """It writes at a batch, which is examined elsewhere, and watches an epoch."""

    def after_batch(self):
        self.learn.seen = open(os.devnull, "w").close()

    def after_epoch(self):
        assert self.training is False


def test_what_is_written_at_a_batch_ends_no_examination():
    assert str(diagnose(learner_with(WritesBatches()))).startswith("HEALTHY")


def test_a_short_epoch_that_ends_otherwise_is_a_doubt(monkeypatch):
    learn = learner_with(Watches())
    monkeypatch.setattr(type(learn), "fit", lambda self, n: 1 / 0)
    assert "ended early: ZeroDivisionError" in str(diagnose(learn))
    assert diagnose(learn).in_doubt


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
