"""The documentation site: Sphinx and MyST; the API is read from the source, so neither fastai nor torch is needed."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

project = "fastai_hf_callback"
author = "the fastai_hf_callback authors"
copyright = f"2026, {author}"
release = re.search(r'__version__ = "(.+)"', (ROOT / "fastai_hf_callback" / "__init__.py").read_text()).group(1)

extensions = ["myst_nb", "autoapi.extension", "sphinx.ext.napoleon", "sphinx_design", "sphinx_copybutton"]
exclude_patterns = ["_build", "article"]

# Two fastais share one name, so one environment holds one of them: their rooms are read, not imported.
autoapi_dirs = [str(ROOT / "fastai_hf_callback")]
autoapi_generate_api_docs = False
autoapi_options = ["members"]
autoapi_python_class_content = "both"
add_module_names = False
napoleon_numpy_docstring, napoleon_google_docstring = True, False
# Types in docstrings are words for people ("DataFrame or path"), not names to be looked up.
napoleon_use_param = napoleon_use_rtype = False
napoleon_use_ivar = True  # attributes are fields of their class's text, not described twice
python_use_unqualified_type_names = True

myst_enable_extensions = ["colon_fence", "substitution"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # `make notebooks` runs and stores them, the tests hold them to it
nb_merge_streams = True

# What other projects document stands with them; this site is built without a network.
nitpick_ignore_regex = [
    ("py:.*", r"(torch|numpy|pandas|fastai|matplotlib|typing|nn|collections|os)\..*"),
    ("py:class", r".* .*|[a-z_]+"),  # words, where a type could stand: "str to number"
    ("py:class", r"(.*\.)?(Element|Progress)"),  # names for unions and callables
    ("py:class", r"(.*\.)?(LearnerAdapter|PreparedTexts)"),  # what each fastai hands to the core; no user meets them
]
# autoapi does not see numbers that are assigned two at a time; no page shows them.
suppress_warnings = ["autoapi.python_import_resolution"]

html_theme = "furo"
html_title = f"fastai_hf_callback {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
copybutton_prompt_text, copybutton_only_copy_prompt_lines, copybutton_line_continuation_character = "$ ", True, "\\"


def setup(app):
    app.connect("missing-reference", _documented_elsewhere)


def _documented_elsewhere(app, env, node, content):
    """Documents public names where they are made: `compare` is `fastai1.comparison.compare.compare`."""
    from sphinx.util.nodes import make_refnode

    wanted = node.get("reftarget", "").rpartition(".")[2]
    known = env.get_domain("py").objects
    for name in sorted(known):
        if name.rpartition(".")[2] == wanted and name.startswith("fastai_hf_callback."):
            return make_refnode(app.builder, node["refdoc"], known[name].docname, known[name].node_id, content, name)
    return None
