"""Every error, warning and finding of the package, word for word, as in ``tests/expected_messages.txt``.

After new wording: ``python -m tests.message_catalogue --write`` on fastai 1 and on fastai 2, then read the diff.
"""

import re

import pytest

from tests import message_catalogue as messages
from tests.message_triggers import UNTRIGGERED

SITES, RAISES_WITHOUT_MESSAGE = messages.collect_sites()
GOLDEN = messages.GOLDEN.read_text(encoding="utf-8")
EXAMPLES = messages.read(GOLDEN)

# What to do, or what would have been right: one of these has to be in every error and warning.
ADVICE = re.compile(
    r"\b(expected|needs|write|say which|give|take|fill|remove|rename|drop|leave|load|build|hand on|"
    r"do by hand|train longer|look|install|(its|the) columns (of \w+ )?are|see \S+ --help)\b",
    re.I,
)
# Messages that only pass on another's, or that another's quotes.
HANDED_ON = {
    ("cli/main.py", "_detect_fastai"),
    ("comparison/comparison.py", "check"),
    ("model/pretrained.py", "_load_pytorch_transformers"),
    ("model/pretrained.py", "_load_transformers"),
    ("data/text_data.py", "text_data"),
    ("fastai2/data/text_data.py", "text_data"),
    ("__init__.py", "__getattr__"),
    ("diagnosis/event_replay.py", "__getattr__"),
    ("fastai2/diagnosis/learner_adapter.py", "__getattr__"),
    ("fastai2/diagnosis/learner_adapter.py", "run_batch"),
    ("fastai2/diagnosis/learner_adapter.py", "_split_batch"),
    ("fastai1/diagnosis/learner_adapter.py", "iterate_batches"),
    ("data/marked_texts.py", "warn_of_marked_texts"),
    ("model/weights/precision.py", "_warn_once"),
}


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Return how the messages read here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("said"))
        return messages.examples(SITES)


def difference(found, wanted):
    """Return the lines in which the two texts differ, as a diff."""
    import difflib

    return "\n".join(
        difflib.unified_diff(
            wanted.splitlines(), found.splitlines(), "tests/expected_messages.txt", "now", n=1, lineterm=""
        )
    )


# -- pinned --------------------------------------------------------------------------------------------------------


def test_every_message_is_written_as_it_was():
    """Without running anything: what is new, missing or worded differently."""
    now, then = (
        "\n".join(" | ".join(key) for key in keys)
        for keys in (dict.fromkeys(map(messages.golden_key, SITES)), messages.read(GOLDEN))
    )
    assert now == then, difference(now, then)


def test_every_message_reads_as_it_did(said):
    now = messages.render_golden(SITES, messages.merge_examples(SITES, said, messages.read(GOLDEN)))
    assert now == GOLDEN, difference(now, GOLDEN) + "\n\npython -m tests.message_catalogue --write"


# -- complete ------------------------------------------------------------------------------------------------------


def test_nothing_is_raised_without_words():
    assert RAISES_WITHOUT_MESSAGE == []


@pytest.mark.parametrize(
    "source, mute",
    [
        ("raise ValueError", True),
        ("raise ValueError()", True),
        ("raise made_elsewhere(3)", True),
        ("raise problem", True),
        ("raise ValueError('x was given')", False),
        ("raise NotImplementedError", False),
        ("def f():\n    try: pass\n    except KeyError as problem:\n        raise", False),
        ("try: pass\nexcept KeyError as problem:\n    raise problem", False),
        ("raise log.error", False),
        ("raise log.problem", True),
        ("def made(x): return OutputError('x was given')\nraise made(3)", False),
    ],
)
def test_a_raise_without_words_is_seen(source, mute):
    assert bool(messages.find_sites(source, "room.py")[1]) is mute


@pytest.mark.parametrize(
    "source, kind, template",
    [
        (
            "raise InputError(f'{a!r} was given; ' f'expected {b:.2f}', 'cause')",
            "InputError",
            "{} was given; expected {}",
        ),
        ("warn('x')", "warn", "x"),
        ("warnings.warn('x', stacklevel=2)", "warn", "x"),
        ("Finding('a-b', 'note', f'{n} rows.', figures, 'do ' + x)", "Finding a-b", "{} rows. | fix: do {}"),
        ("raise ValueError('all' if x else f'only {x}')", "ValueError", "{all | only {}}"),
        ("raise ValueError(said)", "ValueError", "{}"),
        ("argparse.ArgumentTypeError('x')", "ArgumentTypeError", "x"),
    ],
)
def test_a_message_is_read_as_it_is_written(source, kind, template):
    (site,), _ = messages.find_sites(source, "room.py")
    assert (site.kind, site.template) == (kind, template)


def test_every_message_is_said_somewhere():
    unsaid = [site for site in SITES if not EXAMPLES.get(messages.golden_key(site))]
    known = [(room, start) for room, start, _ in UNTRIGGERED]
    stray = [str(site) for site in unsaid if not any(_is(site, entry) for entry in known)]
    assert stray == [], "add a trigger to message_triggers.py, and write the golden file anew"
    assert [entry for entry in known if not any(_is(site, entry) for site in unsaid)] == [], "is said by now"


def _is(site, entry):
    return site.room == entry[0] and site.template.startswith(entry[1])


# -- and they say something ----------------------------------------------------------------------------------------

# Where nothing of it is quoted.
GIVEN = re.compile(r"(was|were) given|names no|has no training rows|^(expected|neither|No fastai|--html needs|a page)")
ERRORS = [site for site in SITES if site.kind.split()[0] not in ("Finding", "Fix") and site.key[:2] not in HANDED_ON]
FINDINGS = [site for site in SITES if site.kind.startswith("Finding") and site.room != "diagnosis/checks/failures.py"]


@pytest.mark.parametrize("site", ERRORS, ids=str)
def test_an_error_says_what_was_given_and_what_to_do(site):
    example = (EXAMPLES.get(messages.golden_key(site)) or [site.template])[0]
    assert "{" in site.template or GIVEN.search(site.template), "what was given"
    assert ADVICE.search(example), "what was expected, or what to write"
    assert "\n" not in example or site.room == "comparison/comparison.py", "one line"


@pytest.mark.parametrize("site", FINDINGS, ids=str)
def test_a_finding_says_what_was_seen_and_what_to_do(site):
    message, fix = site.template.split(" | fix: ")
    assert message.endswith((".", "}")) and fix and not re.search(r"[^.]\.$", fix)


@pytest.mark.parametrize("text", ["no such file", "{}: failed", "The loss is wrong."])
def test_a_message_that_helps_nobody_would_be_seen(text):
    assert not ADVICE.search(text)
