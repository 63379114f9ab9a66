import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("fastai.basic_train")

from fastai import basic_train
from fastai.callback import Callback
from fastai.callbacks import CSVLogger, EarlyStoppingCallback, SaveModelCallback

from fastai_hf_callback import ComparisonError, HFCallback, HFModel, PatchError, compare, patched_loop
from tests.fastai1.learners import make_learner

LOOP = {name: getattr(basic_train, name) for name in ("loss_batch", "master_bar", "progress_bar")}


def one_epoch(learn):
    learn.fit_one_cycle(1, 1e-2)


@pytest.fixture(autouse=True)
def check_loop_restored():
    yield
    assert {name: getattr(basic_train, name) for name in LOOP} == LOOP


def random_states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def test_random_states_are_put_back():
    before = random_states()
    compare(make_learner, one_epoch)
    assert random_states() == before


def test_by_default_two_epochs_of_one_cycle():
    trace = compare(make_learner).traces["callback"]
    assert (len(trace.epochs), len(trace.steps)) == (2, 12)
    assert len({step.lrs for step in trace.steps}) > 6, "the learning rate follows the cycle"


def test_the_trace_holds_what_fastai_itself_recorded():
    learners = []

    def make():
        learners.append(make_learner())
        return learners[-1]

    trace = compare(make, one_epoch, arms=("callback",)).traces["callback"]
    recorder = learners[0].recorder
    assert trace.steps[0].loss == pytest.approx(float(recorder.losses[0]), rel=1e-6)
    assert [epoch.valid_loss for epoch in trace.epochs] == [float(v) for v in recorder.val_losses]
    assert [epoch.metrics["accuracy"] for epoch in trace.epochs] == [float(m[0]) for m in recorder.metrics]
    assert [step.lrs[-1] for step in trace.steps] == recorder.lrs


