"""The faults of images, masks, sounds and tables, next to the healthy learner that they were made of."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from fastai_hf_callback import diagnose
from tests.installed_stack import FASTAI_1

if FASTAI_1:
    pytest.skip("of fastai 2", allow_module_level=True)

from fastai.metrics import accuracy

from fastai_hf_callback.utils.rng import seed_everything
from tests.faults.kinds import pictures, sounds
from tests.faults.kinds.learners import make_learner, make_loaders
from tests.faults.stacks import stack

SPEC = {"bs": 16, "wd": 0.01, "rows": 256, "valid_rows": 96, "void": "none", "mask": "of padding", "metrics": "pixels"}


def ask_before_and_after(learn):
    """What is found before a fit, by Doctor, and after it: the causes of warnings and errors, and whether in doubt."""
    before = diagnose(learn)
    with stack.watched_by_doctor(learn, lambda line: None) as doctor, stack.no_progress(learn):
        learn.fit(1, 1e-3)
    asked = (before, doctor.diagnosis, diagnose(learn))
    return [[f.cause for f in one.at_least("warning")] or [one.in_doubt and "in doubt"] for one in asked]


def images(change=lambda images: images, relabel=lambda classes: classes, architecture="vit"):
    seed_everything(1)
    sets = []
    for n in (SPEC["rows"], SPEC["valid_rows"]):
        drawn, classes = pictures.draw_images(n, SPEC)
        sets.append(list(zip(change(drawn), relabel(classes))))
    model = pictures.classifier(architecture, pictures.CLASSES)
    dls = make_loaders(SPEC, *sets, n_inp=1)
    return make_learner(SPEC, dls, model, nn.CrossEntropyLoss(), [accuracy], inputs=["pixel_values"])


def to_unit(pixels):
    return (pixels.clamp(-2, 3) + 2) / 5


def of_one_gray(pixels):
    return pixels.mean((1, 2, 3), keepdim=True).expand_as(pixels).contiguous()


def shuffle(classes):
    return classes[torch.randperm(len(classes))]


CHANGES = {
    "black": (dict(change=lambda x: x * 0), "inputs-all-alike"),
    "black, then normalized": (dict(change=lambda x: (x * 0 - 0.45) / 0.22), "inputs-all-alike"),
    "of one value each": (dict(change=of_one_gray), "inputs-of-one-value"),
    "as a file holds them": (dict(change=lambda x: (to_unit(x) * 255).round()), "inputs-not-scaled"),
    "divided by 255 twice": (dict(change=lambda x: to_unit(x) / 255), "inputs-not-scaled"),
    "divided twice, then normalized": (dict(change=lambda x: (to_unit(x) / 255 - 0.45) / 0.22), "inputs-not-scaled"),
    "with NaN": (dict(change=lambda x: x.sqrt()), "inputs-not-finite"),
    "of other labels": (dict(relabel=shuffle), "in doubt"),
}


QUICK = ("black", "divided by 255 twice", "of other labels")


@pytest.mark.parametrize("architecture", ["vit", pytest.param("convnextv2", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in CHANGES]
)
def test_what_is_wrong_with_images_is_found_before_in_and_after_the_fit(name, architecture):
    changes, cause = CHANGES[name]
    asked = ask_before_and_after(images(architecture=architecture, **changes))
    assert all(cause in causes for causes in asked), asked


@pytest.mark.parametrize("change", [lambda x: x, to_unit], ids=["mean 0", "between 0 and 1"])
def test_the_same_images_without_it_raise_nothing(change):
    assert ask_before_and_after(images(change)) == [[False]] * 3


def test_a_batch_norm_behind_the_first_layer_takes_any_scale():
    assert ask_before_and_after(images(lambda x: (to_unit(x) * 255).round(), architecture="resnet")) == [[False]] * 3


class Reordered(nn.Module):
    """Takes images with the channels last, as numpy has them."""

    def __init__(self, reorder):
        super().__init__()
        self.inner, self.reorder = pictures.classifier("vit", pictures.CLASSES), reorder

    def forward(self, images):
        return self.inner(self.reorder(images)).logits


@pytest.mark.parametrize("is_right", [True, False])
def test_channels_that_were_reshaped_to_the_front_are_misread(is_right):
    seed_everything(1)
    drawn = [pictures.draw_images(n, SPEC) for n in (64, 32)]
    dls = make_loaders(SPEC, *(list(zip(x.permute(0, 2, 3, 1), y)) for x, y in drawn), n_inp=1)
    reorder = (lambda x: x.permute(0, 3, 1, 2)) if is_right else (lambda x: x.reshape(len(x), 3, 16, 16))
    learn = make_learner(SPEC, dls, Reordered(reorder), nn.CrossEntropyLoss(), [accuracy], unwraps=False)
    assert [f.cause for f in diagnose(learn).at_least("warning")] == ([] if is_right else ["channels-misread"])


class IgnoresImages(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = pictures.classifier("vit", pictures.CLASSES)

    def forward(self, images):
        return self.inner(images * 0.0).logits


def test_a_model_that_loses_its_images_ignores_them():
    learn = images()
    learn.model = IgnoresImages()
    found = diagnose(learn)
    assert "inputs-ignored" in [f.cause for f in found.at_least("error")]


# -- a class for every pixel ---------------------------------------------------------------------------------------


class MisreadLoss(nn.Module):
    def forward(self, outputs, target):
        return functional.cross_entropy(pictures.enlarge(outputs).reshape(-1, pictures.CLASSES), target.reshape(-1))


def masks(loss=None, change=lambda masks: masks):
    seed_everything(1)
    sets = []
    for n in (SPEC["rows"], SPEC["valid_rows"]):
        images, drawn = zip(*pictures.draw_masks(n, SPEC))
        sets.append(list(zip(images, change(torch.stack(drawn)))))
    dls, loss = make_loaders(SPEC, *sets, n_inp=1), loss or pictures.SmallOutputsLoss()
    return make_learner(SPEC, dls, pictures.segmenter(), loss, [pictures.pixel_accuracy], inputs=["pixel_values"])


@pytest.mark.parametrize(
    "changes, cause",
    [
        (dict(), False),
        (dict(loss=MisreadLoss()), "loss-misreads-classes"),
        (dict(change=lambda drawn: drawn * 0), "labels-constant"),
        (dict(change=shuffle), "in doubt"),
    ],
    ids=["healthy", "reshaped", "of one class", "of other images"],
)
def test_what_is_wrong_with_masks_is_found(changes, cause):
    asked = ask_before_and_after(masks(**changes))
    assert all(cause in causes for causes in asked), asked


def test_pictures_as_wide_as_the_model_are_no_hidden_state():
    spec = {**SPEC, "loss": "flat, of enlarged outputs"}
    seed_everything(1)
    learn = pictures.build_segmenter(spec)
    assert learn.model.model.config.decoder_hidden_size == pictures.MASK_SIDE
    assert ask_before_and_after(learn) == [[False]] * 3


# -- boxes, sounds, tables -----------------------------------------------------------------------------------------


def test_the_models_own_loss_is_no_fault_until_it_is_compared_with_targets():
    seed_everything(1)
    learn = pictures.build_detector({**SPEC, "rows": 64, "valid_rows": 32, "queries": 4})
    assert diagnose(learn).at_least("warning") == []
    learn.loss_func = nn.MSELoss()
    assert "output-is-the-loss" in diagnose(learn).causes


@pytest.mark.parametrize("loudness", [0.0, 1.0])
def test_silence_is_found(loudness):
    seed_everything(1)
    asked = ask_before_and_after(sounds.build_of_waves({**SPEC, "architecture": "Wav2Vec2", "loudness": loudness}))
    assert all("inputs-all-alike" in causes for causes in asked) if not loudness else asked == [[False]] * 3
