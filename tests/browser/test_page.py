"""The page as a person sees it, in a real Chromium: it draws, tells values, copies, turns dark, and fits a phone."""

import re

import pytest

pytest.importorskip("jinja2")

from tests.report.example_comparisons import different, long, metric_at_base_rate, moved, not_finite, stuck
from tests.report.test_page import HOSTILE, hostile_comparison, hostile_diagnosis, several

pytestmark = pytest.mark.slow

PAGES = (moved, different, metric_at_base_rate, not_finite, stuck, several)
every_page = pytest.mark.parametrize("make", PAGES, ids=lambda make: make.__name__)

READ = """
const plot = arguments[0], strip = plot.querySelector('.strips i:hover, .strips i.read');
return strip && getComputedStyle(strip, '::after').content.replaceAll('\\\\a ', '\\n').slice(1, -1)
"""

# Every text's contrast with what is behind it, by the formula of WCAG 2; the lowest first.
CONTRAST = """
const clear = (c) => c.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const behind = (e) => { for (; e; e = e.parentElement) { const c = clear(getComputedStyle(e).backgroundColor);
  if (c.length < 4 || c[3] === 1) return c; } return [255, 255, 255]; };
const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const text = walk.currentNode.data.trim(), e = walk.currentNode.parentElement;
  if (!text || e.closest('script, style') || !e.getClientRects().length) continue;
  const [a, b] = [light(clear(getComputedStyle(e).color)), light(behind(e))];
  found.push([(Math.max(a, b) + .05) / (Math.min(a, b) + .05), text]);
}
return found.sort((x, y) => x[0] - y[0]);
"""


# -- it draws ------------------------------------------------------------------------------------------------------


@every_page
def test_every_line_lies_in_its_frame_and_nothing_is_complained_of(window, make):
    window.open(make().to_html())
    frames = window.ask("""return [...document.querySelectorAll('.drawing')].map((drawing) => {
      const frame = drawing.getBoundingClientRect();
      return [frame.width, frame.height, ...[...drawing.querySelectorAll('path.line')].map((line) => {
        const box = line.getBoundingClientRect();
        return box.left >= frame.left - 3 && box.right <= frame.right + 3 && box.top >= frame.top - 3
          && box.bottom <= frame.bottom + 3 && (line.getTotalLength() > 0 || !line.getAttribute('d').includes('L'));
      })] })""")
    assert frames and all(width > 200 and height > 60 and all(inside) for width, height, *inside in frames)
    assert window.complaints() == []


def test_a_line_goes_where_its_values_go(window):
    window.open(moved().to_html())
    ends = window.ask("""return [...document.querySelectorAll('path.line.callback')].map((line) =>
      [line.getPointAtLength(0), line.getPointAtLength(line.getTotalLength())].map((p) => [p.x, p.y]))""")
    falls = [first[1] < last[1] for first, last in ends]
    assert falls == [True, False, True, False], "train loss, gradient norm (1 to 4, by hand), valid loss, accuracy"
    assert all(first[0] < last[0] for first, last in ends)


def test_the_first_difference_is_seen_where_it_is(window):
    window.open(different().to_html())
    places = window.ask("""return [...document.querySelectorAll('path.parting')].map((line) => {
      const frame = line.closest('.drawing').getBoundingClientRect(), box = line.getBoundingClientRect();
      return [((box.left + box.right) / 2 - frame.left) / frame.width, box.height / frame.height,
              getComputedStyle(line).stroke] })""")
    assert len(places) == 3
    for place, height, stroke in places:
        assert place == pytest.approx(3.5 / 4, abs=0.02) and height > 0.95 and stroke == "rgb(179, 36, 48)"


# -- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_pointing_at_a_curve_tells_the_values(window, scripts):
    window.open(different().to_html(), scripts=scripts)
    plot, frame = window.find(".plot")[0], window.find(".drawing")[0]
    assert window.ask(READ, plot) is None
    window.point_at(frame, right=0.4 * frame.size["width"])
    assert window.ask(READ, plot).split("\n") == ["fit 0, epoch 1, step 1", "callback 0.3", "patched 0.4", "broken 0.9"]
    window.point_at(frame, right=-0.4 * frame.size["width"])
    assert window.ask(READ, plot).split("\n")[:2] == ["fit 0, epoch 0, step 0", "callback 0.9"]


