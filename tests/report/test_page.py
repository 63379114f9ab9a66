"""The page and the notebook's piece: whole, self-contained, and whatever a name holds stays text. No browser here."""

import re
from base64 import b64encode
from collections import Counter
from dataclasses import replace
from datetime import date
from hashlib import sha256
from importlib.metadata import version

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastai_hf_callback.comparison.comparison import build_comparison
from fastai_hf_callback.diagnosis.diagnosis import Diagnosis, build_diagnosis
from fastai_hf_callback.results.finding import Finding
from fastai_hf_callback.results.probes import NOT_MADE
from tests.recorded_evidence import evidence_with, healthy, with_outcome
from tests.report.example_comparisons import (
    COMPARISONS,
    alone,
    different,
    long,
    metric_at_base_rate,
    moved,
    not_finite,
    stuck,
)
from tests.report.html_parser import Parsed
from tests.tiny_models import make_broken_trace, make_trace

pytest.importorskip("jinja2")

from fastai_hf_callback.report import page as page_room

HOSTILE = "</script></style><script>alert(\"x\" & 'y')</script>{{ 7 * 7 }}<img src=x onerror=alert(1)>"
TEXTS = st.text(st.characters() | st.sampled_from("<>&\"'`={}%/\\ \n\r\x00\u202e"), min_size=1, max_size=40)


def several():
    return Diagnosis(
        [
            Finding("no-gradient-in-model", "error", "The loss reaches nothing.", {"reached": 0}, "learn.unfreeze()"),
            Finding("padding-in-front", "warning", "Texts are padded in front.", {"share": 0.5}, "pad_first=False"),
            Finding(
                "metric-at-base-rate",
                "note",
                "accuracy stands still.",
                {"accuracy": 0.4},
                fix_function=lambda learn: learn,
            ),
        ],
        healthy(),
    )


DIAGNOSES = (
    several,
    Diagnosis,
    lambda: build_diagnosis(healthy()),
    lambda: Diagnosis(several().findings[2:], healthy()),
)
TOLD = [*COMPARISONS, *DIAGNOSES]
everything = pytest.mark.parametrize("make", TOLD, ids=lambda make: make.__name__)


def words(html):
    return re.sub(r"\s+", " ", " ".join(Parsed(html).text))


def hostile_comparison(text):
    def named(trace):
        return replace(
            trace,
            before=None,
            epochs=[replace(e, metrics={text: 0.5}) for e in trace.epochs],
            base_rates={text: 0.5},
            final_weights={text: trace.arm},
        )

    return build_comparison([named(make_trace("callback")), named(make_trace("patched")), named(make_broken_trace())])


def hostile_diagnosis(text):
    evidence = evidence_with(
        metric__name=text,
        probes=with_outcome("metrics", NOT_MADE, text, text),
        weights__non_finite_names=[text],
        history__metrics={text: [0.5, 0.6]},
    )
    return Diagnosis([Finding(text, "error", text, {text: text}, text)], evidence)


# -- whole ---------------------------------------------------------------------------------------------------------


@everything
def test_every_tag_is_closed_and_no_id_is_there_to_clash(make):
    whole, piece = Parsed(make().to_html()), Parsed(make()._repr_html_())
    assert whole.tags[0] == ("html", "lang") and piece.tags[0] == ("div", "class")
    for parsed in (whole, piece):
        assert not [name for _, name, _ in parsed.attributes if name == "id"]


def test_the_parser_of_these_tests_sees_what_is_open_and_what_is_crossed():
    for html in ("<p><b>x</p>", "<p><b>x</p></b>", "<p>", "x</p>"):
        with pytest.raises(AssertionError):
            Parsed(html)


@everything
def test_headings_go_down_one_at_a_time(make):
    for html, first in ((make().to_html(), 1), (make()._repr_html_(), 3)):
        levels = [int(tag[0][1]) for tag in Parsed(html).tags if re.fullmatch("h[1-6]", tag[0])]
        assert levels[0] == first and levels.count(first) == 1
        assert all(after <= before + 1 for before, after in zip(levels, levels[1:]))


@everything
def test_whatever_is_not_text_has_a_name(make):
    parsed = Parsed(make().to_html())
    named = {("button", "copy"), ("div", "plot"), ("div", "scrolling")}
    for tag in parsed.tags:
        assert ("role" in tag) <= ("aria-label" in tag) and (tag[0] != "th" or "scope" in tag)
    wanted = sum((tag, value) in named for tag, name, value in parsed.attributes if name == "class")
    labels = [value for _, name, value in parsed.attributes if name == "aria-label"]
    assert wanted <= len(labels) and all(labels)


