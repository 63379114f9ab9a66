"""``HFCallback`` in a real learner of the fastai that is installed."""

import copy
import pickle
import warnings
import weakref

import pytest
import torch
from torch import nn

pytest.importorskip("fastai")

from fastai_hf_callback import (
    FastaiHFError,
    GradientError,
    HFCallback,
    InputError,
    OutputError,
    explain,
    patched_loop,
    unwrap,
)
from fastai_hf_callback.model.gradient_flow import ReachedLeaves
from tests.installed_fastai import (
    BEFORE_BACKWARD,
    FASTAI,
    MixedPrecision,
    MSELossFlat,
    build_callback,
    build_learner,
    build_output_reader,
    get_datasets,
    make_learner,
    only_on,
    sort_callbacks,
)


class WithHiddenStates(nn.Module):
    """A model whose output is a tuple: logits first, then what nobody asked for."""

    def __init__(self, width=3):
        super().__init__()
        self.embed, self.head = nn.Embedding(50, 8), nn.Linear(8, width)

    def forward(self, input_ids):
        hidden = self.embed(input_ids).mean(1)
        return self.head(hidden), (hidden, hidden * 2)


def learner(model=None, *args, **kwargs):
    return build_learner(model or WithHiddenStates(), *args, **kwargs)


# -- it unwraps, on every path ---------------------------------------------------------------------------


def test_every_path_of_the_learner_sees_logits():
    learn = make_learner("bert")
    learn.fit(1, 1e-2)
    learn.lr_find(num_it=3) if FASTAI == 1 else learn.lr_find(num_it=12, show_plot=False)
    learn.validate()
    outputs, targets, losses = learn.get_preds(with_loss=True)
    assert outputs.shape == (48, 3) and losses.shape == targets.shape == (48,)
    assert torch.allclose(outputs.sum(1), torch.ones(48), atol=1e-5), "fastai applied the loss's activation"
    if FASTAI == 1:
        assert learn.pred_batch().shape == (8, 3)
    else:
        inputs, _, _, decoded = learn.get_preds(with_input=True, with_decoded=True)
        assert [tuple(part.shape) for part in inputs] == [(48, 8), (48, 8)]
        assert decoded.shape == (48,) and torch.equal(decoded, outputs.argmax(1))


def test_without_the_callback_the_same_learner_fails():
    with pytest.raises((TypeError, AttributeError)):
        make_learner("bert", callbacks=[]).fit(1, 1e-2)


@pytest.mark.parametrize("kind", (tuple, list, dict))
def test_tuples_lists_and_dicts(kind):
    class Model(WithHiddenStates):
        def forward(self, input_ids):
            logits, hidden = super().forward(input_ids)
            return {"logits": logits, "hidden": hidden} if kind is dict else kind([logits, hidden])

    learner(Model(), callbacks=[HFCallback()]).fit(1, 1e-2)


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
    learner(model, callbacks=[HFCallback()]).fit(1, 1e-2)


@only_on(1)
def test_a_second_one_finds_a_tensor_and_lets_it_pass():
    learner(callbacks=[HFCallback(), HFCallback()]).fit(1, 1e-2)


def test_element_chooses():
    learn = learner(
        WithHiddenStates(5),
        loss_func=lambda hidden, target: hidden.pow(2).mean(),
        callbacks=[HFCallback(element=lambda output: output[1][1])],
    )
    learn.fit(1, 1e-2)
    assert learn.get_preds()[0].shape == (48, 8)


def test_several_names_for_losses_of_several_tensors():
    class Spans(WithHiddenStates):
        def forward(self, input_ids):
            logits, _ = super().forward(input_ids)
            return {"start_logits": logits, "end_logits": logits * 2, "hidden": logits}

    def loss_func(output, target):
        start, end = output
        return nn.functional.cross_entropy(start, target) + nn.functional.cross_entropy(end, target)

    learner(Spans(), loss_func=loss_func, callbacks=[HFCallback(element=("start_logits", "end_logits"))]).fit(1, 1e-2)


