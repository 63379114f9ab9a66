"""Outputs: proven writable before anything is trained, never onto what is read, and whole or not there at all."""

import os
import stat

import pytest

from fastai_hf_callback import InvalidInputError
from fastai_hf_callback.cli import outputs as module
from fastai_hf_callback.cli.outputs import find_outputs, write_output


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a table, a model's folder, and links to both."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.csv").write_text("text,kind\n")
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "link.json").symlink_to("train.csv")
    os.link(str(tmp_path / "train.csv"), str(tmp_path / "hard.json"))
    os.link(str(tmp_path / "model" / "config.json"), str(tmp_path / "config.json"))
    (tmp_path / "round").symlink_to(".")
    return tmp_path


def refused(given, inputs=("train.csv", "model")):
    with pytest.raises(InvalidInputError) as error:
        find_outputs(given, inputs)
    return str(error.value)


@pytest.mark.parametrize(
    "name",
    ["train.csv", "./train.csv", "model/../train.csv", "round/train.csv", "link.json", "hard.json"]
    + ["model/config.json", "config.json", "round/model/new.json", "model/deep/new.json"],
)
def test_what_is_read_is_never_written(here, name):
    before = sorted(os.listdir(str(here)))
    assert refused({"--json": name}).startswith(f"--json {name}: ")
    assert refused({"--json": str(here / name)}).endswith(" is read from there; expected another file")
    assert sorted(os.listdir(str(here))) == before and (here / "train.csv").read_text() == "text,kind\n"


@pytest.mark.parametrize(
    "one, two", [("a", "a"), ("a", "./a"), ("a", "round/a"), ("old", "old-link"), ("old", "hard-old")]
)
def test_no_output_is_written_onto_another(here, one, two):
    (here / "old").write_text("old")
    (here / "old-link").symlink_to("old")
    os.link(str(here / "old"), str(here / "hard-old"))
    said = refused({"--json": one, "--html": two})
    assert said == f"--html {two}: the same file as --json {one}; expected another one for each"


@pytest.mark.parametrize("name", ["", ".", "new/", "model", "no/such/a", "train.csv/a", "x" * 300, "loop", "nowhere"])
def test_what_cannot_be_written_is_found_out_at_once(here, name):
    (here / "loop").symlink_to("loop")
    (here / "nowhere").symlink_to("no/such/a")
    before = sorted(os.listdir(str(here)))
    assert refused({"--json": name}, []).startswith(f"--json {name}: cannot be written (")
    assert sorted(os.listdir(str(here))) == before


def test_a_relative_name_is_of_the_folder_that_the_command_began_in(here, monkeypatch):
    output = find_outputs({"--json": "out.json"}, ["train.csv"])["--json"]
    monkeypatch.chdir(here / "model")
    write_output(output, b"{}")
    assert (here / "out.json").read_bytes() == b"{}" and not (here / "model" / "out.json").exists()


def test_a_file_keeps_its_permissions_and_a_link_stays_one(here):
    (here / "old").write_text("old")
    (here / "old").chmod(0o640)
    (here / "old-link").symlink_to("old")
    write_output(find_outputs({"--json": "old-link"}, [])["--json"], b"new")
    assert (here / "old-link").is_symlink() and (here / "old").read_text() == "new"
    assert stat.S_IMODE((here / "old").stat().st_mode) == 0o640


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(here, monkeypatch, error):
    def fail(number):
        raise error

    (here / "old").write_text("old")
    output, before = find_outputs({"--json": "old"}, [])["--json"], sorted(os.listdir(str(here)))
    monkeypatch.setattr(module.os, "fsync", fail)
    with pytest.raises(InvalidInputError if isinstance(error, OSError) else KeyboardInterrupt):
        write_output(output, b"new")
    assert (here / "old").read_text() == "old" and sorted(os.listdir(str(here))) == before


def test_a_device_is_written_to_and_not_replaced(here):
    write_output(find_outputs({"--json": os.devnull}, [])["--json"], b"new")
    assert not os.path.isfile(os.devnull)
