"""Each breakage bare, where it is one, and mended; everything put back; full pickles from named files only."""
import contextlib
import importlib
import inspect
import io
import os
import pickle
import sys
import types
import warnings
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

pytest.importorskip("fastai.basic_train")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai import core, data_block, metrics
    from fastai.basic_data import DataBunch
    from fastai.basic_train import Learner, load_learner
    from fastai.callbacks.tracker import SaveModelCallback
    from fastai.data_block import MultiCategoryList
    from fastai.train import AccumulateScheduler

from fastai_hf_callback import UnusableInput, heal, healing, trust, trusted
from fastai_hf_callback.fastai1 import mending
from fastai_hf_callback.fastai1.quiet import quiet
from tests.fastai1.items import IdList, block_data
from tests.fastai1.learners import LENGTH, make_learner
from tests.tiny import VOCAB

pytestmark = pytest.mark.slow
PARTS = ["ragged-arrays", "numpy-names", "sortish-sampler", "optimizer-load", "accumulate", "distributed-on-cpu",
         "distributed-validate", "distributed-metrics", "accuracy-thresh"]
KNOWS_WEIGHTS_ONLY = hasattr(torch.serialization, "safe_globals")

# -- what is there, before and after ---------------------------------------------------------------


def world():
    """Every name of every fastai module, of the classes touched, of numpy; torch's load; what of numpy it holds safe.

    Where Python notes which warnings it has shown is left out, and so are the modules that torch loads when needed.
    """
    modules = [module for name, module in sys.modules.items() if name.split(".")[0] == "fastai"]
    classes = [Learner, AccumulateScheduler]
    if "fastai.text.data" in sys.modules:
        classes.append(sys.modules["fastai.text.data"].SortishSampler)
    safe = torch.serialization.get_safe_globals() if KNOWS_WEIGHTS_ONLY else []
    owners = [*modules, *classes, np, torch.serialization]
    names = [{**vars(owner), "__warningregistry__": None} for owner in owners]
    return [*names, {"load": torch.load}], {str(one) for one in safe if "numpy" in str(one)}


def same(before, after):
    return before[1] == after[1] and all(
        set(a) == set(b) and all(a[name] is b[name] for name in a) for a, b in zip(before[0], after[0]))


@pytest.fixture(autouse=True)
def everything_is_put_back():
    before = world()
    yield
    assert same(before, world())
    assert not healing._RUNNING and not trust._TRUSTED


def need_broken(part):
    """Skip where `part` mends nothing here."""
    with heal(part) as mended:
        if part not in mended:
            pytest.skip(f"{part} is not broken on these versions")


@pytest.fixture(scope="module")
def text():
    """fastai.text and fastai.distributed; where there is no spacy, on an empty one, and forgotten afterwards."""
    with contextlib.ExitStack() as afterwards:
        try:
            import spacy  # noqa: F401
        except ImportError:
            afterwards.enter_context(on_an_empty_spacy())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("fastai.distributed")
            yield importlib.import_module("fastai.text")


@contextlib.contextmanager
def on_an_empty_spacy():
    import fastai
    owners = [fastai, Learner, nn.parallel.DistributedDataParallel]
    modules, names = set(sys.modules), [set(vars(owner)) for owner in owners]
    sys.modules["spacy"] = spacy = types.ModuleType("spacy")
    sys.modules["spacy.symbols"] = spacy.symbols = types.ModuleType("spacy.symbols")
    spacy.symbols.ORTH = 65
    yield
    for name in [name for name in sys.modules if name not in modules and name.split(".")[0] in ("spacy", "fastai")]:
        del sys.modules[name]
    for owner, before in zip(owners, names):
        for name in set(vars(owner)) - before:
            delattr(owner, name)


# -- the blocks ------------------------------------------------------------------------------------


def test_the_parts_are_these_and_each_can_be_had_alone(text):
    assert list(mending._PARTS) == PARTS
    with heal() as everything:
        assert set(everything) <= set(PARTS)
    for part in PARTS:
        with heal(part) as mended:
            assert mended == tuple(name for name in everything if name == part)


def test_something_is_changed_inside(text):
    before = world()
    with heal() as mended:
        assert mended and not same(before, world())


