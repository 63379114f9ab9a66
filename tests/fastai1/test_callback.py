import copy
import pickle
import weakref

import pytest
import torch
from torch import nn

pytest.importorskip("fastai.basic_train")

from fastai.basic_train import LearnerCallback, load_callback
from fastai.callback import Callback, CallbackHandler
from fastai.callbacks.fp16 import MixedPrecision
from fastai.layers import MSELossFlat
from fastai.train import Learner

from fastai_hf_callback import FastaiHFError, GradientError, HFCallback, OutputError, patched_loop, unwrap
from fastai_hf_callback.model.gradient_flow import ReachedLeaves
from tests.fastai1.learners import databunch, make_learner


class WithHiddenStates(nn.Module):
    """A model whose output is a tuple: logits first, then what nobody asked for."""

    def __init__(self, width=3):
        super().__init__()
        self.embed, self.head = nn.Embedding(50, 8), nn.Linear(8, width)

    def forward(self, input_ids):
        hidden = self.embed(input_ids).mean(1)
        return self.head(hidden), (hidden, hidden * 2)


def learner(model=None, task="classes", loss_func=None, **kwargs):
    return Learner(
        databunch(task, masked=False),
        model or WithHiddenStates(),
        silent=True,
        loss_func=loss_func or nn.CrossEntropyLoss(),
        **kwargs,
    )


# -- it unwraps, on every path ---------------------------------------------------------------------------


def test_every_path_of_the_learner_sees_logits():
    learn = make_learner("bert")
    learn.fit(1, 1e-2)
    learn.lr_find(num_it=3)
    learn.validate()
    outputs, targets, losses = learn.get_preds(with_loss=True)
    assert outputs.shape == (48, 3) and losses.shape == targets.shape == (48,)
    assert torch.allclose(outputs.sum(1), torch.ones(48), atol=1e-5), "fastai applied the loss's activation"
    assert learn.pred_batch().shape == (8, 3)


def test_without_the_callback_the_same_learner_fails():
    with pytest.raises((TypeError, AttributeError)):
        make_learner("bert", callbacks=[]).fit(1, 1e-2)


def test_the_loss_gets_the_very_tensor_the_model_made():
    seen = {}

    class Model(WithHiddenStates):
        def forward(self, input_ids):
            seen["made"] = super().forward(input_ids)
            return seen["made"]

    def loss_func(output, target):
        assert output is seen["made"][0]
        seen["grad_fn"] = output.grad_fn
        return nn.functional.cross_entropy(output, target)

    learner(Model(), loss_func=loss_func, callbacks=[HFCallback()]).fit(1, 1e-2)
    assert seen["grad_fn"] is None, "the last batch was validation's, under no_grad"


def test_a_tensor_output_passes_untouched():
    model = nn.Sequential(nn.Embedding(50, 8), nn.Flatten(), nn.Linear(64, 3))
    learner(model, callbacks=[HFCallback(), HFCallback()]).fit(1, 1e-2)


def test_element_chooses():
    learn = learner(
        WithHiddenStates(5),
        loss_func=lambda hidden, target: hidden.pow(2).mean(),
        callbacks=[HFCallback(element=lambda output: output[1][1])],
    )
    learn.fit(1, 1e-2)
    assert learn.pred_batch(activ=nn.Identity()).shape == (8, 8)


def test_several_names_for_losses_of_several_tensors():
    class Spans(WithHiddenStates):
        def forward(self, input_ids):
            logits, _ = super().forward(input_ids)
            return {"start_logits": logits, "end_logits": logits * 2, "hidden": logits}

    def loss_func(output, target):
        start, end = output
        return nn.functional.cross_entropy(start, target) + nn.functional.cross_entropy(end, target)

    learner(Spans(), loss_func=loss_func, callbacks=[HFCallback(element=("start_logits", "end_logits"))]).fit(1, 1e-2)


# -- its order ------------------------------------------------------------------------------------------------


