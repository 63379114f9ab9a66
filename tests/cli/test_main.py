"""The command line as a person types it: exit codes, and one line for each thing that cannot be used."""

import json
import shutil
import sys

import pytest
import torch

from fastai_hf_callback.cli.main import main
from fastai_hf_callback.demo import setup
from fastai_hf_callback.demo.comments import LABELS, write_csv
from tests.installed_stack import FASTAI_1
from tests.tiny_models import VOCAB, tiny_model, tiny_transformers_model

pytest.importorskip("fastai")

ROOM, CALLBACKS = ("fastai1", "callbacks") if FASTAI_1 else ("fastai2", "cbs")
THRESHOLDED = "accuracy_thresh" if FASTAI_1 else "accuracy_multi"

FACTORY_FILE = f"""
from tests.{ROOM}.learners import make_learner

def good(): return make_learner("bert")
def nothing(): return None
def raises(): raise ValueError("no data here")
number = 3
def unmasked():
    import torch
    torch.manual_seed(0)  # which rows are looked at: in some the padding says next to nothing
    return make_learner("bert", masked=False, wrap=False)
def unwrapped(): return make_learner("bert", {CALLBACKS}=[])
def takes(one): return make_learner("bert")
def exits(): raise SystemExit(0)
def mute():
    class Mute(Exception):
        def __str__(self): raise SystemExit(0)
    raise Mute
def interrupted(): raise KeyboardInterrupt
""" + (
    """
def different():
    from fastai_hf_callback import HFCallback
    class Scaled(HFCallback):
        def on_loss_begin(self, **kwargs):
            return {"last_output": super().on_loss_begin(**kwargs)["last_output"] * 1.5}
    return make_learner("bert", callbacks=[Scaled()])
"""
    if FASTAI_1
    else """
def different():
    from fastai_hf_callback import HFCallback
    class Scaled(HFCallback):
        def after_pred(self):
            super().after_pred()
            self.learn.pred = self.learn.pred * 1.5
    return make_learner("bert", cbs=[Scaled()])
"""
)


@pytest.fixture
def run(capsys):
    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    return run


