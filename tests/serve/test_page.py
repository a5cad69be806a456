"""The page in a browser: typing, answers, errors, keyboard, and how it looks."""

from __future__ import annotations

import json

import pytest

import fasttext_app as ft
from tests.browser import CHROMIUM, Browser, check_looks
from tests.helpers import WORDS_ONLY
from tests.serve.process import running, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]

MINUS = "\N{MINUS SIGN}"
EVIL = "<img src=x onerror=alert(1)>"
LOADED = "document.readyState === 'complete' && location.protocol === 'http:'"


@pytest.fixture(scope="module")
def address(tiny_model_dir, tmp_path_factory):
    """The address of a service whose second model has a label that is markup."""
    folder = tmp_path_factory.mktemp("evil") / "model"
    model = ft.train(["a goal", "a bank"] * 10, [EVIL, "=1+1"] * 10, **WORDS_ONLY, validation=0.0)
    model.save(folder)
    tree = folder.with_name("tree")
    settings = {**WORDS_ONLY, "loss": "hs", "validation": 0.0}
    ft.train(["a goal", "a bank"] * 10, ["x", "y"] * 10, **settings).save(tree)
    with running(f"news={tiny_model_dir}", f"evil={folder}", f"tree={tree}") as (_, url):
        yield url


@pytest.fixture(scope="module")
def browser():
    with Browser() as opened:
        yield opened


@pytest.fixture
def page(browser, address):
    """The page as it is opened."""
    browser.emulate(1280, "light")
    browser.open("about:blank", "location.protocol === 'about:'")
    browser.open(address, LOADED)
    return browser


def type_into(page, field, text):
    page.value(f"document.getElementById('{field}').focus()")
    page.call("Input.insertText", text=text)


def press(page, key, modifiers=0):
    code = {"Enter": 13, "ArrowRight": 39, "Tab": 9, " ": 32}[key]
    text = {"Enter": "\r", " ": " "}.get(key, "")
    event = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
    page.call("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
    page.call("Input.dispatchKeyEvent", type="keyUp", **event)


def classify(page, text):
    type_into(page, "text", text)
    page.wait("!document.getElementById('answer').hidden")


def shown(page, selector):
    return page.value(
        f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.innerText)"
    )


def open_table(page, rows):
    page.value("document.getElementById('tab-many').click()")
    type_into(page, "rows", rows)


def test_a_typed_text_gets_its_labels_and_the_words_that_speak_for_them(page, tiny_model_dir):
    text = "the team scored a late goal, bank"
    classify(page, text)
    model = ft.load(tiny_model_dir)
    labels, probabilities, _ = model.predict(text, 2)
    assert shown(page, ".name") == list(labels)
    assert shown(page, ".line .number") == [f"{100 * value:.1f} %" for value in probabilities]
    assert page.value("document.getElementById('one-status').textContent").startswith(labels[0])
    pieces = page.value("document.querySelector('details[open] .text').textContent")
    assert pieces == text
    explanation = model.explain(text)
    values = dict(zip(explanation.tokens, explanation.token_values(), strict=True))
    first = page.value("document.querySelector('.words > span').textContent").split(" ")
    assert first[0] == max(values, key=values.get)
    logit = page.value("document.querySelector('details[open] tr.sum td:last-child').textContent")
    assert logit.replace(MINUS, "-") == f"{explanation.logit:+.2f}"


def test_the_answer_follows_the_text_and_goes_with_it(page):
    classify(page, "a late goal")
    page.wait("document.querySelector('.name').innerText === 'sport'")
    page.value("document.getElementById('text').select()")
    page.call("Input.insertText", text="bank profit")
    page.wait("document.querySelector('.name').innerText === 'money'")
    page.value("document.getElementById('text').select()")
    page.call("Input.insertText", text=" ")
    page.wait("document.getElementById('answer').hidden")


def test_an_unknown_text_says_so(page):
    classify(page, "zzz")
    assert "knows no word" in page.value("document.getElementById('one-status').textContent")


def test_labels_and_texts_of_strangers_stay_text(page):
    page.value("document.getElementById('model').value = 'evil'")
    page.value("document.getElementById('model').dispatchEvent(new Event('change'))")
    classify(page, f"a goal {EVIL}")
    assert EVIL in shown(page, ".name")
    open_table(page, f"text,{EVIL}\na goal {EVIL},{EVIL}\n")
    page.value("document.querySelector('#many button').click()")
    page.wait("!document.getElementById('table').hidden")
    assert shown(page, "#table td")[0] == EVIL
    assert page.value("document.querySelectorAll('main img').length") == 0


def test_a_model_whose_words_cannot_be_shown_says_so(page):
    page.value("document.getElementById('model').value = 'tree'")
    page.value("document.getElementById('model').dispatchEvent(new Event('change'))")
    classify(page, "a goal")
    assert "loss hs cannot show words" in page.value(
        "document.getElementById('one-status').textContent"
    )
    assert page.value("document.querySelectorAll('.words').length") == 0


def test_rows_get_labels_to_download(page, tmp_path):
    open_table(page, 'id,text\n1,"a late goal, again"\n2,=1+bank\n')
    assert page.value("[...document.getElementById('columns').options].map(o => o.value)") == [
        "id",
        "text",
    ]
    page.value("document.querySelector('#many button').click()")
    page.wait("!document.getElementById('table').hidden")
    assert shown(page, "#table th") == ["id", "text", "label", "probability"]
    assert shown(page, "#table td")[:3] == ["1", "a late goal, again", "sport"]
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.value("document.getElementById('download').click()")
    until(lambda: (tmp_path / "answers.csv").exists())
    rows = (tmp_path / "answers.csv").read_text("utf-8-sig").splitlines()
    assert rows[2].startswith("2,'=1+bank,money,")


def test_what_is_wrong_with_rows_is_shown(page):
    open_table(page, "id,body\n1,a goal\n")
    page.value("document.querySelector('#many button').click()")
    page.wait("!document.getElementById('many-error').hidden")
    error = page.value("document.getElementById('many-error').textContent")
    assert error.startswith("the rows: there is no column 'text'; the columns are 'id', 'body'")
    type_into(page, "column", "body")
    press(page, "Enter")
    page.wait("!document.getElementById('table').hidden")
    assert page.value("document.getElementById('many-error').hidden")


def test_everything_can_be_reached_by_keyboard(page):
    type_into(page, "text", "a late goal")
    press(page, "Enter", modifiers=2)  # Ctrl
    page.wait("!document.getElementById('answer').hidden")
    for _ in range(5):  # the button, the number of labels, the first label, its table, the second
        press(page, "Tab")
    press(page, "Enter")
    page.wait("document.querySelectorAll('details')[1].open")
    assert not page.value("document.querySelectorAll('details')[0].open")
    page.value("document.getElementById('tab-one').focus()")
    press(page, "ArrowRight")
    assert page.value("document.activeElement.id") == "tab-many"
    assert page.value("document.getElementById('panel-one').hidden")
    assert not page.value("document.getElementById('panel-many').hidden")


def test_the_pages_look_right(address, tmp_path):
    check_looks(address, LOADED, tmp_path, "one", lambda page: classify(page, "a late goal " * 30))

    def label_rows(page):
        open_table(page, "id,text\n" + "1,a late goal in the bank\n" * 20 + "x" * 400 + ",y\n")
        page.value("document.querySelector('#many button').click()")
        page.wait("!document.getElementById('table').hidden")

    check_looks(address, LOADED, tmp_path, "table", label_rows)
    check_looks(f"{address}/docs", LOADED, tmp_path, "docs")
    assert len(list(tmp_path.glob("*.png"))) == 12
