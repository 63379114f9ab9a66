import random
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

pytest.importorskip("fastai")

from fastai_hf_callback import (
    ComparisonError,
    HFCallback,
    HFModel,
    PatchError,
    compare,
    patched_loop,
)
from tests.installed_fastai import (
    ADAPTER,
    AFTER_BACKWARD,
    FASTAI,
    LOOP,
    MOMENTS,
    MULTI_LABEL_ACCURACY,
    Learner,
    SpyCallback,
    belongings,
    build_callback,
    build_learner,
    build_tiny_model,
    get_recorded,
    get_training_ids,
    make_data,
    make_learner,
    make_saving_learner,
    only_on,
    seed_loaders,
)

if FASTAI == 1:
    from fastai import basic_train

    WATCHED = [LOOP, (basic_train, "master_bar"), (basic_train, "progress_bar")]
else:
    WATCHED = [LOOP]
ORIGINAL = [getattr(*place) for place in WATCHED]


def one_epoch(learn):
    learn.fit_one_cycle(1, 1e-2)


@pytest.fixture(autouse=True)
def check_loop_restored():
    yield
    assert [getattr(*place) for place in WATCHED] == ORIGINAL


def random_states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def kept(learners, **kwargs):
    """A factory that keeps what it makes in `learners`."""

    def make():
        learners.append(make_learner(**kwargs))
        return learners[-1]

    return make


def test_random_states_are_put_back():
    before = random_states()
    compare(make_learner, one_epoch)
    assert random_states() == before


def test_by_default_two_epochs_of_one_cycle():
    trace = compare(make_learner).traces["callback"]
    assert (len(trace.epochs), len(trace.steps)) == (2, 12)
    assert len({step.lrs for step in trace.steps}) > 6, "the learning rate follows the cycle"
    assert [(step.epoch, step.step) for step in trace.steps] == [(e, s) for e in range(2) for s in range(6)]


def test_the_trace_holds_what_fastai_itself_recorded():
    learners = []
    trace = compare(kept(learners), one_epoch, arms=("callback",)).traces["callback"]
    first_loss, epochs, lrs = get_recorded(learners[0])
    assert trace.steps[0].loss == pytest.approx(first_loss, rel=1e-6)
    assert [[epoch.valid_loss, epoch.metrics["accuracy"]] for epoch in trace.epochs] == epochs
    assert [step.lrs[-1] for step in trace.steps] == lrs


@only_on(2)
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


def test_progress_of_a_second_fit_counts_from_one():
    told = []

    def fit(learn):
        learn.fit(1, 1e-2)
        learn.fit(2, 1e-2)

    compare(make_learner, fit, arms=("callback",), progress=lambda *args: told.append(args[1:]))
    assert told == [*((n, 6) for n in range(1, 7)), *((n, 12) for n in range(1, 13))]


def test_two_runs_of_the_same_seed_are_the_same_and_another_seed_is_not():
    first, again, other = (
        compare(make_learner, one_epoch, seed, arms=("callback",)).traces["callback"].to_dict() for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_recording_does_not_change_the_training():
    def seed_all():
        torch.manual_seed(42), random.seed(42), np.random.seed(42)

    seed_all()
    alone, learners = make_learner(), []
    seed_all()
    seed_loaders(alone, 42)
    one_epoch(alone)
    compare(kept(learners), one_epoch, arms=("callback",))
    weights = learners[0].model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in alone.model.state_dict().items())


@only_on(2)
def test_the_data_may_be_shared_and_its_random_states_are_put_back():
    from tests.fastai2.learners import LOSSES, OUTPUTS, metrics
    from tests.tiny_models import tiny_transformers_model

    shared = make_data()
    before = [(dl.rng, dl.rng.getstate(), dict(vars(dl))) for dl in shared.loaders]

    def make():
        model = tiny_transformers_model("bert", OUTPUTS["classes"])
        return Learner(shared, model, loss_func=LOSSES["classes"](), metrics=metrics("classes"))

    assert compare(make, one_epoch).identical
    assert [(dl.rng, dl.rng.getstate(), dict(vars(dl))) for dl in shared.loaders] == before


# -- whose callback -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("callbacks", ([], [HFCallback], [lambda: HFCallback(check=False, keep_output=True)]))
def test_the_learner_may_hold_the_callback_or_not(callbacks):
    assert compare(lambda: make_learner(callbacks=[make() for make in callbacks]), one_epoch).identical


def test_in_the_patched_arm_the_callback_is_out():
    seen = []
    spy = SpyCallback(lambda: seen.append(getattr(*LOOP) is ORIGINAL[0]))
    compare(lambda: make_learner(callbacks=[spy]), one_epoch, arms=("callback", "patched"))
    assert seen and all(seen)


def test_every_arm_takes_the_callbacks_element():
    element = lambda output: output[0] * 2  # noqa: E731
    comparison = compare(lambda: make_learner(callbacks=[HFCallback(element)]), one_epoch)
    assert comparison.identical and comparison.broken_arm_differs


def add_progress_bar(learn):
    if FASTAI == 2:
        from fastai.callback.progress import ProgressCallback

        learn.add_cb(ProgressCallback())
    return learn