def test_it_runs_before_whatever_reads_the_output():
    class Early(Callback):
        _order = -999

        def on_loss_begin(self, last_output, **kwargs):
            assert isinstance(last_output, torch.Tensor)

    learner(callbacks=[Early(), HFCallback()]).fit(1, 1e-2)
    ordered = CallbackHandler([MixedPrecision.__new__(MixedPrecision), Early(), HFCallback()]).callbacks
    assert isinstance(ordered[0], HFCallback)


# -- the look at the first training batch ---------------------------------------------------------------------


class Detached(WithHiddenStates):
    def forward(self, input_ids):
        logits, rest = super().forward(input_ids)
        return logits.detach().requires_grad_(), rest


class NoGrad(WithHiddenStates):
    def forward(self, input_ids):
        with torch.no_grad():
            return super().forward(input_ids)


class Rebuilt(WithHiddenStates):
    def forward(self, input_ids):
        logits, rest = super().forward(input_ids)
        return torch.tensor(logits.tolist(), requires_grad=True) * 1.0, rest


@pytest.mark.parametrize("model", (Detached, NoGrad, Rebuilt))
def test_a_loss_that_reaches_no_parameter_stops_the_fit(model):
    with pytest.raises(GradientError, match="reaches none of the model's parameters.*float32.*8, 3.*learn.unfreeze"):
        learner(model(), callbacks=[HFCallback()]).fit(1, 1e-2)


def test_without_the_check_it_trains_on_and_moves_nothing():
    learn = learner(Detached(), callbacks=[HFCallback(check=False)], wd=0.0)
    before = copy.deepcopy(learn.model.state_dict())
    learn.fit(1, 1e-2)
    assert all(torch.equal(before[name], value) for name, value in learn.model.state_dict().items())


def test_everything_frozen_is_said():
    learn = learner(callbacks=[HFCallback()])
    for parameter in learn.model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(GradientError, match="every parameter is frozen"):
        learn.fit(1, 1e-2)


def test_reentrant_checkpointing_is_no_alarm():
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(WithHiddenStates):
        def forward(self, input_ids):
            embedded = self.embed(input_ids).detach().requires_grad_()
            run = lambda x: self.head(x.mean(1))  # noqa: E731
            modern = {"use_reentrant": True} if "use_reentrant" in checkpoint.__code__.co_varnames else {}
            return checkpoint(run, embedded, **modern), None

    learner(Checkpointed(), callbacks=[HFCallback()]).fit(1, 1e-2)


@pytest.mark.parametrize("loss_func", (nn.MSELoss(), nn.L1Loss(), lambda o, y: ((o - y) ** 2).mean()))
def test_an_output_that_would_be_broadcast_stops_the_fit(loss_func):
    learn = regressor(loss_func)
    with pytest.raises(OutputError, match=r"float32 \(8, 1\).*float32 \(8,\).*every row with every target"):
        learn.fit(1, 1e-2)


@pytest.mark.parametrize(
    "loss_func",
    (MSELossFlat(), lambda o, y: nn.functional.mse_loss(o[:, 0], y), lambda o, y: o.pow(2).mean()),
    ids=("flat", "by hand", "without targets"),
)
def test_a_loss_that_pairs_rows_itself_is_no_alarm(loss_func):
    regressor(loss_func).fit(1, 1e-2)


def regressor(loss_func):
    """Outputs ``(8, 1)`` against targets ``(8,)``."""
    learn = learner(WithHiddenStates(1), "number", loss_func, callbacks=[HFCallback()])
    learn.data.add_tfm(lambda batch: (batch[0], batch[1].squeeze(1)))
    return learn


def test_a_patched_loop_underneath_is_a_warning():
    learn = make_learner("bert")
    with patched_loop(), pytest.warns(UserWarning, match="loop is patched.*nothing to unwrap"):
        learn.fit(1, 1e-2)