@pytest.mark.parametrize("name, nearest", [("ragged-array", "ragged-arrays"), ("Accumulate", "accumulate"),
                                           ("accuracy", "accuracy-thresh")])
def test_an_unknown_part_is_told_the_nearest(name, nearest):
    with pytest.raises(UnusableInput, match=f"no part '{name}'; did you mean '{nearest}'.*optimizer-load"):
        heal("accumulate", name)


def test_what_is_like_no_part_is_told_all_of_them():
    with pytest.raises(UnusableInput, match="no part 'qqq'; expected one of ragged-arrays, "):
        heal("qqq")


def test_a_decorator_without_brackets_is_told_so():
    with pytest.raises(UnusableInput, match="write heal.. or @heal.."):
        @heal
        def train():
            pass


def test_it_decorates():
    @heal("ragged-arrays")
    def ragged():
        return core.array([[1], [1, 2]])

    assert ragged().dtype == ragged().dtype == object


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError, GeneratorExit])
def test_all_comes_back_whatever_happens_inside(text, error):
    before = world()
    with pytest.raises(error):
        with heal(), trusted("a"):
            assert not same(before, world())
            raise error()
    assert same(before, world())


def test_blocks_nest_and_the_inner_one_leaves_the_outer_mended():
    before = world()
    with heal() as outer:
        inside = world()
        with heal() as inner:
            assert inner == outer and same(inside, world())
        with heal("accumulate"):
            pass
        assert same(inside, world())
    assert same(before, world())


def test_blocks_may_overlap(tmp_path):
    before, first, second = world(), contextlib.ExitStack(), contextlib.ExitStack()
    for block, name in ((first, "first"), (second, "second")):
        block.enter_context(heal())
        block.enter_context(trusted(tmp_path / name))
    first.close()
    assert core.array([[1], [1, 2]]).dtype == object
    assert trust._is_trusted(tmp_path / "second") and not trust._is_trusted(tmp_path / "first")
    second.close()
    assert same(before, world())


def test_no_random_state_is_drawn_from(text):
    def states():
        return repr(np.random.get_state()), torch.get_rng_state().tolist()

    before = states()
    with heal(), trusted("a"):
        assert states() == before


# -- ragged arrays and numpy's names ---------------------------------------------------------------


def labelled(path="."):
    """Several labels per row, through the data block."""
    rows = np.arange(48).reshape(12, 4) % 7
    return IdList(rows, path=path).split_by_idx([0, 1, 2]).label_from_func(
        lambda row: ["low", "mid", "top"][:1 + int(row[0]) % 3], label_cls=MultiCategoryList)


def test_several_labels_per_row_fail_bare():
    need_broken("ragged-arrays")
    with pytest.raises(ValueError, match="inhomogeneous"):
        labelled()


def test_several_labels_per_row():
    with heal("ragged-arrays"):
        data = labelled().databunch(bs=3, num_workers=0, device=torch.device("cpu"))
        counts = torch.cat([targets.sum(1) for _, targets in data.valid_dl]).tolist()
    assert counts == [1 + row * 4 % 7 % 3 for row in range(3)]


def test_an_array_of_unequal_rows_is_what_numpy_made_of_it_before():
    with heal("ragged-arrays"):
        made = core.array(row for row in ([1], [2, 3]))
        assert made.dtype == object and made.shape == (2,) and made[1] == [2, 3]
        assert data_block.array is core.array
        nested = core.array([np.array([1]), np.array([1, 2])])
        assert nested.dtype == object and nested[1].tolist() == [1, 2]
        with pytest.raises(ValueError):
            core.array([[1], [1, 2]], dtype=np.int64)


@pytest.mark.parametrize("given", [[1, 2], [[1, 2], [3, 4]], ["a", "bc"], range(3), np.ones(2), [1.5, 2], []])
def test_an_even_array_is_what_it_is_bare(given):
    bare = core.array(given)
    with heal("ragged-arrays"):
        mended = core.array(given)
    assert mended.dtype == bare.dtype and np.array_equal(mended, bare)


