"""Protocols of tokenizers, for type checkers: Hugging Face's own classes of every version fit them."""

from typing import Any, Dict, List, Optional, Protocol, Sequence, Tuple, Union

__all__ = ["FastTokenizer", "LegacyTokenizer", "SlowTokenizer", "Tokenizer", "TransformersSlowTokenizer"]


class Tokenizer(Protocol):
    """The interface that every tokenizer has."""

    unk_token: str
    all_special_tokens: List[str]

    def __len__(self) -> int: ...

    def tokenize(self, text: str) -> List[str]: ...

    def convert_tokens_to_ids(self, tokens: str) -> Any: ...  # an int; None of a vocabulary without its unknown token

    def convert_ids_to_tokens(self, ids: List[int]) -> List[str]: ...

    def convert_tokens_to_string(self, tokens: List[str]) -> str: ...


class Encoding(Protocol):
    """One text, as the Rust library encodes it."""

    ids: List[int]
    type_ids: List[int]


class Backend(Protocol):
    """The Rust library's tokenizer, which truncates and pads as it was last set to."""

    truncation: Optional[Dict[str, Any]]
    padding: Optional[Dict[str, Any]]

    def enable_truncation(self, max_length: int, **options: Any) -> None: ...

    def enable_padding(self, **options: Any) -> None: ...

    def no_truncation(self) -> None: ...

    def no_padding(self) -> None: ...

    def encode_batch_fast(self, input: Sequence[Union[str, Tuple[str, str]]]) -> List[Encoding]: ...


class BatchEncoding(Protocol):
    """Texts, as a fast tokenizer returns them."""

    def __getitem__(self, name: str) -> Any: ...

    def get(self, name: str) -> Any: ...

    def word_ids(self, batch_index: int) -> List[Optional[int]]: ...

    def sequence_ids(self, batch_index: int) -> List[Optional[int]]: ...


class FastTokenizer(Tokenizer, Protocol):
    """A tokenizer of transformers that is built on the Rust library."""

    backend_tokenizer: Backend
    model_input_names: List[str]
    truncation_side: str
    cls_token_id: Optional[int]

    def __call__(
        self, text: Sequence[Any], text_pair: Optional[Sequence[str]] = None, **options: Any
    ) -> BatchEncoding: ...

    def num_special_tokens_to_add(self, pair: bool) -> int: ...


class SlowTokenizer(Tokenizer, Protocol):
    """A tokenizer written in Python, of either library."""

    def _tokenize(self, text: str) -> List[str]: ...


class LegacyTokenizer(SlowTokenizer, Protocol):
    """A tokenizer of pytorch-transformers."""

    added_tokens_encoder: Dict[str, int]

    def add_special_tokens_single_sentence(self, token_ids: List[int]) -> List[int]: ...

    def add_special_tokens_sentences_pair(self, token_ids_0: List[int], token_ids_1: List[int]) -> List[int]: ...


class TransformersSlowTokenizer(SlowTokenizer, Protocol):
    """A slow tokenizer of transformers."""

    def build_inputs_with_special_tokens(
        self, token_ids_0: List[int], token_ids_1: Optional[List[int]] = None
    ) -> List[int]: ...

    def create_token_type_ids_from_sequences(
        self, token_ids_0: List[int], token_ids_1: Optional[List[int]] = None
    ) -> List[int]: ...
