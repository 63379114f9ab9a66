"""The locks, the extras, the hooks and the workflows name the same versions and commands; imports no fastai."""

import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

import fastai_hf_callback

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
STACKS = {"v1": "fastai1", "era": "fastai1", "v2": "fastai2"}


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def pins(stack):
    """Read name -> version of each line of a lock, the names as pip compares them."""
    lines = re.findall(r"^([\w.-]+)==(\S+)$", read(f"constraints/{stack}.txt"), flags=re.M)
    return {plain(name): version for name, version in lines}


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def project():
    return tomllib.loads(read("pyproject.toml"))["project"]


def extras():
    return project()["optional-dependencies"]


@pytest.mark.parametrize("stack, extra", STACKS.items())
def test_a_lock_pins_all_that_its_extra_asks_for(stack, extra):
    asked = [re.split(r"[<>=;\s]", requirement, maxsplit=1)[0] for requirement in extras()[extra] + ["torch", "pytest"]]
    assert {plain(name) for name in asked} <= set(pins(stack))


def test_both_fastais_bring_the_same_packages_for_metrics_plots_and_reports():
    shared = {"scikit-learn", "scipy", "matplotlib", "pandas", "rich", "jinja2"}
    assert shared == set(extras()["fastai1"]) & set(extras()["fastai2"])


def test_the_version_stands_in_one_place_and_is_what_was_installed():
    assert "version" in project()["dynamic"]
    assert f'__version__ = "{metadata.version("fastai-hf-callback")}"' in read("fastai_hf_callback/__init__.py")
    assert fastai_hf_callback.__version__ == metadata.version("fastai-hf-callback")
    assert fastai_hf_callback.__version__ not in read("pyproject.toml") + read("setup.py")


def test_a_change_of_what_is_installed_makes_the_environments_again():
    sources = {"pyproject.toml", "setup.py", "scripts/setup_venv.sh"}
    assert sources <= set(re.search(r"^\.venvs/%/\.ready: (.+)$", read("Makefile"), flags=re.M).group(1).split())
    assert "for source in pyproject.toml setup.py" in read("scripts/setup_venv.sh")


def test_what_lints_is_pinned_and_the_hooks_are_of_those_versions():
    assert {plain(name) for name in extras()["dev"]} <= set(pins("dev"))
    hooked = re.findall(r"([\w-]+)==([\w.]+)", read(".pre-commit-config.yaml"))
    assert len(hooked) == 3
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


DIAGNOSIS = "fastai-hf diagnose train.py:make_learner --json diagnosis.json"


@pytest.mark.parametrize("form", ["ISSUE_TEMPLATE/bug_report.yml", "ISSUE_TEMPLATE/feature_request.yml"])
def test_a_form_is_one_that_the_host_reads(form):
    read_form = pytest.importorskip("yaml").safe_load(read(f".github/{form}"))
    assert {"name", "description", "body"} <= set(read_form)
    assert len({field["id"] for field in read_form["body"]}) == len(read_form["body"])


@pytest.mark.parametrize(
    "template", ["ISSUE_TEMPLATE/bug_report.yml", "ISSUE_TEMPLATE/feature_request.yml", "pull_request_template.md"]
)
def test_whoever_reports_something_is_asked_what_the_doctor_says(template):
    assert DIAGNOSIS in " ".join(read(f".github/{template}").split())


def test_who_reports_a_fault_is_asked_for_the_factory_and_the_versions_too():
    form = pytest.importorskip("yaml").safe_load(read(".github/ISSUE_TEMPLATE/bug_report.yml"))
    required = {field["id"] for field in form["body"] if field["validations"]["required"]}
    assert required == {"what", "factory", "diagnosis", "versions"}