def test_what_a_module_took_along_meanwhile_is_put_back(monkeypatch):
    need_broken("ragged-arrays")
    notebook, bare = types.ModuleType("notebook"), core.array
    monkeypatch.setitem(sys.modules, "notebook", notebook)
    with heal("ragged-arrays"):
        exec("from fastai.core import *", vars(notebook))
        assert notebook.array is not bare
    assert notebook.array is bare


def test_numpys_old_names_are_there_for_fastai_alone():
    need_broken("numpy-names")
    with heal("numpy-names"):
        assert (core.np.object, core.np.int, core.np.float) == (object, int, float)
        assert core.np.array is np.array and core.np.random is np.random
        with pytest.raises(AttributeError):
            np.object  # noqa: B018
        with pytest.raises(AttributeError):
            core.np.nonsense  # noqa: B018


# -- text ------------------------------------------------------------------------------------------


def texts(text, rows=33, bs=8, labels="a", cls="TextClasDataBunch"):
    """A real TextDataBunch, from a frame; the last batch is short."""
    class Words(text.BaseTokenizer):
        def tokenizer(self, t):
            return t.split(" ")

        def add_special_cases(self, toks):
            pass

    frame = pd.DataFrame({"text": [" ".join(f"w{i * j % 5}" for j in range(3 + i % 4)) for i in range(rows)]})
    frame["a"], frame["b"] = [i % 2 for i in range(rows)], [int(i % 3 == 0) for i in range(rows)]
    words = text.Tokenizer(Words, "en", n_cpus=1)
    return getattr(text, cls).from_df(".", frame, frame[:9], tokenizer=words, text_cols="text", label_cols=labels,
                                      min_freq=1, bs=bs, num_workers=0, no_check=True, device=torch.device("cpu"))


@pytest.mark.parametrize("needed, cls", [("ragged-arrays", "TextClasDataBunch"), ("numpy-names", "TextLMDataBunch"),
                                         ("sortish-sampler", "TextClasDataBunch")])
def test_texts_fail_without_any_one_of_three_parts(text, needed, cls):
    need_broken(needed)
    others = [part for part in PARTS if part != needed]
    with heal(*others), pytest.raises((ValueError, AttributeError), match="inhomogeneous|has no attribute"):
        list(texts(text, rows=36, labels=["a", "b"], cls=cls).train_dl)


@pytest.mark.parametrize("labels", ["a", ["a", "b"]], ids=("one", "several"))
def test_texts(text, labels):
    with heal():
        batches = [(len(x), tuple(y.shape[1:])) for x, y in texts(text, labels=labels).train_dl]
        assert texts(text, cls="TextLMDataBunch", bs=4).one_batch()[0].shape[0] == 4
    assert sorted(size for size, _ in batches) == [8, 8, 8, 8]
    assert batches[0][1] == (() if labels == "a" else (2,))


def sampled(text, rows, bs, seed=0):
    np.random.seed(seed)
    lengths = np.random.RandomState(1).permutation(rows)
    return list(text.data.SortishSampler(range(rows), key=lambda row: lengths[row], bs=bs)), np.random.rand()


@pytest.mark.parametrize("rows, bs", [(1, 1), (2, 2), (3, 4), (5, 2), (7, 3), (250, 2)])
def test_the_sampler_gives_every_row_once_the_longest_batch_first(text, rows, bs):
    lengths = np.random.RandomState(1).permutation(rows)
    with heal("sortish-sampler"):
        order, _ = sampled(text, rows, bs)
    assert sorted(order) == list(range(rows)) and lengths[order[0]] == rows - 1


@pytest.mark.parametrize("rows, bs", [(5, 2), (2, 2)], ids=("short last batch", "single batch"))
def test_the_sampler_fails_bare(text, rows, bs):
    need_broken("sortish-sampler")
    with pytest.raises((ValueError, AttributeError)):
        sampled(text, rows, bs)


@pytest.mark.parametrize("rows, bs", [(6, 2), (8, 4), (500, 2), (9, 3), (5, 2), (7, 3), (101, 2), (2, 2), (1, 1)])
def test_the_sampler_draws_what_fastais_own_draws(text, rows, bs, monkeypatch):
    try:
        own = sampled(text, rows, bs)
    except (ValueError, AttributeError):
        pytest.skip("fastai's own sampler fails here on these versions")
    with monkeypatch.context() as patching:
        patching.setattr(text.data.SortishSampler, "__iter__", mending._sortish)
        assert sampled(text, rows, bs) == own


