"""The locks, the extras, the hooks and the workflows name the same things; no fastai here."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STACKS = {"v1": "fastai1", "era": "fastai1", "v2": "fastai2"}


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def pins(stack):
    """Name -> version of each line of a lock, the names as pip compares them."""
    lines = re.findall(r"^([\w.-]+)==(\S+)$", read(f"constraints/{stack}.txt"), flags=re.M)
    return {plain(name): version for name, version in lines}


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def extras():
    """What setup.py's dictionary holds, without running it."""
    tree = ast.parse(read("setup.py"))
    values = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    shared = ast.literal_eval(values["shared"])
    listed = {}
    for key, value in zip(values["extras"].keys, values["extras"].values):
        listed[key.value] = [one.value for one in value.elts if isinstance(one, ast.Constant)]
        if any(isinstance(one, ast.Starred) for one in value.elts):
            listed[key.value] += shared
    return listed


@pytest.mark.parametrize("stack, extra", STACKS.items())
def test_a_lock_pins_all_that_its_extra_asks_for(stack, extra):
    asked = [re.split(r"[<>=;\s]", requirement, maxsplit=1)[0] for requirement in extras()[extra] + ["torch", "pytest"]]
    assert {plain(name) for name in asked} <= set(pins(stack))


def test_what_lints_is_pinned_and_the_hooks_are_of_those_versions():
    assert {plain(name) for name in extras()["dev"]} <= set(pins("dev"))
    hooked = re.findall(r"([\w-]+)==([\w.]+)", read(".pre-commit-config.yaml"))
    assert len(hooked) == 2
    assert all(pins("dev")[plain(name)] == version for name, version in hooked)


def test_every_stack_is_tested_on_each_change_and_stands_in_the_readme():
    workflow = read(".github/workflows/test.yml")
    assert set(re.findall(r"\{stack: (\w+)", workflow)) == set(STACKS)
    assert set(re.findall(r"^\| `(\w+)` \| 3", read("README.md"), flags=re.M)) == set(STACKS)


@pytest.mark.parametrize("stack", ["v1", "v2"])
def test_the_readme_and_the_list_of_what_is_supported_name_the_locked_versions(stack):
    fastai = pins(stack)["fastai"]
    assert f"fastai {fastai}" in read("docs/supported.md")
    assert re.search(rf"^\| `{stack}` \| 3.11 \| {pins(stack)['torch'][:4]} \| {fastai[:3]}", read("README.md"), re.M)