@only_on(2)
def test_registered_for_one_fit_alone():
    learn = learner()
    learn.fit(1, 1e-2, cbs=[HFCallback()])
    assert not [cb for cb in learn.cbs if isinstance(cb, HFCallback)]


# -- its order ------------------------------------------------------------------------------------------------


def test_it_runs_before_whatever_reads_the_output():
    seen = []
    early = build_output_reader(lambda output: seen.append(type(output)), order=-999)
    learner(callbacks=[early, HFCallback()]).fit(1, 1e-2)
    assert set(seen) == {torch.Tensor}
    ordered = sort_callbacks([MixedPrecision.__new__(MixedPrecision), early, HFCallback()])
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


@pytest.mark.parametrize(
    "model, cause", [(Detached, "output-detached"), (NoGrad, "no-gradient-in-model"), (Rebuilt, "output-detached")]
)
def test_a_loss_that_reaches_no_parameter_stops_the_fit(model, cause):
    with pytest.raises(
        GradientError, match="reaches none of the model's parameters.*float32.*8, 3.*learn.unfreeze"
    ) as caught:
        learner(model(), callbacks=[HFCallback()]).fit(1, 1e-2)
    assert caught.value.cause == cause
    assert caught.value.message.startswith("The loss reaches none"), "fastai writes before it, the message stays"


def test_a_detached_loss_is_told_from_a_detached_output():
    with pytest.raises(GradientError, match="the output has a graph and the loss none") as caught:
        learner(loss_func=lambda output, target: output.detach().pow(2).mean(), callbacks=[HFCallback()]).fit(1, 1e-2)
    assert caught.value.cause == "loss-detached"


def test_without_the_check_it_trains_on_and_moves_nothing():
    learn = learner(Detached(), callbacks=[HFCallback(check=False)], wd=0.0)
    before = copy.deepcopy(learn.model.state_dict())
    learn.fit(1, 1e-2)
    assert all(torch.equal(before[name], value) for name, value in learn.model.state_dict().items())


def freeze_all(learn):
    for parameter in learn.model.parameters():
        parameter.requires_grad_(False)


@only_on(1)
def test_everything_frozen_is_said():
    learn = learner(callbacks=[HFCallback()])
    freeze_all(learn)
    with pytest.raises(GradientError, match="every parameter is frozen"):
        learn.fit(1, 1e-2)


@only_on(2)
def test_everything_frozen_is_said_by_the_callback_or_by_explain():
    learn = learner(callbacks=[HFCallback()])
    learn.create_opt()  # made of a model that is frozen already, fastai 2's own raises, as below
    freeze_all(learn)
    with pytest.raises(GradientError, match="every parameter is frozen"):
        learn.fit(1, 1e-2)
    learn.opt = None
    with pytest.raises(IndexError) as raised:
        learn.fit(1, 1e-2)
    assert explain(raised.value).causes == ["everything-frozen"]


@only_on(2)
def test_what_failed_is_said_in_fastai_2s_words():
    learn = make_learner("bert", callbacks=[])
    with pytest.raises(Exception) as raised:
        learn.fit(1, 1e-2)
    (finding,) = explain(raised.value).findings
    assert (finding.cause, finding.fix) == ("output-not-unwrapped", "Learner(..., cbs=[HFCallback()])")


def test_reentrant_checkpointing_is_no_alarm():
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(WithHiddenStates):
        def forward(self, input_ids):
            embedded = self.embed(input_ids).detach().requires_grad_()
            modern = {"use_reentrant": True} if "use_reentrant" in checkpoint.__code__.co_varnames else {}
            return checkpoint(lambda x: self.head(x.mean(1)), embedded, **modern), None

    learner(Checkpointed(), callbacks=[HFCallback()]).fit(1, 1e-2)