# -- load ------------------------------------------------------------------------------------------


def trained(path, **kwargs):
    learn = make_learner("bert", path=path, **kwargs)
    with quiet(learn):
        learn.fit_one_cycle(1, 1e-2)
    return learn


def hyperparameters(learn):
    return [{name: value for name, value in group.items() if name != "params"} for group in learn.opt.param_groups]


def test_load_after_fit_one_cycle_fails_bare(tmp_path):
    need_broken("optimizer-load")
    learn = trained(tmp_path)
    learn.save("one")
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        learn.load("one")
    with quiet(learn), pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        learn.lr_find(num_it=3)


def test_a_learner_saved_loaded_searched_and_trained_on(tmp_path, capsys):
    with heal():
        learn = trained(tmp_path)
        learn.save("one")
        fresh = make_learner("bert", path=tmp_path).load("one")
        assert hyperparameters(fresh) == hyperparameters(learn)
        assert all(torch.equal(a, b) for a, b in zip(fresh.model.state_dict().values(),
                                                     learn.model.state_dict().values()))
        assert fresh.opt.opt.state and all("exp_avg" in state for state in fresh.opt.opt.state.values())
        with quiet(fresh):
            fresh.lr_find(num_it=6)
            assert len(fresh.recorder.lrs) > 2
            before = torch.cat([p.detach().reshape(-1).clone() for p in fresh.model.parameters()])
            fresh.fit_one_cycle(1, 1e-2)
        assert not torch.equal(before, torch.cat([p.detach().reshape(-1) for p in fresh.model.parameters()]))


def test_the_best_model_is_loaded(tmp_path, capsys):
    learn = make_learner("bert", path=tmp_path)
    with heal(), quiet(learn):
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
    need_broken("optimizer-load")
    learn = trained(tmp_path)
    learn.save("one")
    with torch.serialization.safe_globals(mending._numpy_scalars()):
        before = set(map(str, torch.serialization.get_safe_globals()))
        with heal():
            learn.load("one")
        assert set(map(str, torch.serialization.get_safe_globals())) == before