def test_each_fit_is_looked_at_anew_and_only_its_first_batch(monkeypatch):
    looks = []
    from fastai_hf_callback.model import sanity_checks as room

    monkeypatch.setattr(room, "find_reached_leaves", lambda loss: looks.append(1) or ReachedLeaves(opaque=["x"]))
    learn = learner(callbacks=[HFCallback()])
    learn.validate()
    assert looks == []
    learn.fit(2, 1e-2)
    assert len(looks) == 1
    learn.fit(1, 1e-2)
    assert len(looks) == 2


# -- registration ------------------------------------------------------------------------------------------------


def test_callback_fns_is_refused_with_the_cure():
    with pytest.raises(FastaiHFError, match=r"callback_fns.*callbacks=\[HFCallback\(\)\]") as caught:
        learner(callback_fns=[HFCallback]).fit(1, 1e-2)
    assert caught.value.cause == "registration"


def test_the_class_instead_of_an_instance_is_refused_with_the_cure():
    for use in (lambda learn: learn.fit(1, 1e-2), lambda learn: learn.validate()):
        with pytest.raises(FastaiHFError, match=r"The class HFCallback was given.*Write callbacks=\[HFCallback\(\)\]"):
            use(learner(callbacks=[HFCallback]))


# -- keep: for one batch and no longer -----------------------------------------------------------------------


def test_keep_hands_out_the_whole_output_during_the_batch_only():
    callback, seen = HFCallback(keep_output=True), []

    class Reader(Callback):
        def on_backward_begin(self, **kwargs):
            seen.append(callback.output[1][0].shape)

    learn = learner(callbacks=[callback, Reader()])
    learn.fit(1, 1e-2)
    assert set(seen) == {(8, 8)}
    assert callback.output is None
    for use in (learn.validate, learn.get_preds, learn.pred_batch):
        use()
        assert callback.output is None, use.__name__


def test_keep_lets_go_of_the_tensors():
    callback, held = HFCallback(keep_output=True), []

    class Reader(Callback):
        def on_loss_begin(self, **kwargs):
            held.append(weakref.ref(callback.output[1][0]))

    learner(callbacks=[callback, Reader()]).fit(1, 1e-2)
    assert len(held) > 6 and all(ref() is None for ref in held)


def test_nothing_is_kept_after_an_exception():
    callback = HFCallback(keep_output=True)

    def loss_func(output, target):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        learner(loss_func=loss_func, callbacks=[callback]).fit(1, 1e-2)
    assert callback.output is None


def test_without_keep_there_is_no_output():
    callback = HFCallback()
    learner(callbacks=[callback]).fit(1, 1e-2)
    assert callback.output is None


# -- what outlives the session ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "survive",
    (
        copy.deepcopy,
        lambda cb: pickle.loads(pickle.dumps(cb)),
        lambda cb: load_callback(type(cb), cb.get_state(), None),
    ),
    ids=("deepcopy", "pickle", "load_callback"),
)
def test_its_arguments_survive_and_nothing_else(survive):
    callback = HFCallback(element=("a", 1), check=False, keep_output=True)
    callback._store_output(torch.ones(2, requires_grad=True) * 2, torch.ones(2))
    again = survive(callback)
    assert (again.element, again.check, again.keep_output) == (("a", 1), False, True)
    assert again.output is None


def test_a_learner_with_it_is_exported_and_loaded(tmp_path):
    from fastai.basic_data import DataBunch  # noqa: F401

    from fastai_hf_callback.fastai1.callback import HFCallback as same

    learn = make_learner("bert", callbacks=[HFCallback(keep_output=True)])
    learn.path = tmp_path
    learn.fit(1, 1e-2)
    state = {cb.__class__: cb.get_state() for cb in learn.callbacks}
    assert state == {same: {"element": None, "check": True, "keep_output": True}}
    learn.save("saved")
    assert unwrap(learn.load("saved").pred_batch()).shape == (8, 3)


def test_it_is_a_plain_callback():
    assert not issubclass(HFCallback, LearnerCallback)