def regressor(loss_func):
    """Outputs ``(8, 1)`` against targets ``(8,)``."""
    learn = learner(WithHiddenStates(1), "number", loss_func, callbacks=[HFCallback()])
    for dataset in get_datasets(learn):
        dataset.tensors = (dataset.tensors[0], dataset.tensors[1].squeeze(1))
    return learn


@pytest.mark.parametrize("loss_func", (nn.MSELoss(), nn.L1Loss(), lambda o, y: ((o - y) ** 2).mean()))
def test_an_output_that_would_be_broadcast_stops_the_fit(loss_func):
    with pytest.raises(OutputError, match=r"float32 \(8, 1\).*float32 \(8,\).*every row with every target"):
        regressor(loss_func).fit(1, 1e-2)


@pytest.mark.parametrize(
    "loss_func",
    (MSELossFlat(), lambda o, y: nn.functional.mse_loss(o[:, 0], y), lambda o, y: o.pow(2).mean()),
    ids=("flat", "by hand", "without targets"),
)
def test_a_loss_that_pairs_rows_itself_is_no_alarm(loss_func):
    regressor(loss_func).fit(1, 1e-2)


@only_on(2)
def test_mixup_of_token_ids_is_refused():
    from fastai.callback.mixup import MixUp

    with pytest.raises(InputError, match="mixup was asked for and the input is int64.*cannot be averaged"):
        learner(callbacks=[HFCallback(), MixUp()]).fit(1, 1e-2)


def test_a_patched_loop_underneath_is_a_warning():
    learn = make_learner("bert")
    with patched_loop(), pytest.warns(UserWarning, match="loop is patched.*nothing to unwrap"):
        learn.fit(1, 1e-2)


def test_each_fit_is_looked_at_again_and_only_its_first_batch(monkeypatch):
    looks = []
    from fastai_hf_callback.model import sanity_checks

    monkeypatch.setattr(
        sanity_checks, "find_reached_leaves", lambda loss: looks.append(1) or ReachedLeaves(opaque=["x"])
    )
    learn = learner(callbacks=[HFCallback()])
    learn.validate()
    learn.get_preds()
    assert looks == []
    learn.fit(2, 1e-2)
    assert len(looks) == 1
    learn.fit(1, 1e-2)
    assert len(looks) == 2


# -- registration ------------------------------------------------------------------------------------------------


@only_on(1)
def test_callback_fns_is_refused_with_the_cure():
    with pytest.raises(FastaiHFError, match=r"callback_fns.*callbacks=\[HFCallback\(\)\]") as caught:
        learner(callback_fns=[HFCallback]).fit(1, 1e-2)
    assert caught.value.cause == "registration"


@only_on(1)
def test_the_class_instead_of_an_instance_is_refused_with_the_cure():
    for use in (lambda learn: learn.fit(1, 1e-2), lambda learn: learn.validate()):
        with pytest.raises(FastaiHFError, match=r"The class HFCallback was given.*Write callbacks=\[HFCallback\(\)\]"):
            use(learner(callbacks=[HFCallback]))


@only_on(2)
def test_the_class_serves_as_well_since_fastai_makes_the_instance():
    learn = learner(callbacks=HFCallback)
    learn.fit(1, 1e-2)
    assert isinstance(learn.hf, HFCallback)


@only_on(2)
def test_a_learner_as_argument_is_refused_with_the_cure():
    with pytest.raises(FastaiHFError, match=r"given a Learner.*Write Learner\(..., cbs=\[HFCallback\(\)\]\)") as caught:
        HFCallback(learner())
    assert caught.value.cause == "registration"


@only_on(2)
def test_registered_twice_is_told_and_trains():
    learn = learner(callbacks=[HFCallback(), HFCallback()])
    with pytest.warns(UserWarning, match="registered 2 times.*remove_cbs"):
        learn.fit(1, 1e-2)
    learn.remove_cbs(HFCallback).add_cb(HFCallback())
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        learn.fit(1, 1e-2)


# -- keep: for one batch and no longer -----------------------------------------------------------------------