@pytest.fixture
def factories(tmp_path):
    path = tmp_path / "factories.py"
    path.write_text(FACTORY_FILE)
    yield path
    sys.path[:] = [p for p in sys.path if p != str(tmp_path)]
    sys.modules.pop("factories", None)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A real model folder, tiny: weights, config, vocabulary."""
    folder = tmp_path_factory.mktemp("folder")
    # pytorch-transformers writes no model_type.
    (tiny_model if FASTAI_1 else tiny_transformers_model)("bert", 2).save_pretrained(str(folder))
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(words[:VOCAB]))
    return folder


@pytest.fixture(scope="session")
def comments_csv(tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "comments.csv"
    write_csv(path, n=200, seed=1)
    return path


def one_line(err):
    assert err.count("\n") == 1 and err.startswith("fastai-hf: ") and "Traceback" not in err
    return err


# -- exit codes ------------------------------------------------------------------------------------------------


def test_identical_and_moved_is_0(run, factories, tmp_path):
    code, out, _ = run(
        "compare",
        f"{factories}:good",
        "--epochs",
        5,
        "--lr",
        1e-2,
        "--json",
        tmp_path / "out.json",
        "--plot",
        tmp_path / "out.png",
        "--html",
        tmp_path / "out.html",
    )
    assert code == 0 and "IDENTICAL, and it moved" in out
    assert json.loads((tmp_path / "out.json").read_text())["exit_code"] == 0
    page = (tmp_path / "out.html").read_text()
    assert "<title>Identical, and it moved: " in page and f"{factories}:good" in page
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_different_is_1(run, factories):
    code, out, _ = run("compare", f"{factories}:different", "--epochs", 1)
    assert code == 1 and "DIFFERENT" in out and "callback" in out and "patched" in out


def test_identical_but_stuck_is_3(run, factories):
    code, out, _ = run("compare", f"{factories}:good", "--epochs", 1, "--lr", 1e-12)
    assert code == 3 and "IDENTICAL BUT STUCK" in out


def test_a_healthy_learner_is_0_and_says_what_was_looked_at(run, factories, tmp_path):
    code, out, err = run("diagnose", f"{factories}:good", "--json", tmp_path / "out.json")
    assert (code, err) == (0, "")
    assert out.startswith("HEALTHY") and ": looked at " in out.splitlines()[0]
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["healthy"] and found["evidence"]["stepping"]["steps"] == 4


@pytest.mark.parametrize("fail_on, code", [("note", 1), ("warning", 1), ("error", 0)])
def test_a_warning_is_1_unless_only_errors_are_to_fail(run, factories, fail_on, code):
    found, out, _ = run("diagnose", f"{factories}:unmasked", "--fail-on", fail_on, "--batches", 2)
    assert found == code
    assert "1. WARNING  attention-mask-missing" in out and "fix:" in out


def test_what_would_raise_is_a_finding(run, factories):
    code, out, _ = run("diagnose", f"{factories}:unwrapped", "--fail-on", "error")
    assert code == 1
    assert "1. ERROR  output-not-unwrapped" in out and f"{CALLBACKS}=[HFCallback()]" in out


@pytest.mark.parametrize(
    "spec, said",
    [
        ("{}:nothing", "NoneType was given; expected a fastai Learner"),
        ("{}:goood", "no 'goood' in it; it has good"),
        ("{}:takes", "takes arguments"),
        ("nowhere.py:good", "no such Python file"),
        ("{}", "expected FILE.py:FACTORY"),
    ],
)
def test_a_diagnosis_of_nothing_is_2_and_one_line(run, factories, spec, said):
    code, out, err = run("diagnose", spec.format(factories))
    assert (code, out) == (2, "")
    assert said in one_line(err)


def test_a_csv_and_a_model_folder(run, comments_csv, model_folder):
    code, out, err = run(
        "compare",
        "--csv",
        comments_csv,
        "--text",
        "comment_text",
        "--labels",
        ",".join(LABELS),
        "--model",
        model_folder,
        "--epochs",
        1,
        "--lr",
        1e-2,
        "--bs",
        16,
        "--max-length",
        12,
    )
    assert code in (0, 3), err
    assert "200 texts, 6 labels: 160 to train, 40 to validate" in out
    assert THRESHOLDED in out and "mean_auc" in out and "bit for bit equal over 10 steps" in out


@pytest.mark.slow
@pytest.mark.skipif(FASTAI_1, reason="pytorch-transformers writes no half precision; see test_pretrained")
@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16), ids=str)
def test_a_model_folder_in_half_precision(run, tmp_path, comments_csv, model_folder, dtype):
    folder = tmp_path / "half"
    shutil.copytree(model_folder, folder)
    tiny_transformers_model("bert", 2).to(dtype).save_pretrained(str(folder))
    arguments = f"--text comment_text --epochs 1 --lr 1e-2 --bs 16 --max-length 12 --model {folder}".split()
    code, out, err = run("compare", "--csv", comments_csv, "--labels", ",".join(LABELS), *arguments)
    assert code in (0, 3), err
    assert "bit for bit equal over 10 steps" in out and "Warning" not in err


@pytest.mark.slow
def test_one_column_of_classes(run, tmp_path, model_folder):
    path = tmp_path / "classes.csv"
    path.write_text(
        "said,kind\n"
        + "".join(f"{'a b c' if i % 2 else 'x y z'} {i},{'odd' if i % 2 else 'even'}\n" for i in range(100))
    )
    code, out, err = run(
        "compare",
        "--csv",
        path,
        "--text",
        "said",
        "--labels",
        "kind",
        "--model",
        model_folder,
        "--epochs",
        6,
        "--lr",
        1e-2,
        "--bs",
        8,
        "--max-length",
        10,
    )
    assert code == 0, err + out
    assert "2 classes: 80 to train, 20 to validate" in out and "accuracy" in out


@pytest.mark.slow
def test_the_demo_in_small(run, monkeypatch):
    monkeypatch.setattr(setup, "N_COMMENTS", 300)
    monkeypatch.setattr(setup, "EPOCHS", 1)
    code, out, err = run("demo", "--arms", "callback,patched")
    assert code in (0, 1, 3), err
    assert "bit for bit equal over 8 steps, 1 epoch(s), 41 weight tensors" in out
    assert f"{THRESHOLDED} " in out and "mean_auc" in out
    for cause in ("attention-mask-missing", "padding-in-front", "wrong-padding-id"):
        assert f"WARNING  {cause}" in out


# -- what cannot be used: 2, and one line -------------------------------------------------------------------------


CSV = "comment,toxic,rude\nhello there,0,1\nyou fool,1,1\nfine,0,0\nwell,1,0\n"


@pytest.mark.parametrize(
    "content, options, said",
    [
        (None, {}, "no such file"),
        ("", {}, "the file is empty"),
        ("comment,toxic,rude\n", {}, "a header and no rows"),
        (
            CSV,
            {"--text": "coment"},
            "no column 'coment'; nearest: comment; give one of its columns: comment, toxic, rude",
        ),
        (CSV, {"--labels": "toxic,rud"}, "no column 'rud'; nearest: rude"),
        (CSV.replace("fine,0,0", "fine,0,2"), {}, "label column 'rude' of train holds 2, row(s) 3 (counted from 1"),
        (
            CSV.replace("fine,0", " ,0").replace("well", ""),
            {},
            "'comment' of train is blank in 2 of 4 row(s), row(s) 3, 4",
        ),
        (CSV.replace("fool", "f\xf6\xf6l").encode("latin-1"), {}, "not utf-8"),
        (CSV, {"--encoding": "utf-99"}, "no such encoding"),
        (CSV, {"--labels": "toxic,toxic"}, "expected each once"),
        ("comment,toxic\na,1\nb,1\nc,1\nd,1\n", {"--labels": "toxic"}, "holds only '1'"),
        (CSV, {"--model": "no/such/folder/"}, "no such folder"),
        (CSV.replace(",", ";"), {}, "its header is one column, 'comment;toxic;rude'; write --sep ';'"),
        (CSV, {"--bs": "1", "--max-length": "4000"}, "positions; write --max-len"),
        (CSV, {"--bs": "0"}, "expected a whole number of at least 1"),
        (CSV, {"--lr": "fast"}, "expected a number"),
        (CSV, {"--lr": "-1"}, "expected a number above 0"),
        (CSV, {"--valid": "1"}, "expected a share between 0 and 1"),
        (CSV, {"--arms": "callback,pached"}, "pached: expected some of callback,patched,broken"),
        (CSV, {"--json": "no/such/folder/out.json"}, "cannot be written"),
        (CSV, {"--html": "no/such/folder/out.html"}, "cannot be written"),
        (CSV, {"--plot": "picture.gif"}, "ends in .png, .svg or .pdf"),
        (CSV, {"--labels": ","}, "expected column names"),
        (CSV, {"--encoding": ""}, "no such encoding"),
        (CSV, {"--seed": 2**64}, "--seed: '18446744073709551616': expected a whole number of at least 0 and at most"),
        (CSV, {"--bs": 2**31}, "--bs: '2147483648': expected a whole number of at least 1 and at most 2147483647"),
        (CSV, {"--lr": "1e39"}, "--lr: '1e39': expected a number above 0 and below 3.4e+38"),
        (CSV.replace("rude", "toxic"), {}, "2 columns are called 'toxic'"),
        (CSV.encode("utf-16"), {}, "write --encoding utf-16"),
        (CSV, {"--valid": "0.01"}, "--valid 0.01 of 4 row(s) leaves 4 to train and 0 to validate"),
        (CSV, {"--epochz": "3"}, "unrecognized arguments: --epochz"),
    ],
)
def test_unusable_input_is_2_and_one_line(run, tmp_path, model_folder, content, options, said):
    path = tmp_path / "data.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    arguments = {
        "--csv": path,
        "--text": "comment",
        "--labels": "toxic,rude",
        "--model": model_folder,
        "--bs": 1,
        "--max-length": 8,
        "--valid": 0.25,
        **options,
    }
    code, out, err = run("compare", *(word for pair in arguments.items() for word in pair))
    assert code == 2 and said in one_line(err), err
    assert out == ""


def broken_model(folder, model_folder, how):
    """A copy of the model's folder, in which one thing does not fit."""
    shutil.copytree(str(model_folder), str(folder))
    config = json.loads((folder / "config.json").read_text())
    if how == "wider":
        config["hidden_size"] = 64
    elif how == "deeper":
        config["num_hidden_layers"] = 4
    (folder / "config.json").write_text(json.dumps(config))
    if how == "no tokenizer":
        for path in folder.glob("*vocab*"):
            path.unlink()
    return folder


