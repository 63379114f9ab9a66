"""heal and trusted: weights loaded as weights alone, and full pickles from named files only."""

import io
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("fastai.basic_train")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_train import Learner, load_learner
    from fastai.callbacks.tracker import SaveModelCallback

from fastai_hf_callback import InvalidInputError, heal, trusted
from fastai_hf_callback.fastai1.compat import heal as mending
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from tests.fastai1.compat.heal.patched_state import KNOWS_WEIGHTS_ONLY, skip_unless_broken
from tests.fastai1.data_block import block_data
from tests.fastai1.learners import LENGTH, make_learner
from tests.tiny_models import VOCAB

pytestmark = pytest.mark.slow


# -- load ------------------------------------------------------------------------------------------


def trained(path, **kwargs):
    learn = make_learner("bert", path=path, **kwargs)
    with no_progress(learn):
        learn.fit_one_cycle(1, 1e-2)
    return learn


def hyperparameters(learn):
    return [{name: value for name, value in group.items() if name != "params"} for group in learn.opt.param_groups]


def test_load_after_fit_one_cycle_fails_bare(tmp_path):
    skip_unless_broken("optimizer-load")
    learn = trained(tmp_path)
    learn.save("one")
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        learn.load("one")
    with no_progress(learn), pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        learn.lr_find(num_it=3)


def test_a_learner_saved_loaded_searched_and_trained_on(tmp_path, capsys):
    with heal():
        learn = trained(tmp_path)
        learn.save("one")
        fresh = make_learner("bert", path=tmp_path).load("one")
        assert hyperparameters(fresh) == hyperparameters(learn)
        assert all(
            torch.equal(a, b) for a, b in zip(fresh.model.state_dict().values(), learn.model.state_dict().values())
        )
        assert fresh.opt.opt.state and all("exp_avg" in state for state in fresh.opt.opt.state.values())
        with no_progress(fresh):
            fresh.lr_find(num_it=6)
            assert len(fresh.recorder.lrs) > 2
            before = torch.cat([p.detach().reshape(-1).clone() for p in fresh.model.parameters()])
            fresh.fit_one_cycle(1, 1e-2)
        assert not torch.equal(before, torch.cat([p.detach().reshape(-1) for p in fresh.model.parameters()]))


def test_the_best_model_is_loaded(tmp_path, capsys):
    learn = make_learner("bert", path=tmp_path)
    with heal(), no_progress(learn):
        learn.fit_one_cycle(2, 1e-2, callbacks=[SaveModelCallback(learn, every="improvement", name="best")])
    assert (tmp_path / "models" / "best.pth").exists()


class Hostile:
    """Unpickled, it makes a folder."""

    def __reduce__(self):
        return os.mkdir, ("made-by-a-pickle",)


def test_load_still_loads_weights_only(tmp_path):
    if not KNOWS_WEIGHTS_ONLY:
        pytest.skip("this torch loads full pickles always")
    learn = make_learner("bert", path=tmp_path)
    (tmp_path / "models").mkdir()
    torch.save({"model": Hostile(), "opt": {}}, str(tmp_path / "models" / "bad.pth"))
    with heal(), pytest.raises(pickle.UnpicklingError):
        learn.load("bad")
    assert not Path("made-by-a-pickle").exists()


def test_what_the_user_allowed_stays_allowed(tmp_path):
    skip_unless_broken("optimizer-load")
    learn = trained(tmp_path)
    learn.save("one")
    with torch.serialization.safe_globals(mending._list_numpy_scalar_globals()):
        before = set(map(str, torch.serialization.get_safe_globals()))
        with heal():
            learn.load("one")
        assert set(map(str, torch.serialization.get_safe_globals())) == before


