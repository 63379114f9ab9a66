"""README is short, and its Python runs as it is printed, on the fastai that it names, in a process of its own.

The models that its first example names are loaded offline, as a tiny BERT from a local cache in the layout of the
Hub's client and of pytorch-transformers.
"""

import os
import re
import subprocess
import sys
import types
from hashlib import sha256

import pytest

from tests.docs.block_fixtures import given
from tests.docs.code_blocks import ROOT, blocks_of
from tests.installed_stack import FASTAI_1, FASTAI_2

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = [block.text for block in blocks_of(README) if block.language == "python"]
QUICK_START = {of: next(block for block in BLOCKS if block.startswith(f"# fastai {of}\n")) for of in (1, 2)}
LETTERS = "abcdefghijklmnopqrstuvwxyz.!"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
SIZES = dict(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, initializer_range=0.1)
S3 = "https://s3.amazonaws.com/models.huggingface.co/bert/"
COUNTED = ("groups", "frozen")
# One process for all three: importing takes longer than training.
AFTERWARDS = """
import runpy, sys
for path in sys.argv[1:]:
    print("file", path)
    try:
        learn = runpy.run_path(path)["learn"]
    except Exception as error:
        print("failed", type(error).__name__)
        continue
    groups = learn.layer_groups if hasattr(learn, "layer_groups") else learn.opt.param_groups
    print("groups", len(groups))
    learn.freeze()
    print("frozen", sum(not p.requires_grad for p in learn.model.parameters()))
"""


def prose():
    """Return README without its code and its comments."""
    without_code = re.sub(r"^```.*?^```", "", TEXT, flags=re.S | re.M)
    return re.sub(r"<!--.*?-->", "", without_code, flags=re.S)


def test_it_is_read_in_four_minutes():
    assert len(prose().split()) <= 900


def test_it_says_what_it_is_before_how_to_install_it_and_how_to_start():
    headings = re.findall(r"^##+ (.+)$", TEXT, flags=re.M)
    assert headings[:3] == ["Installation", "Quick start", "What it does"]
    assert headings[3:6] == ["Train", "Compare", "Diagnose"]
    assert "out = model(*xb)[0]" in TEXT.split("## Installation")[0]


def test_every_link_to_a_page_leads_somewhere():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)(?:#([^)]+))?\)", TEXT)
    assert len(targets) > 15
    for page, anchor in targets:
        path = ROOT / page
        assert path.is_file(), page
        assert not anchor or anchor in anchors_of(path), f"{page}#{anchor}"


def anchors_of(path):
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.M)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


# -- the first example -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """Return what the first example prints: unchanged, without its splitter, and with a model that no cache holds."""
    code, folder = QUICK_START[1 if FASTAI_1 else 2], tmp_path_factory.mktemp("readme")
    name = re.search(r'^name = "(.+)"$', code, flags=re.M)[1]
    files = {
        "unchanged": code,
        "without groups": code.replace(", splitter=layer_groups", ""),
        "no such model": code.replace(name, "no-such-model"),
    }
    for title, text in files.items():
        (folder / f"{title}.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-W", "ignore", "-c", AFTERWARDS, *(f"{title}.py" for title in files)]
    done = subprocess.run(command, env=offline(folder, name), cwd=str(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = re.split(r"^file .+$", done.stdout, flags=re.M)[1:]
    return dict(zip(files, said)), done.stderr


def offline(folder, name):
    """Return an environment without a network, whose caches hold the model that the example names."""
    hub, cache = folder / "hf", folder / "cache"
    fill_cache(cache, name) if FASTAI_1 else fill_hub(hub, name)
    return {
        **os.environ,
        "HF_HOME": str(hub),
        "HF_HUB_OFFLINE": "1",
        "PYTORCH_TRANSFORMERS_CACHE": str(cache),
        "https_proxy": "http://127.0.0.1:9",  # no server there: what is not in the cache fails at once
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }


def fill_hub(hub, name):
    """Fill a cache in the layout of huggingface_hub: a commit's files, and a branch that points to it."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    repository = hub / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / ("0" * 40)
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    config = BertConfig(vocab_size=len(VOCABULARY), **SIZES)
    BertForSequenceClassification(config).save_pretrained(str(snapshot))
    vocabulary = hub / "vocab.txt"
    vocabulary.write_text("\n".join(VOCABULARY), encoding="utf-8")
    BertTokenizer(str(vocabulary)).save_pretrained(str(snapshot))


def fill_cache(cache, name):
    """Fill a cache in the layout of pytorch-transformers: one file per URL, named by its hash."""
    from pytorch_transformers import BertConfig, BertForSequenceClassification

    model = cache / "model"
    model.mkdir(parents=True)
    config = BertConfig(vocab_size_or_config_json_file=len(VOCABULARY), **SIZES)
    BertForSequenceClassification(config).save_pretrained(str(model))
    (model / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    for file in ("config.json", "pytorch_model.bin", "vocab.txt"):
        url = f"{S3}{name}-{file}"
        (model / file).rename(cache / sha256(url.encode()).hexdigest())


@pytest.mark.slow
@pytest.mark.skipif(not (FASTAI_1 or FASTAI_2), reason="needs a fastai")
def test_the_first_example_runs_as_it_stands_and_freezes_its_body(printed):
    said, errors = printed
    assert re.search(r"(good|bad) tensor\([01]\) tensor\(\[0\.\d+, 0\.\d+\]\)$", said["unchanged"], flags=re.M), errors
    groups, frozen = (int(re.search(rf"^{word} (\d+)$", said["unchanged"], flags=re.M)[1]) for word in COUNTED)
    assert groups == 5 and frozen > 20


@pytest.mark.slow
@pytest.mark.skipif(not FASTAI_2, reason="fastai 1 itself refuses to freeze without groups")
def test_without_layer_groups_nothing_would_be_frozen(printed):
    assert QUICK_START[2].count(", splitter=layer_groups") == 1
    assert "frozen 0" in printed[0]["without groups"]


@pytest.mark.slow
@pytest.mark.skipif(not (FASTAI_1 or FASTAI_2), reason="needs a fastai")
def test_a_model_that_no_cache_holds_is_not_found_here(printed):
    assert "failed" in printed[0]["no such model"] and "frozen" not in printed[0]["no such model"]


# -- the other two -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not (FASTAI_1 or FASTAI_2), reason="needs a fastai")
def test_the_diagnosis_is_printed(capsys):
    names = given(["learn"])
    exec(next(block for block in BLOCKS if "diagnose(learn)" in block), names)
    assert names["diagnosis"].evidence.examined
    assert str(names["diagnosis"]) in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not (FASTAI_1 or FASTAI_2), reason="needs a fastai")
def test_the_three_lines_prove(monkeypatch):
    namespace = given(["make_learner"])
    train = types.ModuleType("train")
    train.make_learner = namespace["make_learner"]
    monkeypatch.setitem(sys.modules, "train", train)
    block = next(block for block in BLOCKS if "def test_callback_equals_patched_loop" in block)
    exec(block.replace("1e-4", "1e-3"), namespace)
    namespace["test_callback_equals_patched_loop"]()


def test_what_it_shows_is_what_its_commands_print():
    """The figures are one run's; the words are the package's own."""
    from fastai_hf_callback.diagnosis.checks import CAUSE_ORDER

    shown = re.findall(r"^```text\n(.*?)^```", TEXT, flags=re.S | re.M)
    assert len(shown) == 3
    verdict, finding = shown[1], shown[2]
    assert verdict.startswith("IDENTICAL, and it moved\n")
    assert finding.split()[2] in CAUSE_ORDER and "fix:" in finding
