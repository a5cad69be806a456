"""The service answers as the model does, and says clearly what is wrong with a request."""

from __future__ import annotations

import asyncio
import csv
import io

import pytest

import fasttext_app as ft

TEXT = "the striker scored for the bank"


@pytest.fixture(scope="module")
def model(tiny_model_dir):
    return ft.load(tiny_model_dir)


def predict(client, **request):
    answer = client.post("/predict", json=request)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(client, request, status=422):
    answer = client.post("/predict", **request)
    assert (answer.status_code, set(answer.json())) == (status, {"detail"})
    return answer.json()["detail"]


# --- answers


@pytest.mark.parametrize("top_k", [None, 1, 2, 99])
@pytest.mark.parametrize("threshold", [0, 0.6, 1])
def test_an_answer_is_the_prediction_of_the_model(client, model, top_k, threshold):
    texts = [TEXT, "", "unknown words", "x" * 6000]
    expected = model.predict(texts, top_k, threshold)
    many = predict(client, texts=texts, top_k=top_k, threshold=threshold)
    assert many["model"] == "news"
    for text, prediction, one in zip(texts, expected, many["predictions"], strict=True):
        values = [list(prediction.labels), list(prediction.probabilities), prediction.known]
        assert [one["labels"], one["probabilities"], one["known"]] == values
        alone = predict(client, text=text, top_k=top_k, threshold=threshold)
        assert alone == {"model": "news", **one}


def test_no_texts_have_no_predictions(client):
    assert predict(client, texts=[])["predictions"] == []


def test_an_explanation_is_that_of_the_model_for_each_label(client, model):
    answer = predict(client, text=TEXT, top_k=2, explain=True)
    for label, explanation in zip(answer["labels"], answer["explanations"], strict=True):
        expected = model.explain(TEXT, label)
        assert explanation["label"] == label
        assert explanation["logit"] == expected.logit
        assert [tuple(piece) for piece in explanation["pieces"]] == expected.pieces()
        parts = sum(feature["value"] for feature in explanation["features"])
        assert parts + explanation["bias"] == pytest.approx(expected.logit, abs=1e-5)
    many = predict(client, texts=[TEXT, "no"], top_k=2, explain=True)["predictions"]
    assert many[0]["explanations"] == answer["explanations"]


def test_a_model_is_chosen_by_name(client):
    assert predict(client, text=TEXT, model="other")["model"] == "other"
    assert "there is none named 'othr'; did you mean 'other'?" in refusal(
        client, {"json": {"text": TEXT, "model": "othr"}}
    )


# --- wrong requests


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", 'the body is not JSON (EOF while parsing a value at line 1 column 0); send {"text"'),
        (b'{"text": "a"', "the body is not JSON"),
        (b'{"text": "\\ud800"}', "the body is not JSON"),
        (b'{"text": "\xff"}', "the body is not JSON"),
        (b"[1]", "the body must be a JSON object; send"),
        (b"{}", "text: is missing; send"),
        (b'{"text": null}', "text: is missing; send"),
        (b'{"text": "a", "texts": []}', "text: cannot be combined with texts; send"),
        (b'{"text": 5}', "text: must be a valid string; got 5"),
        (b'{"texts": "a"}', "texts: must be a valid array; got 'a'"),
        (b'{"texts": ["a", null]}', "texts.1: must be a valid string; got None"),
        (b'{"text": "a", "top_k": 0}', "top_k: must be greater than or equal to 1; got 0"),
        (b'{"text": "a", "top_k": "2"}', "top_k: must be a valid integer; got '2'"),
        (b'{"text": "a", "topk": 1}', "topk: there is no such field; did you mean 'top_k'?"),
        (b'{"text": "a", "threshold": 2}', "threshold: must be a number from 0 to 1 or 'fitted'"),
        (b'{"text": "a", "threshold": "x"}', "threshold: must be a number from 0 to 1 or"),
        (b'{"text": "a", "threshold": NaN}', "threshold: must be a number from 0 to 1 or"),
        (b'{"text": "a", "threshold": []}', "threshold: must be a valid number; got []"),
        (b'{"text": "a", "threshold": "fitted"}', "the model has no fitted thresholds"),
        (b'{"text": "a", "explain": 1}', "explain: must be a valid boolean; got 1"),
        (b'{"texts": [' + b'"a",' * 100 + b'"a"]}', "texts: more than 100 are too many"),
    ],
)
def test_a_wrong_request_is_told_in_one_line_what_is_wrong(client, body, message):
    detail = refusal(client, {"content": body})
    assert detail.startswith(message)
    assert "\n" not in detail
    assert "pydantic" not in detail