def test_numbers_saved_under_numpy_1s_name_load(tmp_path, monkeypatch):
    skip_unless_broken("optimizer-load")
    learn = trained(tmp_path)
    learn.save("one")
    saved = zipfile.ZipFile(str(tmp_path / "models" / "one.pth"))
    with zipfile.ZipFile(str(tmp_path / "models" / "old.pth"), "w") as old:
        for name in saved.namelist():
            old.writestr(name, saved.read(name).replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n"))
    with heal():
        assert hyperparameters(make_learner("bert").load(tmp_path / "models" / "old")) == hyperparameters(learn)


# -- trust -----------------------------------------------------------------------------------------

weights_only = pytest.mark.skipif(not KNOWS_WEIGHTS_ONLY, reason="this torch loads full pickles always")


def on_items(path):
    model = nn.Sequential(nn.Embedding(VOCAB, 4), nn.Flatten(), nn.Linear(4 * LENGTH, 3))
    return Learner(block_data(path), model, path=path, silent=True)


@pytest.fixture
def exported(tmp_path):
    learn = on_items(tmp_path)
    learn.export("mine.pkl")
    learn.export("other.pkl")
    return tmp_path


@weights_only
def test_a_learner_is_not_loaded_bare(exported):
    with heal(), pytest.raises(pickle.UnpicklingError):
        load_learner(exported, "mine.pkl")


def test_a_trusted_learner_is_loaded(exported):
    with trusted(exported / "mine.pkl"):
        assert load_learner(exported, "mine.pkl").data.c == 3


@weights_only
@pytest.mark.parametrize("other", ["other.pkl", "mine.pkl.pkl", "min", "sub/mine.pkl", "link.pkl"])
def test_another_file_is_still_refused(exported, other):
    (exported / "sub").mkdir()
    for name in ("mine.pkl.pkl", "min", "sub/mine.pkl"):
        torch.save(Hostile(), str(exported / name))
    (exported / "link.pkl").symlink_to(exported / "other.pkl")
    with trusted(str(exported / "mine.pkl")), pytest.raises(pickle.UnpicklingError):
        torch.load(str(exported / other))
    assert not Path("made-by-a-pickle").exists()


@weights_only
def test_a_folder_trusts_what_is_in_it_and_no_link_out_of_it(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "in-or-out"
    for folder in (inside / "deep", outside):
        folder.mkdir(parents=True)
        torch.save(np.float64(1), str(folder / "a"))
    (inside / "link").symlink_to(outside / "a")
    with trusted(inside):
        assert torch.load(inside / "deep" / "a") == 1
        for file in (outside / "a", inside / "link", inside / ".." / "in-or-out" / "a"):
            with pytest.raises(pickle.UnpicklingError):
                torch.load(file)


@weights_only
def test_open_files_are_judged_by_what_is_open(tmp_path, monkeypatch):
    for name in ("mine", "other"):
        torch.save(np.float64(1), name)
    with trusted("mine"):
        monkeypatch.chdir(tmp_path.parent)
        with open(str(tmp_path / "mine"), "rb") as file:
            assert torch.load(file) == 1
        with open(str(tmp_path / "other"), "rb") as file, pytest.raises(pickle.UnpicklingError):
            torch.load(file)
        memory = io.BytesIO((tmp_path / "mine").read_bytes())
        memory.name = str(tmp_path / "mine")
        with pytest.raises(pickle.UnpicklingError):
            torch.load(memory)
        with open(str(tmp_path / "mine"), "rb") as file:
            os.replace(str(tmp_path / "other"), str(tmp_path / "mine"))
            with pytest.raises(pickle.UnpicklingError):
                torch.load(file)


@weights_only
def test_the_callers_own_word_counts(tmp_path):
    torch.save(np.float64(1), "mine")
    with trusted("mine"):
        assert torch.load("mine") == torch.load(f="mine") == torch.load("mine", weights_only=None) == 1
        with pytest.raises(pickle.UnpicklingError):
            torch.load("mine", weights_only=True)


@weights_only
def test_trust_ends_with_its_block_also_where_blocks_nest():
    for name in ("outer", "inner"):
        torch.save(np.float64(1), name)
    with trusted("outer"):
        with trusted("inner", "outer"):
            assert torch.load("inner") == torch.load("outer") == 1
        assert torch.load("outer") == 1
        with pytest.raises(pickle.UnpicklingError):
            torch.load("inner")
    with pytest.raises(pickle.UnpicklingError):
        torch.load("outer")


def test_purge_in_a_trusted_folder(tmp_path):
    learn = on_items(tmp_path)
    with heal(), trusted(tmp_path / learn.model_dir):
        learn.purge()
    assert isinstance(learn.model, nn.Sequential)


@pytest.mark.parametrize("paths", [(), ("",), (None,), (3,), ("a", b"b")], ids=repr)
def test_trust_in_nothing_is_refused(paths):
    with pytest.raises(InvalidInputError, match="trusted"):
        trusted(*paths)


def test_torch_that_knows_no_weights_only_is_left_alone(monkeypatch):
    before = torch.load
    with monkeypatch.context() as patching:
        patching.setattr(torch.serialization, "load", lambda f, map_location=None: None)
        with trusted("a"):
            assert torch.load is before
