import random
from pathlib import Path

import numpy as np
import pytest
import torch
from fastai.callback.core import Callback
from fastai.callback.progress import CSVLogger, ProgressCallback
from fastai.callback.tracker import EarlyStoppingCallback, SaveModelCallback
from fastai.learner import Learner
from hypothesis import given, settings
from hypothesis import strategies as st

from fastai_hf_callback import ComparisonError, HFCallback, HFModel, PatchError, compare, patched_loop
from tests.fastai2.learners import BATCH, LOSSES, OUTPUTS, discard_table, loaders, make_learner, metrics
from tests.tiny_models import tiny_transformers_model

LOOP = Learner._do_one_batch


def one_epoch(learn):
    learn.fit_one_cycle(1, 1e-2)


@pytest.fixture(autouse=True)
def check_loop_restored():
    yield
    assert Learner._do_one_batch is LOOP


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
    assert [(step.epoch, step.step) for step in trace.steps] == [(e, s) for e in range(2) for s in range(6)]


def kept(learners, **kwargs):
    def make():
        learners.append(make_learner(**kwargs))
        return learners[-1]

    return make


def test_the_trace_holds_what_fastai_itself_recorded():
    learners = []
    trace = compare(kept(learners), one_epoch, arms=("callback",)).traces["callback"]
    recorder = learners[0].recorder
    assert trace.steps[0].loss == pytest.approx(float(recorder.losses[0]), rel=1e-6)
    assert [[e.valid_loss, e.metrics["accuracy"]] for e in trace.epochs] == [list(v)[1:] for v in recorder.values]
    assert [step.lrs[-1] for step in trace.steps] == recorder.lrs


def test_validate_and_predictions_are_no_fit():
    def fit(learn):
        learn.validate()
        learn.fit(1, 1e-2)
        learn.get_preds()
        learn.fit(2, 1e-2)
        return learn.validate()

    trace = compare(make_learner, fit, arms=("callback",)).traces["callback"]
    assert [(epoch.fit, epoch.epoch) for epoch in trace.epochs] == [(0, 0), (1, 0), (1, 1)]


def test_progress_is_told():
    told = []
    compare(make_learner, one_epoch, arms=("callback",), progress=lambda *args: told.append(args))
    assert told == [("callback", n, 6) for n in range(1, 7)]


def test_two_runs_of_the_same_seed_are_the_same_and_another_seed_is_not():
    first, again, other = (
        compare(make_learner, one_epoch, seed, arms=("callback",)).traces["callback"].to_dict() for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_recording_does_not_change_the_training():
    def seeded(learn):
        torch.manual_seed(42), random.seed(42), np.random.seed(42)
        learn.dls.train.rng = random.Random(42)
        return learn

    torch.manual_seed(42), random.seed(42), np.random.seed(42)
    alone, learners = make_learner(), []
    one_epoch(seeded(alone))
    compare(kept(learners), one_epoch, arms=("callback",))
    weights = learners[0].model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in alone.model.state_dict().items())


def test_the_data_may_be_shared_and_its_random_states_are_put_back():
    shared = loaders()
    before = [(dl.rng, dl.rng.getstate(), dict(vars(dl))) for dl in shared.loaders]

    def make():
        return Learner(
            shared,
            tiny_transformers_model("bert", OUTPUTS["classes"]),
            loss_func=LOSSES["classes"](),
            metrics=metrics("classes"),
        )

    assert compare(make, one_epoch).identical
    assert [(dl.rng, dl.rng.getstate(), dict(vars(dl))) for dl in shared.loaders] == before


# -- whose callback -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cbs", ([], [HFCallback], [lambda: HFCallback(check=False, keep_output=True)]))
def test_the_learner_may_hold_the_callback_or_not(cbs):
    assert compare(lambda: make_learner(cbs=[make() for make in cbs]), one_epoch).identical


def test_in_the_patched_arm_the_callback_is_out():
    seen = []

    class Spy(HFCallback):
        def after_pred(self):
            seen.append(Learner._do_one_batch is LOOP)
            super().after_pred()

    compare(lambda: make_learner(cbs=[Spy()]), one_epoch, arms=("callback", "patched"))
    assert seen and all(seen)