def test_a_large_request_is_refused_however_it_comes(client):
    large = b'{"text": "%s"}' % (b"a" * 20_000)
    message = "the body has more than 20,000 bytes; send it in parts"
    assert refusal(client, {"content": large}, 413) == message
    assert refusal(client, {"content": iter([large[:9], large[9:]])}, 413) == message
    answer = client.post("/predict/csv", content=large)
    assert (answer.status_code, answer.json()["detail"]) == (413, message)


def test_answers_that_would_be_huge_are_refused(client, monkeypatch):
    monkeypatch.setattr("fasttext_app.serve.answers.MAX_ANSWERS", 10)
    monkeypatch.setattr("fasttext_app.serve.answers.MAX_EXPLANATIONS", 10)
    predict(client, texts=["a"] * 5, top_k=2, explain=True)
    message = refusal(client, {"json": {"texts": ["a"] * 6, "top_k": 2}})
    assert message.startswith("texts: for 2 labels of each, more than 5 are too many")
    monkeypatch.setattr("fasttext_app.serve.answers.MAX_EXPLANATIONS", 4)
    message = refusal(client, {"json": {"texts": ["a"] * 5, "explain": True}})
    assert message.startswith("explain: there are more than 4 labels to explain")


def test_an_unforeseen_error_is_logged_and_not_shown(client, monkeypatch, caplog):
    def fail(*arguments):
        raise RuntimeError("secret")

    monkeypatch.setattr("fasttext_app.serve.app.answer", fail)
    assert "secret" not in refusal(client, {"json": {"text": "a"}}, 500)
    assert "secret" in caplog.text


@pytest.mark.parametrize("path", ["/predict", "/predict/csv"])
@pytest.mark.parametrize("sent", [[], [{"type": "http.request", "body": b"te", "more_body": True}]])
def test_a_client_that_leaves_is_counted_and_no_error(client, caplog, path, sent):
    def counts():
        lines = client.get("/metrics").text.splitlines()
        counted = dict(line.rsplit(" ", 1) for line in lines if "requests_total{" in line)
        return [float(counted[f'fasttext_app_requests_total{{status="{s}"}}']) for s in (499, 500)]

    messages = iter([*sent, {"type": "http.disconnect"}])

    async def receive():
        return next(messages)

    async def send(message):
        pass

    scope = {"type": "http", "path": path, "method": "POST", "headers": [], "query_string": b""}
    before = counts()
    asyncio.run(client.app(scope, receive, send))
    assert counts() == [before[0] + 1, before[1]]
    assert caplog.text == ""


def test_other_paths_and_methods_are_refused(client):
    assert client.get("/nothing").json() == {"detail": "Not Found; see /docs"}
    answer = client.get("/predict")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


# --- CSV


def predict_csv(client, data, **parameters):
    answer = client.post("/predict/csv", content=data, params=parameters)
    assert answer.status_code == 200, answer.text
    return list(csv.reader(io.StringIO(answer.content.decode())))


def csv_refusal(client, data, **parameters):
    answer = client.post("/predict/csv", content=data, params=parameters)
    assert answer.status_code == 422
    return answer.json()["detail"]


