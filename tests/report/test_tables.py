"""Tables as HTML and Markdown. All numbers called ours here are made up."""

from html.parser import HTMLParser

import pandas as pd

from paperlib.report import compare, tables

from .test_compare import PRINTED, frame, printed


class Page(HTMLParser):
    """Elements with their attributes, and the text inside each kind of element."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.texts = [], [], {}
        self.feed(text)
        assert not self.open, "every element is closed"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("br", "img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts.setdefault(tag, []).append(data.strip())


def table(ours, numbers=PRINTED, scale="paper", **options):
    return tables.paper_table(compare.compare(ours, numbers, scale=scale), "A <b> & C", **options)


def test_headers_have_a_scope_and_numbers_stand_right():
    page = Page(table(frame(("sig", "none", "asr", 95.0), ("sig", "ft", "asr", 20.0))))
    heads = [attributes for tag, attributes in page.elements if tag == "th"]
    assert {head["scope"] for head in heads} == {"col", "colgroup", "row"}
    assert all(a["align"] == "right" for tag, a in page.elements if tag == "td")
    assert page.texts["caption"] == ["A <b> & C"]
    assert not {"script", "link", "img"} & {tag for tag, _ in page.elements}
    assert not any("id" in attributes for _, attributes in page.elements), "ids would repeat on a page of tables"


def test_print_differs_from_ours_by_more_than_colour():
    html = table(frame(("sig", "none", "asr", 95.0), ("sig", "ft", "asr", 20.0)))
    assert "95.00 =<br><small><em>(95.00)</em></small>" in html
    assert "20.00 ≠<br><small><em>(10.00)</em></small>" in html
    assert Page(html).texts["em"] == ["(90.00)", "(95.00)", "(89.00)", "(10.00)"]
    assert "(ASR 5)" in html and "No defense 2, FT 16" in html, "tolerance and noise are said"


def test_other_scales_show_no_verdict_and_say_why():
    html = table(frame(("sig", "none", "asr", 95.0)), scale="laptop")
    assert " =" not in html.split("</style>")[1].split("<ul ")[0] and "≠" not in html
    assert "laptop scale" in html and "no target" in html
    assert "1 of 2 attacks, 0 of 1 defense run" in html


def test_unverified_and_noted_numbers_are_marked():
    numbers = printed(("sig", "none", "ASR", 95.0), grade="B", note="a doubt")
    html = table(frame(("sig", "none", "asr", 95.0)), numbers)
    assert (
        "<sup>1,†</sup>" in html and "<li>1: a doubt.</li>" in html and "<li>†: read by OCR, unverified.</li>" in html
    )


def test_averages_close_the_table():
    ours = frame(("sig", "none", "asr", 95.0), ("lf", "none", "asr", 95.0), ("new", "none", "asr", 1.0))
    comparison = compare.compare(ours, PRINTED, scale="paper")
    comparison = pd.concat([compare.averages(comparison, "of cells"), comparison], ignore_index=True)
    rows = tables.paper_table(comparison, "x", metrics=("ASR",)).split("<tbody>")[1].split("</tr>")
    assert ["Average of 3" in row and 'class="average"' in row for row in rows[:4]] == [False, False, False, True]


def test_the_same_input_gives_the_same_bytes():
    ours = frame(("sig", "none", "asr", 95.0))
    assert table(ours) == table(ours)
    assert Page(table(frame())).texts["li"][0] == "0 of 2 attacks, 0 of 1 defense run."


def test_plain_tables():
    data = pd.DataFrame({"name": ["<a>", "b"], "n": [10, 2], "mse": [0.0123456, None], "acc": [91.234, 5.0]})
    html = tables.to_html(data, "plain", notes=["note"])
    page = Page(html)
    assert "&lt;a&gt;" in html and page.texts["th"][-2:] == ["<a>", "b"]
    assert page.texts["td"] == ["10", "0.01235", "91.23", "2", "–", "5.00"]
    assert page.texts["li"] == ["note"]
    assert tables.format_column(pd.Series([1.0, 20.0])) == ["1", "20"]
    assert tables.format_column(pd.Series([True, None], dtype=object)) == ["True", "–"]
