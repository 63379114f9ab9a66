"""What the tests of the texts share: tokenizers made once, and a file of any content."""

import pytest

from tests.data.encoding.tiny_tokenizers import bert, xlm
from tests.data.tables.read_helpers import pd


@pytest.fixture
def csv(tmp_path):
    """A file with this content: a DataFrame, text or bytes."""

    def write(content, name="data.csv"):
        path = tmp_path / name
        content = content.to_csv(index=False) if isinstance(content, pd.DataFrame) else content
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """Makes a tokenizer of pytorch-transformers, once."""
    library, made = pytest.importorskip("pytorch_transformers"), {}

    def of(make):
        if make not in made:
            made[make] = make(library, tmp_path_factory.mktemp("tokenizer"))
        return made[make]

    return of


@pytest.fixture(scope="module")
def fast():
    library, made = pytest.importorskip("transformers", minversion="5"), {}
    return lambda make: made.setdefault(make, None) or made.update({make: make(library)}) or made[make]


@pytest.fixture(scope="module")
def slow_of_today(tmp_path_factory):
    library = pytest.importorskip("transformers", minversion="5")
    return xlm(library, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def a_bert(slow):
    return slow(bert)
