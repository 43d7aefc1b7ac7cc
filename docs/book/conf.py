"""Sphinx's settings of the site; `docs/book/build.py` stages what they apply to."""

import re
import shutil
import sys
from pathlib import Path

import jupyter_server_mathjax

sys.path.insert(0, str(Path(__file__).parent))

project = "Seven papers, running"
author = "the companion's authors"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
]
html_theme = "sphinx_book_theme"
html_title = project
html_css_files = ["book.css"]
html_static_path = ["book.css"]
html_extra_path = []
html_context = {"default_mode": "auto"}
html_theme_options = {
    "navbar_persistent": [],
    "show_toc_level": 2,
    "use_download_button": True,
    "home_page_in_toc": True,
}
html_show_sourcelink = False
html_copy_source = False
exclude_patterns = ["**/*.py"]

nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "attrs_block"]
myst_heading_anchors = 3
myst_heading_slug_func = "slugs.slug"

autodoc_default_options = {
    "member-order": "bysource",
    # of scikit-learn's metadata routing: the same for every estimator, explained there
    "exclude-members": "set_fit_request, set_predict_request, set_score_request, get_metadata_routing",
}
autodoc_typehints = "none"  # the docstrings have the types, in words
napoleon_google_docstring = False
napoleon_custom_sections = ["Differences from the paper", "Differences from the papers"]
copybutton_exclude = ".linenos, .gp, .go"

# Formulas are set by a MathJax that lies beside the pages.
_MATHJAX = Path(jupyter_server_mathjax.__file__).parent / "static"
mathjax_path = "mathjax/MathJax.js?config=TeX-AMS-MML_HTMLorMML-full"
mathjax2_config = {
    "messageStyle": "none",
    "HTML-CSS": {
        "availableFonts": [],
        "preferredFont": None,
        "imageFont": None,
        "webFont": "STIX-Web",
        "styles": {"@font-face": {"font-family": "MathJax_Blank", "src": "local('none')"}},  # not from about:blank
    },
    "tex2jax": {"inlineMath": [["\\(", "\\)"]], "displayMath": [["\\[", "\\]"]], "processClass": "math"},
}
myst_update_mathjax = False
suppress_warnings = ["ref.python", "ref.ref", "mystnb.unknown_mime_type", "myst.header", "misc.highlighting_failure"]


def plain(app, what, name, obj, options, lines):
    """Docstrings are written to be read: a numbered list may follow its heading at once, and ``|x|`` is a norm."""
    text, in_list = [], False
    for line in lines:
        listed = re.match(r"\s*(\d+\.|-) ", line)
        above = text[-1] if text else ""
        if listed and above.strip() and not in_list:
            text.append("")
        in_list = bool(listed) or (bool(line.strip()) and line.startswith(" ") and bool(text) and in_list)
        text.append(re.sub(r"(?<!`)\|", r"\|", line) if "``" not in line else line)
    lines[:] = text


def copy(app, error):
    """MathJax into the site."""
    if error is None:
        shutil.copytree(_MATHJAX, Path(app.outdir) / "_static" / "mathjax", dirs_exist_ok=True)


def setup(app):
    app.connect("autodoc-process-docstring", plain)
    app.connect("build-finished", copy)