def test_the_arrow_keys_tell_the_values(window):
    window.open(different().to_html())
    plot = window.find(".plot")[0]
    described = plot.get_attribute("aria-label")
    window.point_at(window.find("h1")[0])
    read = []
    for key in ("\ue014", "\ue014", "\ue012", "\ue010", "\ue014", "\ue011"):  # right, right, left, end, right, home
        plot.send_keys(key)
        read.append(window.ask(READ, plot).split("\n")[0])
        assert plot.get_attribute("aria-label").startswith(read[-1])
    first, second, last = (f"fit 0, epoch {e}, step {s}" for e, s in ((0, 0), (0, 1), (1, 1)))
    assert read == [first, second, first, last, last, first]
    plot.send_keys("\ue00c")  # escape
    assert window.ask(READ, plot) is None and plot.get_attribute("aria-label") == described


def test_of_ten_thousand_steps_the_one_that_differs_can_be_read(window):
    window.open(long().to_html())
    at = window.ask("""const strips = [...document.querySelectorAll('.plot')[0].querySelectorAll('.strips i')];
      return strips.findIndex((strip) => strip.dataset.at.startsWith('fit 0, epoch 77, step 77\\n'))""")
    plot = window.find(".plot")[0]
    plot.send_keys("\ue011", *["\ue00f"] * (at // 10), *["\ue014"] * (at % 10))  # home, page down, right
    told = window.ask(READ, plot)
    callback, patched = re.findall(r"(?:callback|patched) (\S+)", told)
    assert told.startswith("fit 0, epoch 77, step 77") and callback != patched


# -- copy ----------------------------------------------------------------------------------------------------------

CLIPBOARD = "const tell = arguments[0]; navigator.clipboard.readText().then(tell, (refused) => tell(String(refused)))"


def test_a_button_copies_the_fix_and_says_so(window):
    window.open(several().to_html())
    window.allow_reading_the_clipboard()
    buttons = window.find("button.copy")
    assert [button.is_displayed() for button in buttons] == [True, True]
    buttons[1].click()
    assert window.ask_later(CLIPBOARD) == "pad_first=False" and buttons[1].text == "Copied"
    buttons[0].send_keys("\ue007")  # enter
    assert window.ask_later(CLIPBOARD) == "learn.unfreeze()" and buttons[0].text == "Copied"
    assert buttons[0].get_attribute("aria-label") == "Copy the fix of no-gradient-in-model"


def test_where_the_clipboard_is_refused_the_fix_is_selected(window):
    window.open(several().to_html())
    window.forbid_the_clipboard()
    button = window.find("button.copy")[0]
    button.click()
    window.ask_later("setTimeout(arguments[0], 50)")
    assert button.text in ("Copied", "Press Ctrl+C")
    assert window.ask("return String(getSelection())").strip() == "learn.unfreeze()"


def test_without_scripts_no_button_is_there_to_disappoint(window):
    window.open(several().to_html(), scripts=False)
    assert not any(button.is_displayed() for button in window.find("button"))
    assert len(window.find(".fix code")) == 2


# -- light and dark ------------------------------------------------------------------------------------------------

GROUND = "return getComputedStyle(document.querySelector('.fastai-hf-report')).backgroundColor"
LIGHT, DARK = "rgb(246, 248, 250)", "rgb(13, 17, 23)"


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_the_page_is_dark_where_dark_is_preferred(window, scripts):
    assert window.open(moved().to_html(), scripts=scripts).ask(GROUND) == LIGHT
    assert window.open(moved().to_html(), scripts=scripts, dark=True).ask(GROUND) == DARK


def test_the_switch_is_remembered_for_this_page_alone(window):
    window.open(moved().to_html())
    button = window.find("button.theme")[0]
    assert button.text == "Dark"
    button.click()
    assert window.ask(GROUND) == DARK and button.text == "Light"
    window.reload()
    assert window.ask(GROUND) == DARK
    window.prefer("dark")
    window.find("button.theme")[0].click()
    assert window.ask(GROUND) == LIGHT, "against what the system prefers"
    assert window.open(different().to_html(), dark=True).ask(GROUND) == DARK, "another page knows nothing of it"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@every_page
def test_every_text_can_be_read(window, make, dark):
    window.open(make().to_html(title="train.py"), dark=dark)
    (lowest, text), *_ = window.ask(CONTRAST)
    assert lowest >= 4.5, f"{text!r} has a contrast of {lowest:.2f}"


def test_grey_on_grey_would_be_seen(window):
    (lowest, text), *_ = window.open("<p style='color: #999'>pale</p><p>black</p>").ask(CONTRAST)
    assert text == "pale" and lowest == pytest.approx(2.85, abs=0.01)


# -- a phone -------------------------------------------------------------------------------------------------------

SCROLLS = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize("width", [390, 320])
@pytest.mark.parametrize(
    "make",
    [*PAGES, lambda: hostile_comparison(HOSTILE), lambda: hostile_diagnosis("n" * 300)],
    ids=lambda make: make.__name__,
)
def test_a_phone_never_scrolls_the_page_sideways(window, make, width):
    window.open(make().to_html(title="a_folder/" * 20), width=width)
    assert window.ask(SCROLLS) == 0
    for details in window.find("summary"):
        details.click()
    assert window.ask(SCROLLS) == 0


def test_what_a_curve_tells_fits_on_a_phone(window):
    window.open(different().to_html(), width=390)
    for frame in window.find(".drawing")[:2]:
        for side in (-0.45, 0.1, 0.45):
            window.point_at(frame, right=side * frame.size["width"])
            assert window.ask(SCROLLS) == 0


def test_a_page_that_is_too_wide_would_be_seen(window):
    assert window.open("<pre>" + "wide " * 200 + "</pre>", width=390).ask(SCROLLS) > 0


# -- text stays text -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [hostile_comparison, hostile_diagnosis], ids=lambda make: make.__name__)
def test_a_hostile_name_is_text(window, make):
    hostile = HOSTILE + "<script>document.title = 'pwned'</script><svg onload=alert(1)>"
    window.open(make(hostile).to_html(title=hostile))
    assert "pwned" in window.ask("return document.title") and window.ask("return document.title") != "pwned"
    assert hostile in window.ask("return document.body.textContent") and window.find("main script, main img") == []
    assert window.complaints() == []


def test_were_it_not_the_policy_would_still_let_nothing_run_or_load(window):
    page = (
        moved()
        .to_html(title="HERE")
        .replace(
            '<p class="subject">HERE</p>',
            "<script>document.title = 'pwned'</script><img src='https://example.org/x.png' "
            "onerror='document.title = 1'>",
        )
    )
    window.open(page)
    assert window.ask("return document.title") == "Identical, and it moved: HERE"
    assert len([line for line in window.complaints() if "Content Security Policy" in line]) >= 2


# -- a notebook ----------------------------------------------------------------------------------------------------

NOTEBOOK = """<!DOCTYPE html><html{theme}><head>
<style>body {{ font: 13px Arial }} td {{ text-align: center }}</style></head>
<body><h1>Mine</h1><table><tr><td>1</td></tr></table><pre><code>mine</code></pre><button>Mine</button><p>Mine</p>
{pieces}</body></html>"""
OUTSIDE = """return [...document.querySelectorAll('body > :not(.fastai-hf-report), td, pre > code')].filter(
  (e) => !e.closest('.fastai-hf-report')).map((e) => JSON.stringify(Object.fromEntries([...getComputedStyle(e)].filter(
  (name) => !/^(perspective|transform)-origin|^(block|inline)-size|^width|^height/.test(name)).map(
  (name) => [name, getComputedStyle(e).getPropertyValue(name)]))))"""


def test_a_piece_changes_nothing_of_the_notebook_around_it(window):
    pieces = moved()._repr_html_() + several()._repr_html_()
    alone = window.open(NOTEBOOK.format(theme="", pieces="")).ask(OUTSIDE)
    assert window.open(NOTEBOOK.format(theme="", pieces=pieces)).ask(OUTSIDE) == alone and len(alone) >= 7
    assert window.open(NOTEBOOK.format(theme="", pieces="<style>p { color: red }</style>")).ask(OUTSIDE) != alone


def test_two_pieces_wake_once_each(window):
    window.open(NOTEBOOK.format(theme="", pieces=several()._repr_html_() * 2))
    window.allow_reading_the_clipboard()
    buttons = window.find("button.copy")
    assert len(buttons) == 4 and all(button.is_displayed() for button in buttons)
    buttons[3].click()
    assert window.ask_later(CLIPBOARD) == "pad_first=False"
    assert window.complaints() == []


@pytest.mark.parametrize(
    "theme, ground",
    [("", LIGHT), (" data-jp-theme-light='false'", DARK), (" theme='dark'", DARK), (" class='vscode-dark'", DARK)],
)
def test_a_piece_takes_its_colours_from_the_notebook(window, theme, ground):
    window.open(NOTEBOOK.format(theme=theme, pieces=moved()._repr_html_()), dark=True)
    assert window.ask(GROUND) == ground
    assert all(contrast >= 4.5 for contrast, _ in window.ask(CONTRAST))
