"""A name or folder -> tokenizer and model with a head, from whichever Hugging Face library is installed.

Imports pytorch-transformers or transformers when it loads, never before.
"""

import json
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import torch

from fastai_hf_callback.errors import InvalidInputError
from fastai_hf_callback.utils.logging import silence_logs

from .weights.activation_casts import HALF_DTYPES

__all__ = ["Pretrained", "check_max_length", "load_pretrained"]

# pytorch-transformers names its classes by architecture and has no registry keyed by model_type.
_LEGACY_CLASS_PREFIXES = {
    "bert": "Bert",
    "distilbert": "DistilBert",
    "roberta": "Roberta",
    "xlnet": "XLNet",
    "xlm": "XLM",
}
# Nor does its save_pretrained write a model_type; then a weight's name shows the architecture.
_LEGACY_WEIGHT_PREFIXES = {
    "bert": "bert.embeddings.",
    "distilbert": "distilbert.embeddings.",
    "roberta": "roberta.embeddings.",
    "xlnet": "transformer.mask_emb",
    "xlm": "transformer.layer_norm_emb.",
}


class Pretrained(NamedTuple):
    """The tokenizer and model of one name or folder.

    Attributes
    ----------
    tokenizer : the library's tokenizer
    make_model : callable
        Makes a new model with a classification head of the given number of outputs, weights loaded; the
        head is drawn from torch's generator, also where the folder holds one of another size.
    max_positions : int or None
        How many positions the model has, where its config says so.
    """

    tokenizer: Any
    make_model: Callable[[int], Any]
    max_positions: Optional[int]


def check_max_length(source: Pretrained, max_length: int) -> None:
    """Refuse texts of more tokens than the model has positions."""
    if source.max_positions is not None and max_length > source.max_positions:
        raise InvalidInputError(
            f"--max-length {max_length}: the model has {source.max_positions} positions; write --max-length "
            f"{source.max_positions} or less"
        )


def load_pretrained(name: str) -> Pretrained:
    """Load a tokenizer and prepare to load its model.

    Parameters
    ----------
    name : str
        A folder with ``config.json``, weights and vocabulary, or a name the library knows.

    Returns
    -------
    Pretrained

    Raises
    ------
    InvalidInputError
        When there is no such model, or no library to load it with.
    """
    _check_folder(name)
    if find_spec("pytorch_transformers") is None and find_spec("transformers") is None:
        raise InvalidInputError(
            "neither pytorch-transformers nor transformers is installed; write: pip install "
            "'fastai-hf-callback[fastai1]', or [fastai2]"
        )
    reasons = []
    for library, load in (("pytorch_transformers", _load_pytorch_transformers), ("transformers", _load_transformers)):
        if find_spec(library) is None:
            continue
        try:
            with silence_logs():
                source = load(import_module(library), name)
        except Exception as error:  # each library fails in its own ways; its message is passed on
            reasons.append(f"{library}: {_shorten(error)}")
        else:
            _check_vocabulary(name, source.tokenizer)
            return source
    raise InvalidInputError(
        f"no model could be loaded from {name!r} ({'; '.join(reasons)}); expected a folder with "
        f"config.json, weights and vocabulary, or a name that can be downloaded here"
    )


def _shorten(error: Exception) -> str:
    return shorten(str(error), 160, placeholder=" ...") or type(error).__name__


def _check_vocabulary(name: str, tokenizer: Any) -> None:
    """Refuse a tokenizer of special tokens alone, which transformers makes where the tokenizer's files are missing."""
    if not hasattr(tokenizer, "get_vocab"):
        return
    vocabulary = set(tokenizer.get_vocab())
    # T5's and mBART's hold the mark of a word's beginning as well, which is no word.
    if vocabulary <= {*tokenizer.all_special_tokens, "\u2581"}:
        raise InvalidInputError(
            f"{name}: its tokenizer knows {len(vocabulary)} special tokens and no word; expected the tokenizer's files "
            f"next to the weights: write tokenizer.save_pretrained({name!r})"
        )


def _check_folder(name: str) -> None:
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise InvalidInputError(f"{name}: no config.json in this folder; expected what save_pretrained writes")
    elif folder.is_file():
        raise InvalidInputError(f"{name}: a file; expected a model's folder or name")
    elif folder.is_absolute() or name.startswith(".") or name.endswith("/"):
        raise InvalidInputError(f"{name}: no such folder; expected a model's folder or name")


def _load_pytorch_transformers(library: Any, name: str) -> Pretrained:
    kind = _detect_architecture(name)
    if kind is None:
        classes = library.AutoConfig, library.AutoTokenizer, library.AutoModelForSequenceClassification
    else:
        classes = tuple(
            getattr(library, _LEGACY_CLASS_PREFIXES[kind] + part)
            for part in ("Config", "Tokenizer", "ForSequenceClassification")
        )
    config_class, tokenizer_class, model_class = classes
    config, tokenizer = config_class.from_pretrained(name), tokenizer_class.from_pretrained(name)
    if config is None or tokenizer is None:
        raise ValueError("no such name or folder, or its vocabulary is missing")
    if not _has_loadable_weights(name):
        raise ValueError("no pytorch_model.bin in the folder")

    def make_model(n_outputs: int) -> Any:
        with silence_logs(), _naming(name):
            config = config_class.from_pretrained(name, num_labels=n_outputs)
            weights, mismatched = _filter_fitting_weights(name, model_class, config)
            model, report = model_class.from_pretrained(name, config=config, output_loading_info=True, **weights)
            _check_weights_loaded(name, model, [*report["missing_keys"], *mismatched], mismatched)
            return model

    return Pretrained(tokenizer, make_model, _count_positions(config))