def test_numbers_saved_under_numpy_1s_name_load(tmp_path, monkeypatch):
    need_broken("optimizer-load")
    learn = trained(tmp_path)
    learn.save("one")
    saved = zipfile.ZipFile(str(tmp_path / "models" / "one.pth"))
    with zipfile.ZipFile(str(tmp_path / "models" / "old.pth"), "w") as old:
        for name in saved.namelist():
            old.writestr(name, saved.read(name).replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n"))
    with heal():
        assert hyperparameters(make_learner("bert").load(tmp_path / "models" / "old")) == hyperparameters(learn)


# -- accumulated gradients -------------------------------------------------------------------------


class KeepsZeros(torch.optim.SGD):
    """An optimizer as in 2019: what it clears is zero, not gone."""

    def zero_grad(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad.zero_()


class Partly(nn.Module):
    """A model that does not use all it has."""

    def __init__(self, spare):
        super().__init__()
        torch.manual_seed(0)
        self.used = nn.Linear(3, 1)
        self.spare = nn.Linear(3, 1) if spare else nn.Identity()

    def forward(self, x):
        return self.used(x)


def accumulated(optimizer, n_step, spare=False, drop_last=False):
    """The weights after a fit of five batches."""
    draw = torch.Generator().manual_seed(0)
    rows = TensorDataset(torch.randn(20, 3, generator=draw), torch.randn(20, 1, generator=draw))
    data = DataBunch.create(rows, rows, bs=4, num_workers=0, no_check=True, device=torch.device("cpu"))
    learn = Learner(data, Partly(spare), opt_func=optimizer, loss_func=nn.MSELoss(reduction="sum"), silent=True, wd=0.,
                    callback_fns=[partial(AccumulateScheduler, n_step=n_step, drop_last=drop_last)])
    torch.manual_seed(3)
    with quiet(learn):
        learn.fit(2, 1e-2)
    return [p.detach().clone() for p in learn.model.parameters()]


@pytest.mark.parametrize("n_step", [1, 5])
def test_nothing_left_at_the_epochs_end_fails_bare(n_step):
    if "set_to_none" not in inspect.signature(torch.optim.Optimizer.zero_grad).parameters:
        pytest.skip("zero_grad leaves zeros on this torch")
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'div_'"):
        accumulated(torch.optim.SGD, n_step)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("n_step", [1, 2, 3, 5])
def test_accumulated_gradients_give_the_weights_of_2019(n_step, drop_last):
    then = accumulated(KeepsZeros, n_step, drop_last=drop_last)
    with heal():
        now = accumulated(torch.optim.SGD, n_step, drop_last=drop_last)
    assert all(torch.equal(a, b) for a, b in zip(then, now))
    assert not torch.equal(now[0], Partly(False).used.weight)


def test_parameters_without_a_gradient_are_left_alone():
    with heal():
        used, _, spare, _ = accumulated(torch.optim.Adam, 2, spare=True)
    assert torch.equal(spare, Partly(True).spare.weight) and not torch.equal(used, Partly(True).used.weight)


# -- distributed, on the CPU -----------------------------------------------------------------------


@pytest.fixture
def one_process(text, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def distributed(path):
    learn = make_learner("bert", path=path).to_distributed(0)
    with quiet(learn):
        learn.fit(1, 1e-2)
    return learn


def test_distributed_on_the_cpu_fails_bare(one_process, tmp_path):
    with pytest.raises((ValueError, AssertionError), match="device_ids"):
        distributed(tmp_path)


def test_distributed_on_the_cpu(one_process, tmp_path):
    with heal("distributed-on-cpu") as mended:
        learn = distributed(tmp_path)
    assert mended == ("distributed-on-cpu",) and np.isfinite(learn.recorder.val_losses[0])


def test_a_model_elsewhere_keeps_its_device_ids(text, monkeypatch):
    module, calls = sys.modules["fastai.distributed"], []
    with monkeypatch.context() as patching:
        patching.setattr(module, "DistributedDataParallel", lambda model, **kwargs: calls.append(kwargs))
        with heal():
            module.DistributedDataParallel(nn.Linear(1, 1), device_ids=[0], output_device=0)
            elsewhere = types.SimpleNamespace(parameters=lambda: [types.SimpleNamespace(device=torch.device("cuda"))])
            module.DistributedDataParallel(elsewhere, device_ids=[0], output_device=0)
    assert calls == [{"device_ids": None, "output_device": None}, {"device_ids": [0], "output_device": 0}]


# -- accuracy_thresh -------------------------------------------------------------------------------

KINDS = [torch.bool, torch.uint8, torch.float32, torch.float16, torch.int32, torch.int64]


def of_an_older_fastai(y_pred, y_true, thresh=0.5, sigmoid=True):
    """What torch 1.2 made of fastai's line: it would not compare bool with byte."""
    if y_true.dtype != torch.bool:
        raise RuntimeError("Expected object of scalar type Bool but got scalar type Byte")
    return ((y_pred.sigmoid() > thresh) == y_true).float().mean()


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("broken", [False, True])
def test_accuracy_thresh_of_every_kind_of_target(kind, broken, monkeypatch):
    with monkeypatch.context() as patching:
        if broken:
            patching.setattr(metrics, "accuracy_thresh", of_an_older_fastai)
        with heal("accuracy-thresh") as mended:
            targets = torch.tensor([[1, 0], [0, 0]]).to(kind)
            score = metrics.accuracy_thresh(torch.tensor([[3., 3.], [-3., -3.]]), targets)
            assert bool(mended) == broken
    assert float(score) == 0.75


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
    with pytest.raises(UnusableInput, match="trusted"):
        trusted(*paths)


def test_torch_that_knows_no_weights_only_is_left_alone(monkeypatch):
    before = torch.load
    with monkeypatch.context() as patching:
        patching.setattr(torch.serialization, "load", lambda f, map_location=None: None)
        with trusted("a"):
            assert torch.load is before