def assert_left_as_it_was(learn, before):
    attributes, *lists = belongings(learn)
    assert lists == list(before[1:])
    assert attributes.keys() == before[0].keys()
    assert all(attributes[name] is value for name, value in before[0].items())
    assert all(callback.learn is learn for callback in ADAPTER.get_callbacks(learn) if hasattr(callback, "learn"))


def test_the_users_learner_is_left_as_it_was():
    learners = []

    def make():
        learn = add_progress_bar(make_learner())
        learners.append((learn, belongings(learn)))
        return learn

    compare(make, one_epoch)
    assert len(learners) == 3
    for learn, before in learners:
        assert_left_as_it_was(learn, before)


@only_on(2)
def test_nothing_is_printed(capsys):
    def make():
        learn = add_progress_bar(make_learner())
        learn.logger = print
        return learn

    compare(make, one_epoch, progress=False)
    assert capsys.readouterr().out == ""


def test_no_arm_overwrites_a_file(tmp_path):
    mine = dict.fromkeys(("models/best.pth", "models/tmp.pth", "models/_tmp.pth", "history.csv"), "mine")
    (tmp_path / "models").mkdir()
    for name, text in mine.items():
        (tmp_path / name).write_text(text)

    def fit(learn):
        if FASTAI == 2:
            learn.lr_find(num_it=6, show_plot=False, suggest_funcs=None)
        learn.fit(1, 1e-2)

    assert compare(lambda: make_saving_learner(tmp_path), fit).identical
    there = {p.relative_to(tmp_path).as_posix(): p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
    assert there == mine


# -- what must not be compared ------------------------------------------------------------------------------


def test_a_model_made_outside_is_noticed():
    shared = make_learner()
    with pytest.raises(ComparisonError, match="weights differ before the first step.*inside make_learner"):
        compare(lambda: shared, one_epoch)


def test_data_in_another_order_is_noticed():
    draw = np.random.RandomState(7)

    def make():
        learn = make_learner()
        ids = get_training_ids(learn)
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

    def make():
        steps, learners = count(), []

        def disturb_third_step():
            if next(steps) == 2:
                for parameter in learners[0].model.parameters():
                    if parameter.grad is not None:
                        parameter.grad.mul_(1 + draw.rand())

        noise = build_callback(AFTER_BACKWARD, disturb_third_step)
        return kept(learners, callbacks=[HFCallback(), noise])()

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


def test_the_base_rate_stands_next_to_the_metric():
    comparison = compare(lambda: make_learner(task="labels"), one_epoch)
    rates = {m.quantity: m.base_rate for m in comparison.movements}
    assert rates["mean_auc"] == 0.5
    assert 0 < rates[MULTI_LABEL_ACCURACY] < 1 and rates["valid_loss"] > 0


# -- exceptions, anywhere -----------------------------------------------------------------------------------


class Stop(Exception):
    pass


@pytest.mark.slow
@settings(deadline=None, max_examples=14)
@given(moment=st.sampled_from(MOMENTS), arm=st.sampled_from([0, 1, 2]))
def test_everything_is_put_back_when_a_fit_fails(moment, arm):
    learners = []

    def bang():
        raise Stop("bang")

    def make():
        bomb = build_callback(moment, bang if len(learners) == arm else lambda: None)
        learn = make_learner(callbacks=[HFCallback(), bomb])
        learners.append((learn, belongings(learn)))
        return learn

    with pytest.raises(Stop):
        compare(make, one_epoch)
    assert [getattr(*place) for place in WATCHED] == ORIGINAL
    for learn, before in learners:
        assert_left_as_it_was(learn, before)
        assert (learn.path, learn.model_dir) == (Path("."), "models")
        assert FASTAI == 1 or not learn.lock.locked()


def test_a_patch_that_is_active_stops_it_before_anything_runs():
    with patched_loop(), pytest.raises(PatchError, match="already patched"):
        compare(make_learner, one_epoch)


def test_it_works_on_a_bare_model_too():
    assert isinstance(make_learner().model, HFModel)
    assert compare(lambda: make_learner(wrap=False, masked=False), one_epoch).identical


def test_a_learner_that_is_not_made_again_is_refused_before_the_second_arm_trains():
    learn, told = make_learner("bert"), []
    with pytest.raises(ComparisonError, match="weights differ before the first step"):
        compare(lambda: learn, fit=lambda learn: learn.fit(1, 1e-2), progress=lambda arm, done, of: told.append(arm))
    assert set(told) == {"callback"}


def test_help_shows_the_one_docstring_and_no_adapter():
    import inspect

    assert list(inspect.signature(compare).parameters) == ["make_learner", "fit", "seed", "arms", "progress"]
    assert compare.__doc__.startswith("Run the same training") and "adapter" not in compare.__doc__


class _OwnHead(nn.Module):
    """A head of one's own on a Hugging Face body: it returns a plain tensor."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = build_tiny_model("bert", 3).bert, nn.Linear(16, 3)

    def forward(self, input_ids):
        return self.head(self.body(input_ids)[0][:, 0])


def test_a_model_that_returns_a_tensor_is_compared_with_fastais_own_loop():
    """There is nothing to unwrap: the patched loop's ``[0]`` would take the first row."""
    comparison = compare(lambda: build_learner(_OwnHead()), lambda learn: learn.fit(1, 1e-2), progress=False)
    assert comparison.identical and comparison.broken_arm_differs