# -- self-contained ------------------------------------------------------------------------------------------------


LOADING = {"src", "href", "xlink:href", "srcset", "action", "formaction", "data", "poster", "background"}


@everything
def test_nothing_is_loaded_from_anywhere(make):
    for html in (make().to_html(title="train.py"), make()._repr_html_()):
        parsed = Parsed(html)
        assert not {tag[0] for tag in parsed.tags} & {"link", "img", "iframe", "object", "embed", "base", "form", "a"}
        assert not {name for _, name, _ in parsed.attributes} & LOADING
        assert not re.search(r"https?:|//[a-z]|url\(|@import|\bfetch\b|XMLHttpRequest|import\(", html)


def test_the_policy_lets_the_pages_own_script_run_and_nothing_else():
    parsed = Parsed(different().to_html(title=HOSTILE))
    policy = next(value for tag, name, value in parsed.attributes if name == "content" and "default-src" in value)
    own = "sha256-" + b64encode(sha256(parsed.raw["script"].encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src '{own}'"
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]


def test_the_same_gives_the_same_page():
    assert different().to_html() == different().to_html() and several()._repr_html_() == several()._repr_html_()


def test_a_run_of_ten_thousand_steps_is_a_small_file():
    assert len(long().to_html().encode()) < 500_000


# -- text stays text -----------------------------------------------------------------------------------------------


def skeleton(html):
    return Counter(Parsed(html).tags)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(TEXTS)
def test_whatever_a_name_holds_the_page_has_the_same_tags(text):
    for make in (hostile_comparison, hostile_diagnosis):
        assert skeleton(make(text).to_html(title=text)) == skeleton(make("name").to_html(title="name"))
        assert skeleton(make(text)._repr_html_()) == skeleton(make("name")._repr_html_())


@settings(deadline=None, max_examples=60)
@given(TEXTS)
def test_whatever_a_name_holds_it_can_be_read(text):
    shown = page_room._escape_control_characters(text)
    for html in (hostile_comparison(text).to_html(title=text), hostile_diagnosis(text).to_html(title=text)):
        parsed = Parsed(html)
        assert parsed.text.count(shown) >= 3 and any(shown in value for _, _, value in parsed.attributes)
        html.encode("utf-8")


def test_without_escaping_these_tests_would_fail(monkeypatch):
    careless = page_room._get_jinja_environment().overlay(autoescape=False)
    monkeypatch.setattr(page_room, "_get_jinja_environment", lambda: careless)
    assert skeleton(hostile_diagnosis("<b>x</b>").to_html()) != skeleton(hostile_diagnosis("name").to_html())


@pytest.mark.parametrize(
    "text, shown",
    [
        ("a\x00b", "a\\x00b"),
        ("\ud800", "\\ud800"),
        ("a\u202eb", "a\\u202eb"),
        ("a\rb", "a\\rb"),
        ("a\tb\n", "a\tb\n"),
        ("ß漢😀", "ß漢😀"),
    ],
)
def test_what_cannot_be_written_or_would_mislead_is_shown_as_it_is_typed(text, shown):
    assert page_room._escape_control_characters(text) == shown
    assert shown in words(Diagnosis([Finding("cause", "note", text)]).to_html()) + shown[:0] or "\n" in shown


def test_hostile_text_is_in_every_place_a_user_can_name():
    told = words(hostile_diagnosis(HOSTILE).to_html(title=HOSTILE))
    assert told.count(HOSTILE) >= 9 and "49" not in told.replace("0.49", "")
    assert words(hostile_comparison(HOSTILE).to_html(title=HOSTILE)).count(HOSTILE) >= 5


# -- a piece for a notebook ----------------------------------------------------------------------------------------


def selectors(css):
    """All selectors of the rules, also of those inside of @media."""
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.S)
    heads = (head.strip() for head in re.findall(r"([^{};]+)\{", css))
    return [one.strip() for head in heads if not head.startswith("@") for one in head.split(",")]


@pytest.mark.parametrize("make", [moved, several], ids=lambda make: make.__name__)
def test_the_pieces_rules_reach_nothing_outside(make):
    found = selectors(Parsed(make()._repr_html_()).raw["style"])
    assert len(found) > 50 and all(".fastai-hf-report" in selector for selector in found)
    assert not [s for s in found if re.search(r"\.fastai-hf-report\S*\s*[+~]", s)]