def test_a_csv_gets_its_labels_and_keeps_its_columns(client, model):
    rows = predict_csv(client, f'id,text\n1,"{TEXT}, again"\n2,\n'.encode(), top_k=2)
    assert rows[0] == ["id", "text", "label_1", "probability_1", "label_2", "probability_2"]
    best = model.predict(f"{TEXT}, again", 2)
    assert rows[1][:3] == ["1", f"{TEXT}, again", best.labels[0]]
    assert float(rows[1][3]) == pytest.approx(best.probabilities[0], abs=1e-6)
    assert rows[2][:2] == ["2", ""]


def test_a_csv_is_read_as_its_request_says(client):
    data = "Titel;Inhalt\nBörse;fällt\n".encode("cp1252")
    rows = predict_csv(client, data, text_column=["Titel", "Inhalt"], encoding="cp1252")
    assert rows[1][:3] == ["Börse", "fällt", "Börse fällt"]
    assert predict_csv(client, b"a goal\na bank\n", header=False)[2][0] == "a bank"


def test_a_spreadsheet_runs_nothing_of_an_answer(client):
    (_, *rows) = predict_csv(client, b'text,=id\n=1+1,@x\n"-a, b",+1\n')
    assert [row[:2] for row in rows] == [["'@x", "'=1+1"], ["+1", "'-a, b"]]


@pytest.mark.parametrize(
    ("data", "parameters", "message"),
    [
        (b"", {}, "f.csv: the file is empty"),
        (b"a,b\nc\n", {}, "f.csv: there is no column 'text'; the columns are 'a', 'b'; choose"),
        (b"text,b\nc\n", {}, "f.csv:2: the row has 1 fields where 2 are expected"),
        (b'text\n"c\n', {}, "f.csv:2: a quoted field does not end as it should"),
        (b"text\n\xff\n", {}, "f.csv:2: byte 0xff is not UTF-8; name the encoding of the file wit"),
        (b"text\na\n", {"encoding": "klingon"}, "data.encoding: must be a text encoding"),
        (b"text\na\n", {"top_k": "x"}, "top_k: must be a valid integer; got 'x'"),
        (b"text\na\n", {"threshold": "x"}, "threshold: must be a number from 0 to 1 or 'fitted'"),
        (b"text\na\n", {"model": "x"}, "model: there is none named 'x'"),
        (b"\x1f\x8b\x08", {}, "f.csv: is compressed; send plain text"),
        (b"text\n" + b"a\n" * 101, {}, "texts: more than 100 are too many"),
    ],
)
def test_what_is_wrong_with_a_csv_is_told_with_its_line(client, data, parameters, message):
    detail = csv_refusal(client, data, name="f.csv", **parameters)
    assert detail.startswith(message)
    assert "--" not in detail


# --- what it tells of itself


def test_the_models_and_their_health_are_told(client):
    models = client.get("/models").json()
    assert [model["name"] for model in models] == ["news", "other"]
    assert models[0]["labels"] == ["money", "sport"]
    assert client.get("/model").json() == models[0]
    assert client.get("/model?name=other").json() == models[1]
    health = client.get("/health").json()
    assert (health["status"], list(health["models"])) == ("ok", ["news", "other"])


def test_the_metrics_count(client):
    def count(line):
        lines = client.get("/metrics").text.splitlines()
        return float(next(row for row in lines if row.startswith(line)).split()[-1])

    names = ['fasttext_app_texts_total{model="news"}', 'fasttext_app_requests_total{status="422"}',
             "fasttext_app_predict_seconds_count"]  # fmt: skip
    before = [*map(count, names)]
    predict(client, text="a")
    predict(client, texts=["a", "b"])
    refusal(client, {"content": b""})
    after = [*map(count, names)]
    assert [new - old for new, old in zip(after, before, strict=True)] == [3, 1, 2]


def test_the_interface_is_described(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/predict", "/predict/csv", "/model", "/models", "/health", "/metrics"} == set(paths)
    assert "PredictRequest" in str(paths["/predict"]["post"]["requestBody"])
    assert {"200", "413", "422"} == set(paths["/predict"]["post"]["responses"])
