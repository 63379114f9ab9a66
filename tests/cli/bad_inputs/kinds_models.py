"""Folders of models that are missing, incomplete or damaged, or whose parts do not fit together."""

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, List

from .case import EITHER, MODEL, REFUSED, Case, csv_command, write

__all__ = ["cases"]

Change = Callable[[Path], Any]
WEIGHTS, CONFIG, WORDS = "model.safetensors", "config.json", "tokenizer.json"


def cases() -> List[Case]:
    """All of this kind."""
    return [*_places(), *_configs(), *_fitting(), *_weights(), *_tokenizers()]


def _case(kind: str, name: str, change: Change, names: str = MODEL, codes: FrozenSet[int] = REFUSED) -> Case:
    return Case(kind, name, csv_command(), names, codes, lambda here: change(here / MODEL))


def _places() -> List[Case]:
    kind, names = (
        "models that are not there",
        {
            "no/such/folder/": "no/such/folder",
            "./missing": "missing",
            "{here}/missing": "missing",
            "": "--model",
            "train.csv": r"train\.csv",
            MODEL + "/config.json": r"config\.json",
            MODEL + "/model.safetensors": "safetensors",
            ".": r"--model|'\.'|: \.:",
            "bert-of-no-one": "bert-of-no-one",
            "no/one/has/this": "no/one/has/this",
            "a model": "a model",
            "-": "'-'|--model",
            "~/model": "~/model",
            "http://127.0.0.1:9/model": "127",
            "tiny\nbert": "tiny",
            "..": r"--model|'\.\.'|: \.\.:",
            "/dev/null": "/dev/null",
        },
    )
    found = [
        Case(kind, given.replace("\n", "\\n") or "an empty name", csv_command(model=given), pattern)
        for given, pattern in names.items()
    ]

    def emptied(here: Path) -> None:
        shutil.rmtree(str(here / MODEL))
        (here / MODEL).mkdir()

    def nested(here: Path) -> None:
        shutil.move(str(here / MODEL), str(here / "inner"))
        shutil.move(str(here / "inner"), str(here / MODEL / "inner"))

    def looped(here: Path) -> None:
        shutil.rmtree(str(here / MODEL))
        os.symlink(MODEL, str(here / MODEL))

    def closed(here: Path) -> None:
        (here / MODEL).chmod(0)

    return [
        *found,
        *(
            Case(kind, name, csv_command(), MODEL, prepare=prepare, ordinary_user=prepare is closed)
            for name, prepare in (
                ("an empty folder", emptied),
                ("a folder of the folder", nested),
                ("a link to itself", looped),
                ("a folder that may not be read", closed),
            )
        ),
    ]


def _configs() -> List[Case]:
    kind = "configs that are none"
    contents = {
        "no bytes": "",
        "not JSON": "hidden_size: 16\n",
        "cut in half": '{"model_type": "bert", "hidden_',
        "a list": "[]",
        "null": "null",
        "a number": "3",
        "a text": '"bert"',
        "an empty object": "{}",
        "UTF-16": '{"model_type": "bert"}'.encode("utf-16"),
        "NUL bytes": bytes(600),
        "JSON of another thing": '{"a": 1}',
    }

    def to_folder(model: Path) -> None:
        (model / CONFIG).unlink()
        (model / CONFIG).mkdir()

    found = [
        _case(
            kind,
            f"config.json: {name}",
            write(CONFIG, content),
            MODEL + r"|config\.json",
        )
        for name, content in contents.items()
    ]
    return [
        *found,
        _case(kind, "no config.json", lambda model: (model / CONFIG).unlink(), r"config\.json"),
        _case(kind, "config.json is a folder", to_folder),
    ]


def _changed(**settings: Any) -> Change:
    def change(model: Path) -> None:
        config = json.loads((model / CONFIG).read_text())
        config.update(settings)
        (model / CONFIG).write_text(json.dumps({k: v for k, v in config.items() if v != "left out"}))

    return change


def _fitting() -> List[Case]:
    kind, names = "configs that do not fit", f"{MODEL}|config|weights|fit|shape|mismatch"
    settings: Dict[str, Dict[str, Any]] = {
        "wider than the weights": {"hidden_size": 64},
        "more words than the weights": {"vocab_size": 100},
        "more layers than the weights": {"num_hidden_layers": 4},
        "more positions": {"max_position_embeddings": 64},
        "wider inside": {"intermediate_size": 64},
        "heads that do not divide the width": {"num_attention_heads": 3},
        "a width below 0": {"hidden_size": -16},
        "a width of 0": {"hidden_size": 0},
        "a width in words": {"hidden_size": "sixteen"},
        "another architecture": {"model_type": "roberta"},
        "a decoder's architecture": {"model_type": "gpt2"},
        "a model of pictures": {"model_type": "vit"},
        "an unknown architecture": {"model_type": "nope"},
        "no architecture": {"model_type": "left out"},
        "an architecture that is a number": {"model_type": 7},
        "an architecture of null": {"model_type": None},
        "an unknown activation": {"hidden_act": "nope"},
    }
    found = [_case(kind, name, _changed(**given), names) for name, given in settings.items()]
    mild: Dict[str, Dict[str, Any]] = {
        "fewer layers than the weights": {"num_hidden_layers": 1},
        "no layers": {"num_hidden_layers": 0},
        "a padding id out of range": {"pad_token_id": 4000},
        "names of labels that do not fit": {"id2label": {"0": "a"}, "label2id": {"a": 0}},
        "another number of labels": {"num_labels": 7},
        "a task of numbers": {"problem_type": "regression"},
        "an unknown setting": {"favourite_colour": "blue"},
        "float16": {"dtype": "float16"},
    }
    return [
        *found,
        *(
            _case(kind, name + ", taken or named", _changed(**given), names + "|pad", EITHER)
            for name, given in mild.items()
        ),
    ]