@pytest.mark.parametrize(
    "how, said",
    [
        ("wider", "the weights do not fit config.json: "),
        ("deeper", "tensors would be drawn at random (bert.encoder.layer.2."),
        ("no tokenizer", "no such name or folder, or its vocabulary" if FASTAI_1 else "5 special tokens and no word"),
    ],
)
def test_a_model_whose_parts_do_not_fit_is_not_drawn_again(run, tmp_path, comments_csv, model_folder, how, said):
    folder = broken_model(tmp_path / "model", model_folder, how)
    options = ["--csv", comments_csv, "--text", "comment_text", "--labels", ",".join(LABELS), "--max-length", 12]
    code, _, err = run("compare", *options, "--model", folder, "--epochs", 1)
    assert code == 2 and said in one_line(err), err
    assert str(folder) in err


@pytest.mark.parametrize(
    "spec, said",
    [
        ("{file}", "expected FILE.py:FACTORY"),
        ("missing.py:good", "no such Python file"),
        ("{file}:goood", "no 'goood' in it; it has good"),
        ("{file}:takes", "takes arguments; expected a function without"),
        ("{file}:number", "is a int; expected a function"),
        ("{file}:nothing", "make_learner returned NoneType; expected a fastai Learner"),
        ("{file}:raises", "the run failed: ValueError: no data here; add --traceback"),
    ],
)
def test_unusable_factory_is_2_and_one_line(run, factories, spec, said):
    code, _, err = run("compare", spec.format(file=factories))
    assert code == 2 and said in one_line(err), err