def _filter_fitting_weights(name: str, model_class: Any, config: Any) -> Tuple[Dict[str, Any], List[str]]:
    """Return a folder's weights without those of another size, which pytorch-transformers refuses, and their names."""
    path = Path(name) / "pytorch_model.bin"
    if not path.is_file() or model_class.__name__.startswith("Auto"):
        return {}, []
    expected = {key: value.shape for key, value in model_class(config).state_dict().items()}
    weights = torch.load(str(path), map_location="cpu")
    mismatched = [key for key, value in weights.items() if expected.get(key, value.shape) != value.shape]
    return {"state_dict": {key: value for key, value in weights.items() if key not in mismatched}}, mismatched


def _load_transformers(library: Any, name: str) -> Pretrained:
    config = library.AutoConfig.from_pretrained(name)
    try:
        tokenizer = library.AutoTokenizer.from_pretrained(name)
    except Exception as error:
        raise ValueError(f"its tokenizer: {_shorten(error)}") from None

    def make_model(n_outputs: int) -> Any:
        with silence_logs(), _hide_progress_bars(library), _naming(name):
            model, report = library.AutoModelForSequenceClassification.from_pretrained(
                name, num_labels=n_outputs, ignore_mismatched_sizes=True, output_loading_info=True
            )
            mismatched = [entry[0] for entry in report["mismatched_keys"]]
            _check_weights_loaded(name, model, [*report["missing_keys"], *mismatched], mismatched)
            # Trained on the table's classes and never saved: a folder's names in another order do no harm here.
            model.config.id2label = {number: f"LABEL_{number}" for number in range(n_outputs)}
            return model.float() if model.dtype in HALF_DTYPES else model  # as HFCallback would, and need not say it

    return Pretrained(tokenizer, make_model, _count_positions(config))


@contextmanager
def _hide_progress_bars(library: Any) -> Iterator[None]:
    """Hide the bars on stderr while weights are loaded: there, errors are one line."""
    settings = library.utils.logging
    shown = settings.is_progress_bar_enabled()
    settings.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            settings.enable_progress_bar()


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Turn any error of a library about weights and config that do not make a model into one line that names them."""
    try:
        yield
    except InvalidInputError:
        raise
    except Exception as error:
        raise InvalidInputError(
            f"{name}: no model could be made of its config.json and weights ({type(error).__name__}: "
            f"{_shorten(error)}); expected what save_pretrained writes"
        ) from None


def _check_weights_loaded(name: str, model: Any, new: List[str], mismatched: List[str]) -> None:
    """Refuse a model whose body is drawn at random, in part or as a whole; its head may be.

    A pooler may be missing as well: models that were pretrained without one are trained with a new one.
    """
    body = f"{model.base_model_prefix}."
    random = sorted({key for key in new if key.startswith(body) and (key in mismatched or ".pooler." not in key)})
    if random:
        how = "of another size in the weights" if random[0] in mismatched else "missing in the weights"
        raise InvalidInputError(
            f"{name}: the weights do not fit config.json: {len(random)} of the body's tensors would be drawn at random "
            f"({random[0]} is {how}); expected both from one save_pretrained, and a new head at most"
        )


def _detect_architecture(name: str) -> Optional[str]:
    """Return the architecture that a folder's config names, or its weights show; None for a name of the library."""
    config = _read_config(name)
    if not config:
        return None
    kind = config.get("model_type") or _architecture_of_weights(name)
    if kind not in _LEGACY_CLASS_PREFIXES:
        given = f"names {kind!r}" if kind else "names no architecture"
        raise ValueError(f'config.json {given}; write "model_type" into it, one of {", ".join(_LEGACY_CLASS_PREFIXES)}')
    return kind


def _architecture_of_weights(name: str) -> Optional[str]:
    if not _has_loadable_weights(name):
        return None
    keys = list(torch.load(str(Path(name) / "pytorch_model.bin"), map_location="cpu"))
    return next(
        (kind for kind, start in _LEGACY_WEIGHT_PREFIXES.items() if any(key.startswith(start) for key in keys)), None
    )


def _read_config(name: str) -> Dict[str, Any]:
    path = Path(name) / "config.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _has_loadable_weights(name: str) -> bool:
    return not Path(name).is_dir() or (Path(name) / "pytorch_model.bin").is_file()


def _count_positions(config: Any) -> Optional[int]:
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None or positions <= 0:
        return None
    # RoBERTa counts positions from its padding id on, so two of its table's rows are never a token's.
    return int(positions) - (2 if "roberta" in type(config).__name__.lower() else 0)