def test_every_arm_takes_the_callbacks_element():
    element = lambda output: output[0] * 2  # noqa: E731
    comparison = compare(lambda: make_learner(cbs=[HFCallback(element)]), one_epoch)
    assert comparison.identical and comparison.broken_arm_differs


def test_the_users_learner_is_left_as_it_was():
    learners = []

    def make():
        learn = make_learner()
        learn.add_cb(ProgressCallback())
        learners.append((learn, dict(vars(learn)), list(learn.cbs), dict(vars(learn.dls)), list(learn.dls.loaders)))
        return learn

    compare(make, one_epoch)
    for learn, attributes, callbacks, data, parts in learners:
        assert list(learn.cbs) == callbacks and all(cb.learn is learn for cb in callbacks)
        assert vars(learn).keys() == attributes.keys()
        assert all(vars(learn)[name] is value for name, value in attributes.items())
        assert vars(learn.dls) == data and learn.dls.loaders == parts


def test_nothing_is_printed(capsys):
    def make():
        learn = make_learner()
        learn.add_cb(ProgressCallback())
        learn.logger = print
        return learn

    compare(make, one_epoch, progress=False)
    assert capsys.readouterr().out == ""


def test_no_arm_overwrites_a_file(tmp_path):
    (tmp_path / "models").mkdir()
    for name in ("models/best.pth", "models/_tmp.pth", "history.csv"):
        (tmp_path / name).write_text("mine")

    def make():
        return make_learner(
            path=tmp_path,
            cbs=[HFCallback(), CSVLogger(), SaveModelCallback(fname="best"), EarlyStoppingCallback(patience=5)],
        )

    def fit(learn):
        learn.lr_find(num_it=6, show_plot=False, suggest_funcs=None)
        learn.fit(1, 1e-2)

    assert compare(make, fit).identical
    assert {p.relative_to(tmp_path).as_posix(): p.read_text() for p in tmp_path.rglob("*") if p.is_file()} == {
        "models/best.pth": "mine",
        "models/_tmp.pth": "mine",
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
        ids = learn.dls.train.dataset.tensors[0]
        ids[:] = ids[draw.permutation(48)]
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
        def after_backward(self):
            gradient = next(self.learn.model.parameters()).grad
            if self.iter == 2 and gradient is not None:
                gradient.mul_(1 + draw.rand())

    comparison = compare(lambda: make_learner(cbs=[HFCallback(), Noise()]), one_epoch)
    assert not comparison.identical and comparison.noise is not None
    assert "two patched runs differ as well" in comparison.verdict


def test_labels_in_the_batch_make_the_patched_loop_train_on_the_loss_and_it_is_seen():
    def make():
        learn = make_learner(metrics=[], loss_func=lambda output, target: output.float().pow(2).mean())
        inner = learn.model.model
        original = inner.forward
        labels = torch.zeros(BATCH, dtype=torch.int64)
        inner.forward = lambda **named: original(labels=labels, **named)
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
    assert 0 < rates["accuracy_multi"] < 1 and rates["valid_loss"] > 0


# -- exceptions, anywhere -----------------------------------------------------------------------------------


class Stop(Exception):
    pass


@settings(deadline=None, max_examples=14)
@given(
    moment=st.sampled_from(
        [
            "before_fit",
            "before_epoch",
            "before_train",
            "before_batch",
            "after_pred",
            "after_loss",
            "before_backward",
            "after_backward",
            "before_step",
            "after_step",
            "after_batch",
            "after_train",
            "before_validate",
            "after_validate",
            "after_epoch",
            "after_fit",
        ]
    ),
    arm=st.sampled_from([0, 1, 2]),
)
def test_everything_is_put_back_when_a_fit_fails(moment, arm):
    learners = []

    def bang(callback):
        raise Stop("bang")

    def make():
        bomb = Callback(**({moment: bang} if len(learners) == arm else {}))
        learn = make_learner(cbs=[HFCallback(), bomb])
        learners.append((learn, dict(vars(learn)), list(learn.cbs)))
        return learn

    with pytest.raises(Stop):
        compare(make, one_epoch)
    assert Learner._do_one_batch is LOOP
    for learn, attributes, callbacks in learners:
        assert vars(learn) == attributes and list(learn.cbs) == callbacks
        assert (learn.path, learn.model_dir, learn.logger) == (Path("."), "models", discard_table)
        assert not learn.lock.locked()


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