@pytest.mark.parametrize("command", ["compare", "diagnose"])
@pytest.mark.parametrize(
    "name, code, said",
    [
        ("exits", 2, "the run failed: SystemExit: 0, an exit asked for by exits in "),
        ("mute", 2, "the run failed: Mute: its text cannot be read (SystemExit)"),
        ("interrupted", 130, "interrupted"),
    ],
)
def test_no_way_to_end_passes_for_a_verdict(run, factories, command, name, code, said):
    found, _, err = run(command, f"{factories}:{name}")
    assert found == code and said in one_line(err), err


def test_a_traceback_is_shown_when_asked_for_and_the_run_still_failed(run, factories):
    code, _, err = run("compare", f"{factories}:exits", "--traceback")
    assert code == 2 and "Traceback (most recent call last)" in err and "fastai-hf: the run failed: SystemExit" in err


@pytest.mark.parametrize("ending", ["sys.exit(0)", "sys.exit()", "raise GeneratorExit", "sys.exit(main())"])
def test_a_file_that_exits_was_not_run(run, tmp_path, ending):
    path = tmp_path / "ends.py"
    path.write_text(f"import sys\ndef make(): raise ValueError\ndef main(): return 0\n{ending}\n")
    code, _, err = run("compare", f"{path}:make")
    assert code == 2 and f"{path}: failed when run: " in one_line(err)


def test_a_file_does_not_see_the_arguments_of_the_command_line(run, tmp_path):
    path, before = tmp_path / "reads.py", list(sys.argv)
    path.write_text("import sys\nraise ValueError(sys.argv)\n")
    _, _, err = run("compare", f"{path}:make", "--epochs", 3)
    assert f"ValueError: ['{path}']" in one_line(err) and sys.argv == before


@pytest.mark.parametrize("option", ["--json", "--seed", "--epochs"])
def test_an_option_given_twice_is_not_taken_from_either(run, option):
    code, _, err = run("compare", "x.py:make", option, "1", option, "1")
    assert code == 2 and f"{option} was given twice" in one_line(err)


def test_what_is_read_is_not_written(run, factories, comments_csv, model_folder):
    for given, name in (
        (["--json", factories], factories),
        (["--html", factories.parent / "." / factories.name], factories),
    ):
        code, _, err = run("compare", f"{factories}:raises", *given)
        assert code == 2 and f"{name} is read from there" in one_line(err)
    options = ["--csv", comments_csv, "--text", "comment_text", "--labels", ",".join(LABELS), "--model", model_folder]
    for name in (comments_csv, model_folder / "vocab.txt"):
        code, _, err = run("compare", *options, "--json", name)
        assert code == 2 and "is read from there" in one_line(err)


def test_a_file_that_fails_when_run(run, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("import no_such_module\n")
    code, _, err = run("compare", f"{path}:make")
    assert code == 2 and "failed when run: ModuleNotFoundError: No module named 'no_such_module'" in one_line(err)


@pytest.mark.parametrize(
    "arguments, said",
    [
        ((), "COMMAND"),
        (("compare",), "either FILE.py:FACTORY or --csv"),
        (("compare", "--csv", "x.csv"), "also needs --text --labels --model"),
        (("compar",), "invalid choice: 'compar'"),
    ],
)
def test_incomplete_commands(run, arguments, said):
    code, _, err = run(*arguments)
    assert code == 2 and said in one_line(err), err


def test_options_of_the_csv_do_not_go_with_a_factory(run, factories):
    code, _, err = run("compare", f"{factories}:good", "--bs", 4, "--labels", "a")
    assert code == 2 and "--labels --bs goes with --csv" in one_line(err), err


def test_a_run_that_diverged_says_so(run, factories):
    code, out, _ = run("compare", f"{factories}:good", "--epochs", 2, "--lr", 1e38)
    assert code == 3 and "the loss became nan at fit 0, epoch 0, step" in out and "lower the learning rate" in out


def test_help_is_no_error(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0 and "demo" in capsys.readouterr().out


def test_without_jinja2_no_page_is_begun(run, factories, monkeypatch):
    monkeypatch.setattr("fastai_hf_callback.cli.main.find_spec", lambda name: None)
    code, out, err = run("compare", f"{factories}:raises", "--html", "out.html")
    assert (code, out) == (2, "") and "--html needs jinja2, which is not installed; write: pip install jinja2" in err
