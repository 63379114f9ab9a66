"""A file is replaced as a whole or not at all."""

import os

import pytest

from fastai_hf_callback.utils.atomic_file import replace_file


def test_the_new_file_is_there_and_nothing_else(tmp_path):
    path = tmp_path / "new" / "folder" / "a.pkl"
    with replace_file(path) as temporary:
        assert temporary.parent == path.parent and not path.exists()
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new" and os.listdir(str(path.parent)) == ["a.pkl"]
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert path.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_after_an_exception_the_old_file_is_as_it_was(tmp_path, error):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with pytest.raises(error), replace_file(path) as temporary:
        temporary.write_bytes(b"half of it")
        raise error
    assert path.read_bytes() == b"old" and os.listdir(str(tmp_path)) == ["a.pkl"]
    with replace_file(path) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(tmp_path):
    path, link = tmp_path / "a.pkl", tmp_path / "link.pkl"
    path.write_bytes(b"old")
    link.symlink_to(path)
    with replace_file(link) as temporary:
        temporary.write_bytes(b"new")
    assert link.is_symlink() and path.read_bytes() == b"new"
