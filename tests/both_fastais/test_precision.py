"""Half-precision checkpoints in a real learner of the fastai that is installed: before, during and after a fit."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch

pytest.importorskip("fastai")

from fastai_hf_callback import Doctor, HFCallback, compare, diagnose
from tests.installed_fastai import FASTAI, build_callback, get_recorded, make_learner, only_on, seed_loaders

if FASTAI == 1:
    from fastai.train import to_fp16  # noqa: F401

needs_half = pytest.mark.skipif(torch.__version__.startswith("1."), reason="torch 1 has no half products on a CPU")
DTYPES = (torch.bfloat16, torch.float16)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
pytestmark = pytest.mark.filterwarnings("ignore:.*trainable weights were")


def half_learner(dtype=torch.bfloat16, model="bert", task="classes", **kwargs):
    torch.manual_seed(0)
    learn = make_learner(model, task, **kwargs)
    learn.model.to(dtype)
    return learn


def kept():
    return [HFCallback(train_in_float32=False)]


def dtypes(learn, trainable=None):
    return {p.dtype for p in learn.model.parameters() if trainable in (None, p.requires_grad)}


# -- it trains -------------------------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("task", ("classes", "labels", "number"))
def test_a_half_precision_checkpoint_trains_as_its_float32_copy(task, dtype):
    half, whole = half_learner(dtype, task=task), half_learner(dtype, task=task)
    whole.model.float()
    for learn in (half, whole):
        torch.manual_seed(1)
        seed_loaders(learn, 1)
        learn.fit(2, 1e-3)
    assert dtypes(half) == {torch.float32}
    assert all(torch.equal(a, b) for a, b in zip(half.model.parameters(), whole.model.parameters()))
    assert get_recorded(half)[1] == get_recorded(whole)[1]


@needs_half
def test_kept_in_half_precision_most_weights_stand_still():
    """The broken arm: what the callback is for."""
    moved = {}
    for name, callbacks in (("float32", None), ("kept", kept())):
        learn = half_learner(task="number", callbacks=callbacks)
        before = [p.detach().float().clone() for p in learn.model.parameters()]
        learn.fit(1, 1e-5)
        pairs = [(p.detach().float() != b) for p, b in zip(learn.model.parameters(), before) if b.dim() == 2]
        moved[name] = float(torch.cat([pair.reshape(-1) for pair in pairs[1:]]).float().mean())
    assert moved["float32"] > 0.9 and moved["kept"] < 0.5, moved


@needs_half
def test_it_is_said_once_a_learner():
    learn = half_learner()
    learn.freeze()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        learn.fit(1, 1e-3)
        learn.unfreeze()
        learn.fit(1, 1e-3)
    said = [str(one.message) for one in told if "HFCallback(train_in_float32=False)" in str(one.message)]
    assert len(said) == 1 and "trainable weights were bfloat16" in said[0]


def test_a_float32_learner_hears_nothing():
    learn = make_learner("bert")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        learn.fit(1, 1e-3)


# -- frozen weights --------------------------------------------------------------------------------------------------


@needs_half
@each_dtype
def test_frozen_weights_keep_their_precision_until_they_are_unfrozen(dtype):
    learn = half_learner(dtype)
    learn.freeze()
    frozen = {n: p.detach().clone() for n, p in learn.model.named_parameters() if not p.requires_grad}
    learn.fit(1, 1e-3)
    assert dtypes(learn, trainable=True) == {torch.float32} and dtypes(learn, trainable=False) == {dtype}
    assert all(torch.equal(p, frozen[n]) for n, p in learn.model.named_parameters() if n in frozen)
    learn.unfreeze()
    learn.fit(1, 1e-3)
    assert dtypes(learn) == {torch.float32}
    assert not any(m._forward_pre_hooks for m in learn.model.modules()), "nothing is left to be cast"


@needs_half
@only_on(2)
def test_fine_tune_and_gradual_unfreezing():
    learn = half_learner()
    learn.fine_tune(1, 1e-3, freeze_epochs=1)
    assert dtypes(learn) == {torch.float32}
    learn = half_learner()
    learn.freeze()
    unfreeze = build_callback("after_validate", lambda: learn.model.requires_grad_(True))
    learn.fit(2, 1e-3, cbs=[unfreeze])
    assert dtypes(learn) == {torch.float32}, "unfrozen within a fit, float32 from the next epoch on"


# -- predictions -----------------------------------------------------------------------------------------------------


@needs_half
@each_dtype
@pytest.mark.parametrize("task", ("classes", "number"))
def test_predictions_before_any_fit_are_float32_and_change_no_weight(task, dtype):
    learn = half_learner(dtype, task=task)
    learn.validate()
    predictions, targets = learn.get_preds()
    assert predictions.dtype == torch.float32 and isinstance(predictions.numpy(), np.ndarray)
    assert dtypes(learn) == {dtype}
    learn.model.float()
    exact = learn.get_preds()[0]
    assert torch.allclose(predictions, exact, atol=0.05) and len(targets) == len(exact)


@needs_half
@pytest.mark.parametrize("callbacks", (None, "kept"))
def test_predictions_after_a_fit_are_float32(callbacks):
    learn = half_learner(callbacks=kept() if callbacks else None)
    learn.freeze()
    learn.fit(1, 1e-3)
    outputs, _, losses = learn.get_preds(with_loss=True)
    assert outputs.dtype == losses.dtype == torch.float32
    assert (dtypes(learn) == {torch.bfloat16}) == bool(callbacks)


# -- what must not be undone, and what must survive --------------------------------------------------------------------


@needs_half
@only_on(1)
def test_fastais_own_halving_is_left_alone():
    learn = make_learner("bert").to_fp16()
    learn.fit(1, 1e-3)
    assert dtypes(learn) == {torch.float16}
    learn.to_fp32()
    learn.fit(1, 1e-3)
    assert dtypes(learn) == {torch.float32}


@needs_half
@only_on(1)
def test_fastais_own_halving_is_examined_before_a_first_fit():
    """Its callback begins by changing an optimizer, and there is none yet."""
    found = diagnose(make_learner("bert").to_fp16())
    assert "unknown-failure" not in found.causes and found.evidence.skipped == []


@needs_half
@only_on(2)
@pytest.mark.filterwarnings("ignore:User provided device_type of 'cuda'", "ignore:CUDA is not available")
@pytest.mark.filterwarnings("ignore:torch.cuda.amp", "ignore:.*GradScaler")
@pytest.mark.parametrize("mode", ("to_fp16", "to_bf16"))
def test_fastais_mixed_precision_gets_float32_weights(mode):
    learn = getattr(half_learner(), mode)()
    learn.fit(1, 1e-3)
    assert dtypes(learn) == {torch.float32}


def test_optimizers_hold_the_same_parameters_and_float32_averages():
    learn = half_learner(callbacks=[])
    held = list(learn.model.parameters())
    add(learn, HFCallback())
    learn.fit(1, 1e-3)
    learn.fit(1, 1e-3)
    assert all(one is other for one, other in zip(held, learn.model.parameters()))
    averages = [value for state in learn.opt.state.values() for value in state.values() if torch.is_tensor(value)]
    assert averages and {value.dtype for value in averages if value.is_floating_point()} == {torch.float32}


def add(learn, callback):
    learn.callbacks.append(callback) if FASTAI == 1 else learn.add_cb(callback)


@needs_half
def test_a_learner_with_casts_is_exported_and_copied(tmp_path):
    learn = half_learner()
    learn.freeze()
    learn.fit(1, 1e-3)
    expected = learn.get_preds()[0]
    model = learn.model
    for made in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        learn.model = made
        assert torch.equal(learn.get_preds()[0], expected)


def test_the_setting_is_kept_by_copies():
    for value in (True, False):
        callback = HFCallback(train_in_float32=value)
        for made in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
            assert made.train_in_float32 is value and made.corrections.precision.in_float32 is value


# -- compare and diagnose ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_half
@pytest.mark.parametrize("frozen", (False, True))
@pytest.mark.parametrize("callbacks", (None, "kept"))
def test_the_patched_arm_gets_the_same_precision(frozen, callbacks):
    def make():
        learn = half_learner(callbacks=kept() if callbacks else None)
        if frozen:
            learn.freeze()
        return learn

    comparison = compare(make, lambda learn: learn.fit(1, 1e-2), progress=False)
    assert comparison.identical and comparison.broken_arm_differs, str(comparison)


@needs_half
def test_a_weight_that_was_only_made_float32_has_not_moved():
    comparison = compare(lambda: half_learner(), lambda learn: learn.fit(1, 0.0), arms=("callback",), progress=False)
    trace = comparison.traces["callback"]
    assert trace.initial_weights == trace.final_weights


@needs_half
@each_dtype
def test_diagnose_knows_that_the_callback_sees_to_it_and_leaves_the_weights_as_they_are(dtype):
    learn = half_learner(dtype)
    before = [p.detach().clone() for p in learn.model.parameters()]
    causes = diagnose(learn).causes
    assert "half-weights-without-master" not in causes
    assert dtypes(learn) == {dtype} and all(torch.equal(a, b) for a, b in zip(before, learn.model.parameters()))


@pytest.mark.slow
@needs_half
@each_dtype
def test_diagnose_finds_kept_half_weights_and_its_cure_mends_them(dtype):
    learn = half_learner(dtype, callbacks=kept())
    learn.freeze()
    frozen = [p for p in learn.model.parameters() if not p.requires_grad]
    (finding,) = [f for f in diagnose(learn).findings if f.cause == "half-weights-without-master"]
    assert str(dtype)[6:] in finding.message and (".float()" in finding.fix or "to_fp32" in finding.fix)
    finding.apply(learn)
    assert not any(p.requires_grad for p in frozen), "no cure unfreezes"
    assert dtypes(learn) == {torch.float32}
    assert "half-weights-without-master" not in diagnose(learn).causes
    learn.fit(1, 1e-3)


@needs_half
def test_frozen_half_weights_are_no_finding():
    learn = half_learner()
    learn.freeze()
    assert "half-weights-without-master" not in diagnose(learn).causes


@needs_half
def test_doctor_knows_what_the_callback_has_done_and_what_it_was_told_to_keep():
    for callbacks, expected in ((None, False), (kept(), True)):
        learn = half_learner(callbacks=callbacks)
        doctor = Doctor(*[learn][: FASTAI % 2], say=lambda line: None)  # fastai 1's is told the learner
        add(learn, doctor)
        learn.fit(1, 1e-3)
        assert ("half-weights-without-master" in doctor.diagnosis.causes) is expected


@only_on(2)
def test_weights_are_float32_before_other_callbacks_see_the_fit_begin():
    seen = []
    look = build_callback("before_fit", lambda: seen.append(learn.model.model.classifier.weight.dtype))
    learn = half_learner(callbacks=[look, HFCallback()])
    learn.validate()
    learn.fit(1, 1e-3)
    assert seen == [torch.bfloat16, torch.float32]