def _tensors(change: Callable[[Dict[str, Any]], Dict[str, Any]]) -> Change:
    def rewrite(model: Path) -> None:
        from safetensors.torch import load_file, save_file

        path = str(model / WEIGHTS)
        save_file(change(load_file(path)), path, metadata={"format": "pt"})

    return rewrite


def _as_bin(content: bytes) -> Change:
    def replace(model: Path) -> None:
        (model / WEIGHTS).unlink()
        write("pytorch_model.bin", content)(model)

    return replace


def _weights() -> List[Case]:
    kind = "damaged weights"

    def cut(part: float) -> Change:
        return lambda model: os.truncate(str(model / WEIGHTS), int((model / WEIGHTS).stat().st_size * part))

    def to_folder(model: Path) -> None:
        (model / WEIGHTS).unlink()
        (model / WEIGHTS).mkdir()

    def to_index(model: Path) -> None:
        (model / WEIGHTS).unlink()
        write(WEIGHTS + ".index.json", '{"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}')(
            model
        )

    changes = {
        "no weights": lambda model: (model / WEIGHTS).unlink(),
        "weights of no bytes": write(WEIGHTS, b""),
        "weights cut in half": cut(0.5),
        "weights cut near the end": cut(0.999),
        "weights cut in the header": cut(0.01),
        "weights that are text": write(WEIGHTS, "the weights"),
        "weights of zeros": write(WEIGHTS, bytes(50000)),
        "weights that are a Git LFS pointer": write(
            WEIGHTS, "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 50000\n"
        ),
        "weights that are a folder": to_folder,
        "a shard that is missing": to_index,
        "a .bin of no bytes": _as_bin(b""),
        "a .bin that is text": _as_bin(b"the weights"),
        "a .bin that is a plain pickle": _as_bin(pickle.dumps({"a": 1})),
        "a .bin that would run code": _as_bin(b"cposix\nsystem\n(S'touch ran'\ntR."),
        "weights of other names": _tensors(lambda held: {"x." + name: value for name, value in held.items()}),
        "weights without a layer": _tensors(lambda held: {n: v for n, v in held.items() if ".layer.1." not in n}),
        "weights without embeddings": _tensors(lambda held: {n: v for n, v in held.items() if "embeddings" not in n}),
        "one weight of another size": _tensors(
            lambda held: {n: v[:8].clone() if n.endswith("pooler.dense.bias") else v for n, v in held.items()}
        ),
        "no weights in the file": _tensors(lambda held: {}),
    }
    names = f"{MODEL}|weight|safetensors|pytorch_model"
    found = [_case(kind, name, change, names) for name, change in changes.items()]
    nan = _tensors(lambda held: {name: value * float("nan") for name, value in held.items()})
    return [*found, _case(kind, "weights that are nan, taken or named", nan, names, EITHER)]


def _tokenizers() -> List[Case]:
    kind, names = "tokenizers that do not fit", "oken"

    def bare(model: Path) -> None:
        for path in model.iterdir():
            if path.name not in (CONFIG, WEIGHTS):
                path.unlink()

    def alone(name: str, content: str) -> Change:
        def replace(model: Path) -> None:
            bare(model)
            write(name, content)(model)

        return replace

    def more_words(model: Path) -> None:
        from tests.tiny_texts import VOCABULARY

        bare(model)
        found = VOCABULARY[:5] + [f"word{n}" for n in range(500)] + VOCABULARY[5:]
        write("vocab.txt", "\n".join(found))(model)
        write("tokenizer_config.json", '{"tokenizer_class": "BertTokenizer"}')(model)

    def cut(model: Path) -> None:
        whole = (model / WORDS).read_text()
        bare(model)
        write(WORDS, whole[: len(whole) // 2])(model)

    changes = {
        "no tokenizer": bare,
        "tokenizer.json not JSON": write(WORDS, "words"),
        "tokenizer.json of no bytes": write(WORDS, ""),
        "tokenizer.json is {}": alone(WORDS, "{}"),
        "tokenizer.json cut in half": cut,
        "tokenizer_config.json not JSON": write("tokenizer_config.json", "{"),
        "more words than the model": more_words,
        "tokenizer_config.json alone": alone("tokenizer_config.json", '{"tokenizer_class": "BertTokenizer"}'),
        "an unknown class": alone("tokenizer_config.json", '{"tokenizer_class": "NoSuchTokenizer"}'),
        "vocab.txt of no bytes": alone("vocab.txt", ""),
    }
    found = [
        _case(kind, name, change, names if "config" not in name else names + "|" + MODEL)
        for name, change in changes.items()
    ]
    mild = {
        "vocab.txt of special tokens": alone("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"),
        "vocab.txt of other words": alone("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\neins\nzwei\n"),
    }
    return [*found, *(_case(kind, name + ", taken or named", change, names, EITHER) for name, change in mild.items())]
