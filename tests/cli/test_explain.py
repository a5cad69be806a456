"""``fasttext-app explain``: texts in, tables, pages and documents out."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

import fasttext_app as ft
from fasttext_app.cli.render.explanation import html_page, show_explanation
from fasttext_app.foreign_text import for_terminal
from fasttext_app.inference.explain import explain
from tests.helpers import WORDS_ONLY, run_cli

NASTY = "<script>alert('x')</script> & \"bank\" profit\x1b[31m"


@pytest.fixture(scope="module")
def model(tiny_model_dir):
    return ft.load(tiny_model_dir)


@pytest.fixture
def run(tmp_path, monkeypatch, tiny_model_dir):
    """Run ``explain`` on the tiny model in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments, code=0, stdin=None):
        return run_cli("explain", tiny_model_dir, *arguments, code=code, stdin=stdin)

    return invoke


def numbers(shown):
    """Return the numbers of the table's last column."""
    return [float(n) for n in re.findall(r"([+-]\d+\.\d{4}) │", shown)]


# --- texts


def test_the_table_adds_up(run, model):
    shown = run("the bank cut its profit, the team won", "--top", 3).stdout
    *parts, logit = numbers(shown)
    assert sum(parts) == pytest.approx(logit, abs=1e-3)  # rounded to four digits
    found = model.explain("the bank cut its profit, the team won")
    assert logit == pytest.approx(found.logit, abs=1e-4)
    assert f"Why {found.label} (probability of {found.label}: {found.probability:.4f})" in shown
    assert "the bank cut its profit, the team won" in shown
    assert len(parts) == 3 + 3 + 2  # for, against, the others, the bias
    strongest = found.totals()[0]
    assert f"│ {strongest.name} " in shown


def test_against_explains_the_difference_of_two_logits(run, model):
    shown = run("the bank", "--label", "sport", "--against", "money").stdout
    assert "Why sport rather than money" in shown
    assert numbers(shown)[-1] == pytest.approx(
        model.explain("the bank", "sport", "money").logit, abs=1e-4
    )
    assert "difference of logits" in shown


@pytest.mark.slow
def test_unknown_features_are_listed(run, model):
    assert "Unknown, add nothing: zebra | bank zebra" in run("bank zebra").stdout
    many = " ".join(f"w{number}" for number in range(40))
    assert f"w18 | w19 and {len(model.explain(many).unknown()) - 20} more" in run(many).stdout
    assert "Unknown" not in run("the bank").stdout


@pytest.mark.slow
def test_a_text_without_known_features_has_the_bias_as_its_logit(run):
    *parts, logit = numbers(run("").stdout)
    assert parts == [logit]
    *parts, logit = numbers(run("zebra").stdout)
    assert parts == [logit]


def test_json_has_a_line_for_each_text(run, model):
    texts = ["the bank", "", "zebra <b>"]
    found = [json.loads(line) for line in run(*texts, "--format", "json").stdout.splitlines()]
    assert found == [model.explain(text).as_dict() for text in texts]


@pytest.mark.slow
def test_texts_come_from_a_file_or_standard_input(run, tmp_path):
    expected = run("the bank", "a late goal", "--format", "json").stdout
    lines = "the bank\na late goal\n"
    assert run("-", "--format", "json", stdin=lines).stdout == expected
    assert run("--input", "-", "--format", "json", stdin=lines).stdout == expected
    (tmp_path / "lines.txt").write_text(lines)
    assert run("--input", "lines.txt", "--format", "json").stdout == expected
    (tmp_path / "rows.csv").write_text("body,n\nthe bank,1\na late goal,2\n")
    shown = run("--input", "rows.csv", "--text-column", "body", "--format", "json").stdout
    assert shown == expected


@pytest.mark.slow
def test_the_suffix_of_the_output_decides_the_format(run, tmp_path):
    for name, begin in (("a.json", "{"), ("a.html", "<!doctype html>"), ("a.txt", "the bank\n")):
        result = run("the bank", "--output", name)
        assert (result.stdout, result.stderr) == ("", f"wrote {name}\n")
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(begin)
    run("the bank", "--output", "b.html", "--format", "json")
    assert json.loads((tmp_path / "b.html").read_text())["label"] == "money"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.html",
        "a.json",
        "a.txt",
        "b.html",
    ]


def test_bad_input_leaves_no_partial_file(run, tmp_path):
    (tmp_path / "rows.csv").write_bytes(b"text\nthe bank\n\xff\n")
    run("--input", "rows.csv", "--output", "a.html", code=1)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_a_text_cannot_control_the_terminal(run):
    assert "\x1b" not in run(f"bank \x1b[31m{NASTY}").stdout


def test_words_are_colored_by_what_they_add(model):
    from rich.console import Console

    console = Console(force_terminal=True, color_system="truecolor", width=100, highlight=False)
    with console.capture() as shown:
        show_explanation(model.explain("bank zebra cup", "money"), 5, console)
    line = shown.get().splitlines()[0]
    colored = dict(re.findall(r"\x1b\[30;48;2;(\d+;\d+;\d+)m(\w+)\x1b", line))
    by_word = {word: tuple(map(int, color.split(";"))) for color, word in colored.items()}
    assert by_word.keys() == {"bank", "cup"}
    assert by_word["bank"][2] > by_word["bank"][0]  # bluish
    assert by_word["cup"][0] > by_word["cup"][2]  # orange