def test_keep_hands_out_the_whole_output_during_the_batch_only():
    callback, seen = HFCallback(keep_output=True), []
    reader = build_callback(BEFORE_BACKWARD, lambda: seen.append(callback.output[1][0].shape))
    learn = learner(callbacks=[callback, reader])
    learn.fit(1, 1e-2)
    assert set(seen) == {(8, 8)}
    assert callback.output is None
    for use in (learn.validate, learn.get_preds, *([learn.pred_batch] if FASTAI == 1 else [])):
        use()
        assert callback.output is None, use.__name__


@only_on(2)
def test_keep_hands_out_nothing_before_the_batch():
    callback, seen = HFCallback(keep_output=True), []
    learn = learner(callbacks=[callback, build_callback("before_batch", lambda: seen.append(callback.output))])
    learn.fit(1, 1e-2)
    assert len(seen) > 6 and set(seen) == {None}


def test_keep_lets_go_of_the_tensors():
    callback, held = HFCallback(keep_output=True), []
    reader = build_output_reader(lambda output: held.append(weakref.ref(callback.output[1][0])), order=0)
    learner(callbacks=[callback, reader]).fit(1, 1e-2)
    assert len(held) > 6 and all(ref() is None for ref in held)


def failing(output, target):
    raise ZeroDivisionError("no loss")


@only_on(1)
def test_nothing_is_kept_after_an_exception():
    callback = HFCallback(keep_output=True)
    with pytest.raises(ZeroDivisionError):
        learner(loss_func=failing, callbacks=[callback]).fit(1, 1e-2)
    assert callback.output is None


@only_on(2)
def test_after_an_exception_the_output_goes_when_the_next_run_begins():
    callback = HFCallback(keep_output=True)
    learn = learner(loss_func=failing, callbacks=[callback])
    with pytest.raises(ZeroDivisionError):
        learn.fit(1, 1e-2)
    assert learn.pred is not None, "fastai keeps its own batch too"
    learn("before_fit")
    assert callback.output is None


def test_without_keep_there_is_no_output():
    callback = HFCallback()
    learner(callbacks=[callback]).fit(1, 1e-2)
    assert callback.output is None


# -- what outlives the session ---------------------------------------------------------------------------------


def load_from_state(callback):
    """As fastai 1 does it when it loads a learner."""
    from fastai.basic_train import load_callback

    return load_callback(type(callback), callback.get_state(), None)


@pytest.mark.parametrize(
    "survive",
    (copy.deepcopy, lambda cb: pickle.loads(pickle.dumps(cb)), pytest.param(load_from_state, marks=only_on(1))),
    ids=("deepcopy", "pickle", "load_callback"),
)
def test_its_arguments_survive_and_nothing_of_the_batch(survive):
    callback = HFCallback(element=("a", 1), check=False, keep_output=True)
    callback._output = torch.ones(2, requires_grad=True) * 2
    again = survive(callback)
    assert (again.element, again.check, again.keep_output) == (("a", 1), False, True)
    assert again.output is None


@only_on(2)
def test_it_shadows_nothing_of_the_learner():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        make_learner("bert", callbacks=[HFCallback(keep_output=True)]).fit(1, 1e-2)


@only_on(1)
def test_a_learner_with_it_is_exported_and_loaded(tmp_path):
    learn = make_learner("bert", callbacks=[HFCallback(keep_output=True)])
    learn.path = tmp_path
    learn.fit(1, 1e-2)
    state = {cb.__class__: cb.get_state() for cb in learn.callbacks}
    assert state == {HFCallback: {"element": None, "check": True, "keep_output": True, "train_in_float32": True}}
    learn.save("saved")
    assert unwrap(learn.load("saved").pred_batch()).shape == (8, 3)


@only_on(1)
def test_it_is_a_plain_callback():
    from fastai.basic_train import LearnerCallback

    assert not issubclass(HFCallback, LearnerCallback)