def test_two_runs_of_the_same_seed_are_the_same_and_another_seed_is_not():
    first, again, other = (
        compare(make_learner, one_epoch, seed, arms=("callback",)).traces["callback"].to_dict() for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_recording_does_not_change_the_training():
    def weights(train):
        torch.manual_seed(42), random.seed(42), np.random.seed(42)
        learn = make_learner()
        torch.manual_seed(42), random.seed(42), np.random.seed(42)
        train(learn)
        return [value.clone() for value in learn.model.state_dict().values()]

    learners = []

    def make():
        learners.append(make_learner())
        return learners[-1]

    alone = weights(one_epoch)
    compare(make, one_epoch, arms=("callback",))
    assert all(torch.equal(a, b) for a, b in zip(alone, learners[0].model.state_dict().values()))


# -- whose callback -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("callbacks", ([], [HFCallback()], [HFCallback(check=False, keep_output=True)]))
def test_the_learner_may_hold_the_callback_or_not(callbacks):
    assert compare(lambda: make_learner(callbacks=list(callbacks)), one_epoch).identical


def test_in_the_patched_arm_the_callback_is_out():
    seen = []

    class Spy(HFCallback):
        def on_loss_begin(self, **kwargs):
            seen.append(basic_train.loss_batch is LOOP["loss_batch"])
            return super().on_loss_begin(**kwargs)

    compare(lambda: make_learner(callbacks=[Spy()]), one_epoch, arms=("callback", "patched"))
    assert seen and all(seen)


def test_the_users_learner_is_left_as_it_was():
    learners = []

    def belongings(learn):
        return (
            learn.callbacks,
            list(learn.callbacks),
            learn.callback_fns,
            list(learn.callback_fns),
            learn.path,
            learn.model_dir,
            learn.metrics,
        )

    def make():
        learn = make_learner()
        learners.append((learn, belongings(learn)))
        return learn

    compare(make, one_epoch)
    for learn, before in learners:
        assert learn.callbacks is before[0] and learn.callback_fns is before[2]
        assert belongings(learn) == before


def test_no_arm_overwrites_a_file(tmp_path):
    (tmp_path / "models").mkdir()
    for name in ("models/best.pth", "models/tmp.pth", "history.csv"):
        (tmp_path / name).write_text("mine")

    def make():
        learn = make_learner(callback_fns=[CSVLogger], path=tmp_path)
        learn.callbacks += [SaveModelCallback(learn, name="best"), EarlyStoppingCallback(learn, patience=5)]
        return learn

    assert compare(make, lambda learn: learn.fit(1, 1e-2)).identical
    assert {p.relative_to(tmp_path).as_posix(): p.read_text() for p in tmp_path.rglob("*") if p.is_file()} == {
        "models/best.pth": "mine",
        "models/tmp.pth": "mine",
        "history.csv": "mine",
    }


# -- what must not be compared ------------------------------------------------------------------------------


def test_a_model_made_outside_is_noticed():
    shared = make_learner()
    with pytest.raises(ComparisonError, match="weights differ before the first step.*inside make_learner"):
        compare(lambda: shared, one_epoch)


def test_data_in_another_order_is_noticed():
    draw = np.random.RandomState(7)

    def make():
        learn = make_learner()
        learn.data.train_dl.dl.dataset.tensors[0][:] = learn.data.train_dl.dl.dataset.tensors[0][draw.permutation(48)]
        return learn

    with pytest.raises(ComparisonError, match="first training batch differs"):
        compare(make, one_epoch)


@pytest.mark.parametrize(
    "make, said",
    [(lambda: 3, "returned int; expected a fastai Learner"), ("learner", "str was given; expected a function")],
)
def test_what_is_no_factory(make, said):
    with pytest.raises(ComparisonError, match=said):
        compare(make, one_epoch)


@pytest.mark.parametrize("arms", (("callback", "nonsense"), (), ("patched", "patched")))
def test_arms_that_do_not_exist(arms):
    with pytest.raises(ComparisonError, match="arms="):
        compare(make_learner, one_epoch, arms=arms)


def test_a_run_that_is_not_deterministic_is_told_from_a_difference():
    draw = np.random.RandomState(7)

    class Noise(Callback):
        def on_backward_end(self, num_batch, **kwargs):
            gradient = next(learners[-1].model.parameters()).grad
            if num_batch == 2 and gradient is not None:
                gradient.mul_(1 + draw.rand())

    learners = []

    def make():
        learners.append(make_learner(callbacks=[HFCallback(), Noise()]))
        return learners[-1]

    comparison = compare(make, one_epoch)
    assert not comparison.identical and comparison.noise is not None
    assert "two patched runs differ as well" in comparison.verdict


def test_labels_in_the_batch_make_the_patched_loop_train_on_the_loss_and_it_is_seen():
    def make():
        learn = make_learner()
        inner = learn.model.model
        original = inner.forward
        labels = torch.zeros(8, dtype=torch.int64)
        inner.forward = lambda **named: original(labels=labels, **named)
        learn.loss_func, learn.metrics = lambda output, target: output.float().pow(2).mean(), []
        return learn

    comparison = compare(make, one_epoch)
    assert not comparison.identical and comparison.noise is None


# -- what did not move ------------------------------------------------------------------------------------------


def test_identical_but_stuck_is_no_success():
    comparison = compare(make_learner, lambda learn: learn.fit(1, 0.0))
    assert comparison.identical and not comparison.moved and comparison.exit_code == 3
    with pytest.raises(ComparisonError, match="IDENTICAL BUT STUCK"):
        comparison.check()


def test_the_base_rate_stands_beside_the_metric():
    comparison = compare(lambda: make_learner(task="labels"), one_epoch)
    rates = {m.quantity: m.base_rate for m in comparison.movements}
    assert rates["mean_auc"] == 0.5
    assert 0 < rates["accuracy_thresh"] < 1 and rates["valid_loss"] > 0


# -- exceptions, anywhere -----------------------------------------------------------------------------------


class Stop(Exception):
    pass


@settings(deadline=None, max_examples=12)
@given(
    event=st.sampled_from(
        [
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
        ]
    ),
    arm=st.sampled_from([0, 1, 2]),
)
def test_everything_is_put_back_when_a_fit_fails(event, arm):
    learners = []

    def make():
        bomb = Callback()
        if len(learners) == arm:
            setattr(bomb, f"on_{event}", lambda **kwargs: (_ for _ in ()).throw(Stop()))
        learners.append(make_learner(callbacks=[HFCallback(), bomb]))
        return learners[-1]

    with pytest.raises(Stop):
        compare(make, one_epoch)
    assert {name: getattr(basic_train, name) for name in LOOP} == LOOP
    for learn in learners:
        assert [type(cb) for cb in learn.callbacks] == [HFCallback, Callback]
        assert (learn.path, learn.model_dir) == (Path("."), "models")


def test_a_patch_that_is_active_stops_it_before_anything_runs():
    with patched_loop(), pytest.raises(PatchError, match="already patched"):
        compare(make_learner, one_epoch)


def test_it_works_on_a_bare_model_too():
    assert isinstance(make_learner().model, HFModel)
    assert compare(lambda: make_learner(wrap=False, masked=False), one_epoch).identical


def test_a_learner_that_is_not_made_anew_is_refused_before_the_second_arm_trains():
    learn, told = make_learner("bert"), []
    with pytest.raises(ComparisonError, match="weights differ before the first step"):
        compare(lambda: learn, fit=lambda learn: learn.fit(1, 1e-2), progress=lambda arm, done, of: told.append(arm))
    assert set(told) == {"callback"}