# --- HTML


class Page(HTMLParser):
    """Collects the tags and the text of a page, and what it would load."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.links = [], "", []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("text", [NASTY, '"><img src=x onerror=alert(1)>', "a &lt; b", "é 😀 日本"])
def test_texts_are_escaped_in_html(model, text):
    page = Page("".join(html_page([model.explain(text)], f"by {text}", 50)))
    assert not {"script", "img", "link"} & set(page.tags)
    assert page.links == []
    shown = for_terminal(text, lines=True)
    assert shown in page.text
    assert f"by {shown}" in page.text


def test_names_of_features_and_labels_are_escaped(tmp_path):
    texts, labels = ["<i>a</i> b", "c d"] * 5, ["<b>", "&amp;"] * 5
    model = ft.train(texts, labels, epochs=2, dim=4, validation=0.0, tokenizer="whitespace")
    page = Page("".join(html_page([explain(model, "<i>a</i> <u>", "<b>", "&amp;")], "t", 9)))
    assert not {"i", "b", "u"} & set(page.tags)
    assert "Why <b> rather than &amp;" in page.text
    assert "Unknown, add nothing: <u>" in page.text


def test_a_page_is_self_contained_and_follows_the_color_scheme(run, tmp_path):
    run("the bank", "a late goal", "--output", "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "color-scheme: light dark" in page
    assert not re.search(r"https?://|@import|url\(", page)
    assert page.count("<section>") == 2
    shares = [float(share) for share in re.findall(r"--share: ([\d.]+)", page)]
    assert max(shares) == 1.0


# --- the features of a label


def test_without_texts_the_strongest_words_of_a_label_are_listed(run, model):
    shown = run("--label", "sport", "--top", 3).stdout
    assert "Strongest features for sport" in shown
    for feature in model.label_features("sport", 3):
        assert re.search(rf"│ {feature.name} +│ word │ +{feature.count} │", shown)
    assert "--data SPEC does, for its texts" in shown
    document = json.loads(run("--label", "sport", "--top", 3, "--format", "json").stdout)
    assert list(document) == ["label", "against", "data", "features"]
    assert [f["name"] for f in document["features"]] == [
        feature.name for feature in model.label_features("sport", 3)
    ]


@pytest.mark.slow
def test_data_names_the_ngrams(run, tmp_path, tiny_examples, model):
    rows = "".join(f"{text},{label}\n" for text, label in tiny_examples)
    (tmp_path / "rows.csv").write_text("text,label\n" + rows)
    options = ("--label", "money", "--data", "rows.csv", "--top", 40, "--format", "json")
    found = json.loads(run(*options).stdout)["features"]
    texts = [text for text, _ in tiny_examples]
    assert found == [vars(f) for f in model.label_features("money", 40, texts)]
    assert {"word", "word n-gram"} == {feature["kind"] for feature in found}
    bank = next(feature for feature in found if feature["name"] == "the bank")
    assert bank["count"] == sum("the bank " in text for text in texts)
    assert "Words and n-grams of rows.csv, counted there" in run(*options[:-2]).stdout


def test_a_model_without_ngrams_has_no_hint_about_them(tmp_path):
    ft.train(["a b", "c d"] * 5, ["x", "y"] * 5, **WORDS_ONLY, validation=0.0).save(tmp_path / "m")
    shown = run_cli("explain", tmp_path / "m", "--label", "x").stdout
    assert "Words, counted in the training texts.\n" in shown


# --- what is refused


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "give texts, --input FILE"),
        (["a", "--input", "b.txt"], "give texts or --input, not both"),
        (["a", "--data", "sample"], "cannot be combined with texts"),
        (["--label", "sport", "--split", "test"], "needs --data"),
        (["--label", "sport", "--format", "html"], "html needs texts"),
        (["a", "--format", "pdf"], "'pdf' is not one of text, html, json"),
        (["a", "--top", "0"], "error: --top: must be greater than or equal to 1"),
    ],
)
def test_wrong_usage_is_refused(run, arguments, reason):
    shown = run(*arguments, code=2).stderr
    assert reason in " ".join(re.sub(r"[│╭╮╰╯─]", " ", shown).split())


def test_the_input_is_not_overwritten(run, tmp_path):
    (tmp_path / "a.txt").write_text("the bank\n")
    assert "is the input too" in run("--input", "a.txt", "--output", "a.txt", code=2).stderr
    assert (tmp_path / "a.txt").read_text() == "the bank\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["a", "--label", "sprot"], "there is no label 'sprot'; did you mean 'sport'?"),
        (["--input", "none.txt"], "none.txt: no such file"),
        (["a", "--output", "no/a.html"], "no/a.html: there is no folder no"),
        (["--label", "sport", "--data", "none.csv"], "none.csv: no such file, folder or dataset"),
        (["a", "--set", "text.minn=1"], "--set text...: only data.* can be set here"),
    ],
)
def test_bad_input_is_one_line(run, arguments, reason):
    assert run(*arguments, code=1).stderr == f"error: {reason}\n"