def test_a_rule_without_the_piece_before_it_would_be_seen():
    assert selectors("p { color: red } @media print { .fastai-hf-report p, b { top: 0 } }") == [
        "p",
        ".fastai-hf-report p",
        "b",
    ]


def test_the_piece_is_no_page_and_brings_no_switch():
    piece = different()._repr_html_()
    assert "<html" not in piece and "<body" not in piece and "sessionStorage" not in piece


@pytest.mark.parametrize("make", [moved, several], ids=lambda make: make.__name__)
def test_without_jinja2_a_notebook_shows_the_text_and_a_page_says_what_to_install(make, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    page_room._get_jinja_environment.cache_clear()
    assert words(make()._repr_html_()).split() == str(make()).split()
    with pytest.raises(
        ImportError, match="a page is made with jinja2, which is not installed; write: pip install jinja2"
    ):
        make().to_html()


# -- what is told --------------------------------------------------------------------------------------------------


def test_the_verdict_comes_first_in_plain_words():
    told = words(moved().to_html(title="train.py:make_learner"))
    assert (
        " train.py:make_learner Identical, and it moved Through the callback the training is what it is through "
        "the patched loop: every loss" in told
    )
    assert "Identical but stuck" in words(stuck().to_html())
    assert "Both arms moved nothing; raise the learning rate" in words(stuck().to_html())
    assert "Nothing compared The patched arm was not run." in words(alone().to_html())


def test_the_first_difference_is_told_with_both_values_and_how_far_they_are_apart():
    told = words(different().to_html())
    assert "The first difference where fit 0, epoch 1, step 1 what loss callback 0.3 patched 0.4 apart by -0.1" in told
    assert "so do two patched runs" in told
    assert "The first difference" not in words(moved().to_html())


def test_the_first_difference_is_marked_in_the_curves():
    assert different().to_html().count(">first difference</span>") == 3, "loss, what is left of it, gradient norm"
    assert ">first difference</span>" not in moved().to_html()


def test_the_metric_stands_beside_its_base_rate_and_what_it_cannot_see_is_said():
    told = words(metric_at_base_rate().to_html())
    assert "thresh 0.900000 0.900000 at base rate 0.400000" in told
    assert "thresh stands at 0.900000, what a predictor that never reads the text scores" in told
    assert "base rate 0.9" in told


def test_what_is_no_longer_finite_is_marked():
    assert ">no longer finite</span>" in not_finite().to_html()


def test_findings_come_with_evidence_and_a_fix_to_copy():
    html = several().to_html(title="train.py")
    told = words(html)
    assert "1 error, 1 warning and 1 note Begin with the first, no-gradient-in-model" in told
    assert "error no-gradient-in-model The loss reaches nothing. learn.unfreeze() Copy reached 0" in told
    assert html.count("<button") == 2, "what has no fix has nothing to copy"
    assert "diagnosis.findings[2].apply(learn)" in told
    assert "accuracy 0.600000 0.400000 1.000000 0.000000" in told


def test_what_came_of_a_trial_is_beside_the_fix():
    finding = Finding("bad-metric", "note", "It stands still.", fix="add one", tried="tried on a copy: it <moves>")
    shown, silent = Diagnosis([finding]).to_html(), Diagnosis([replace(finding, tried="")]).to_html()
    assert "add one Copy Trial: tried on a copy: it <moves>." in words(shown) and "it &lt;moves&gt;" in shown
    assert "Trial" not in words(silent)


def test_a_healthy_diagnosis_says_what_was_looked_at():
    told = words(build_diagnosis(healthy()).to_html())
    assert "Healthy Looked at inputs, outputs, loss, " in told and "found nothing that keeps metrics still." in told
    noted = words(Diagnosis(several().findings[2:], healthy()).to_html())
    assert "There is something to know all the same: 1 note." in noted
    assert "In doubt Nothing was looked at." in words(Diagnosis().to_html())
    blind = words(build_diagnosis(evidence_with(probes=with_outcome("metrics", NOT_MADE, "odd", "even"))).to_html())
    assert "In doubt" in blind and "metrics not made: odd; even" in blind


def test_a_page_can_be_written_and_is_handed_back(tmp_path):
    path = tmp_path / "page.html"
    assert moved().to_html(path) == path.read_text(encoding="utf-8")
    assert several().to_html(str(path)) == path.read_text(encoding="utf-8")


def test_a_page_says_when_it_was_made_and_with_what():
    told = words(several().to_html())
    assert f"Written on {date.today().isoformat()}" in told and f"torch {version('torch')}" in told
