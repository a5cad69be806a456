"""Datasets as sources: Hugging Face `datasets`, AG_NEWS, and the embedded sample.

The AG_NEWS rows here are invented; the real files are read by the tests marked ``ag_news``.
"""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fasttext_app.config.resources import sample_dir
from fasttext_app.config.schema import DataConfig
from fasttext_app.data import hub
from fasttext_app.data.ag_news import CLASSES, find_folder
from fasttext_app.data.spec import open_source
from fasttext_app.errors import DataError

Rows = list[tuple[str, str]]


def rows_of(spec: Path | str, split: str = "train", **settings: object) -> Rows:
    config = DataConfig.model_validate({"source": str(spec)} | settings)
    table = open_source(config).read(split)
    assert table.schema.names == ["text", "label"]
    return list(zip(*table.to_pydict().values(), strict=True))


# --- Hugging Face `datasets`


@pytest.fixture(scope="module")
def saved_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``DatasetDict`` on disk: train, validation and test, with class names."""
    import datasets

    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "title": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["bad", "good"]),
        }
    )
    rows = {
        "train": [("one", "1", 1), ("two", "2", 0), ("three", "3", 1)],
        "validation": [("four", "4", 0)],
        "test": [("five", "5", -1)],
    }
    splits = {
        split: datasets.Dataset.from_dict(
            dict(zip(("text", "title", "label"), map(list, zip(*found, strict=True)), strict=True)),
            features=features,
        )
        for split, found in rows.items()
    }
    folder = tmp_path_factory.mktemp("saved") / "reviews"
    datasets.DatasetDict(splits).save_to_disk(str(folder))
    return folder


def test_a_saved_dataset_has_its_splits_and_class_names(saved_dataset):
    source = open_source(DataConfig(source=str(saved_dataset)))
    assert source.splits == ("train", "validation", "test")
    assert source.has("validation")
    assert not source.single
    assert source.label_names == ["bad", "good"]
    assert rows_of(saved_dataset) == [("one", "good"), ("two", "bad"), ("three", "good")]
    assert rows_of(saved_dataset, "validation") == [("four", "bad")]


def test_text_columns_of_a_dataset_are_joined(saved_dataset):
    texts = [text for text, _ in rows_of(saved_dataset, text_columns=["title", "text"])]
    assert texts == ["1 one", "2 two", "3 three"]


def test_dataset_rows_do_not_depend_on_the_size_of_batches(saved_dataset, monkeypatch):
    monkeypatch.setattr(hub, "BATCH_ROWS", 1)
    assert rows_of(saved_dataset) == [("one", "good"), ("two", "bad"), ("three", "good")]


def test_a_bad_dataset_row_is_named_with_its_number(saved_dataset):
    message = (
        f"{saved_dataset}, split 'test', row 1: label -1 has no name; the names go from 0 to 1"
    )
    with pytest.raises(DataError, match=re.escape(message)):
        rows_of(saved_dataset, "test")
    with pytest.raises(DataError, match=r"no column 'txt'; did you mean 'text'\?"):
        rows_of(saved_dataset, text_columns=["txt"])
    with pytest.raises(DataError, match="no split 'vlidation'; did you mean 'validation'"):
        rows_of(saved_dataset, "vlidation")
    assert rows_of(saved_dataset, "valid") == rows_of(saved_dataset, "validation")


def test_texts_of_a_dataset_can_be_read_without_labels(saved_dataset):
    source = open_source(DataConfig(source=str(saved_dataset), label_column="none"))
    assert source.label_names is None
    (batch,) = source.scan("test", with_labels=False)
    assert batch.to_pydict() == {"text": ["five"]}


def test_a_saved_dataset_without_splits_is_the_split_train(tmp_path):
    import datasets

    folder = tmp_path / "single"
    datasets.Dataset.from_dict({"text": ["a"], "label": ["x"]}).save_to_disk(str(folder))
    assert open_source(DataConfig(source=str(folder))).splits == ("train",)
    assert rows_of(folder) == [("a", "x")]


def test_a_folder_in_the_layout_of_the_hub_is_read(tmp_path):
    data = tmp_path / "folder" / "data"
    data.mkdir(parents=True)
    for split, text in (("train", "one"), ("test", "two")):
        table = pa.table({"text": [text], "label": ["x"]})
        pq.write_table(table, data / f"{split}-00000-of-00001.parquet")
    source = open_source(DataConfig(source=str(data.parent)))
    assert set(source.splits) == {"train", "test"}
    assert rows_of(data.parent) == [("one", "x")]
    assert rows_of(data.parent, "test") == [("two", "x")]


def test_a_folder_without_data_is_refused_in_one_line(tmp_path):
    for name in ("notes.md", "model.bin"):
        (tmp_path / name).write_text("nothing to learn from")
    with pytest.raises(DataError) as error:
        open_source(DataConfig(source=str(tmp_path)))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(
        f"{tmp_path}: holds no data files, and `datasets` cannot load it either: "
    )


@pytest.mark.parametrize("spec", ["nobody/nothing-of-this-name", "nobody/nothing:config"])
def test_a_hub_id_fails_quickly_when_offline(spec):
    started = time.perf_counter()
    with pytest.raises(DataError) as error:
        open_source(DataConfig(source=spec))
    assert time.perf_counter() - started < 10
    assert str(error.value).startswith(f"{spec}: the dataset cannot be loaded: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("spec", ["./nobody/nothing", "a/b/c", "nothing.parquet", "owner/x.csv"])
def test_a_spec_that_looks_like_a_path_is_not_looked_up_on_the_hub(spec):
    with pytest.raises(DataError, match="no such file, folder or dataset"):
        open_source(DataConfig(source=spec))


def test_an_error_without_a_message_is_named_by_its_type(monkeypatch):
    import datasets

    def fail(*arguments: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(DataError, match="cannot be loaded: RuntimeError"):
        open_source(DataConfig(source="owner/name"))


def test_a_dataset_without_splits_is_refused(monkeypatch):
    import datasets

    monkeypatch.setattr(datasets, "load_dataset", lambda *arguments: {})
    with pytest.raises(DataError, match="owner/name: the dataset has no splits"):
        open_source(DataConfig(source="owner/name"))


def test_the_config_of_a_hub_id_reaches_the_library(monkeypatch):
    import datasets

    asked = []

    def load(*arguments: object) -> dict[str, object]:
        asked.append(arguments)
        return {"train": datasets.Dataset.from_dict({"text": ["a"], "label": ["x"]})}

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert rows_of("owner/name:small") == [("a", "x")]
    assert rows_of("owner/name") == [("a", "x")]
    assert asked == [("owner/name", "small"), ("owner/name", None)]


# --- AG_NEWS

INVENTED = [
    ("3", "Shop opens", "A shop on the corner opened."),
    ("1", "Vote held", "The island of Nowhere voted."),
    ("2", "Match drawn", 'Both "teams" scored, twice.'),
    ("4", "Chip made", "A chip counts to ten."),
]


def write_ag_news(folder: Path, rows: list[tuple[str, str, str]], split: str = "train") -> Path:
    """Write rows in the original form: CSV, every field quoted, no header."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return folder


@pytest.fixture
def ag_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write invented AG_NEWS files under ``$FASTTEXT_APP_DATA``, and make it the working folder."""
    monkeypatch.setenv("FASTTEXT_APP_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return lambda rows, split="train": write_ag_news(tmp_path / "ag_news", rows, split)


def test_ag_news_texts_and_class_names(ag_news):
    ag_news(INVENTED)
    ag_news(INVENTED[:1], "test")
    assert rows_of("ag_news") == [
        ("Shop opens A shop on the corner opened.", "Business"),
        ("Vote held The island of Nowhere voted.", "World"),
        ('Match drawn Both "teams" scored, twice.', "Sports"),
        ("Chip made A chip counts to ten.", "Sci/Tech"),
    ]
    source = open_source(DataConfig(source="ag_news"))
    assert source.label_names == CLASSES
    assert source.splits == ("train", "test")
    assert len(source.read("test")) == 1


def test_ag_news_can_be_read_without_labels(ag_news):
    ag_news(INVENTED[:1])
    (batch,) = open_source(DataConfig(source="ag_news")).scan("train", with_labels=False)
    assert batch.to_pydict() == {"text": ["Shop opens A shop on the corner opened."]}


def test_column_settings_do_not_apply_to_ag_news(ag_news):
    ag_news(INVENTED)
    plain = rows_of("ag_news")
    assert rows_of("ag_news", text_columns=["body"], label_column="class", header=True) == plain
    assert rows_of("ag_news", quote=False) == plain


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"a\nuclear plant", "a nuclear plant"),
        (r"cost\$5", "cost $5"),
        (r"x\n Y", "x  Y"),
        (r"x\nY", "x Y"),
        (r"the end\n", "the end"),
        ("the end\\", "the end"),
        (r"one\two", "one two"),
        (r"one\\two", "one  two"),
        (r"\begin", " begin"),
        (r"x\n\nY", "x Y"),
        (r"x\n\nuclear", "x  nuclear"),
        (r"x\n5", "x 5"),
        (r"x\né", "x é"),
        ("no breaks", "no breaks"),
    ],
)
def test_line_breaks_of_ag_news_become_spaces(ag_news, written, read):
    ag_news([("1", "t", written)])
    ((text, _),) = rows_of("ag_news")
    assert text == f"t {read}"


def test_ag_news_is_found_first_in_the_folder_of_the_environment_variable(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTTEXT_APP_DATA", str(tmp_path / "named"))
    here = write_ag_news(tmp_path / "data" / "ag_news", [("1", "here", "x")])
    assert find_folder() == here.relative_to(tmp_path)
    assert rows_of("ag_news") == [("here x", "World")]
    named = write_ag_news(tmp_path / "named" / "ag_news", [("2", "named", "x")])
    assert find_folder() == named
    assert rows_of("ag_news") == [("named x", "Sports")]
    monkeypatch.delenv("FASTTEXT_APP_DATA")
    assert rows_of("ag_news") == [("here x", "World")]


def test_one_file_of_ag_news_is_enough(ag_news):
    ag_news(INVENTED, "test")
    assert open_source(DataConfig(source="ag_news")).splits == ("test",)
    with pytest.raises(DataError, match="ag_news: no split 'train'; it has: test"):
        rows_of("ag_news")


@pytest.mark.parametrize("variable", [None, "", "empty"])
def test_missing_ag_news_is_refused_with_a_list_of_places(tmp_path, monkeypatch, variable):
    monkeypatch.chdir(tmp_path)
    if variable is None:
        monkeypatch.delenv("FASTTEXT_APP_DATA", raising=False)
    else:
        monkeypatch.setenv("FASTTEXT_APP_DATA", variable)
    with pytest.raises(DataError) as error:
        open_source(DataConfig(source="ag_news"))
    message = str(error.value)
    assert message.startswith("ag_news: the data was not found. ")
    for option in ("data/ag_news/", "$FASTTEXT_APP_DATA", "--data PATH", "the hub"):
        assert option in message
    assert "\n" not in message


def test_ag_news_from_the_hub_has_class_names(tmp_path, monkeypatch):
    import datasets

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FASTTEXT_APP_DATA", raising=False)
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(CLASSES))}
    )
    found = datasets.Dataset.from_dict({"text": ["a"], "label": [3]}, features=features)
    asked = []

    def load(*arguments: object) -> dict[str, datasets.Dataset]:
        asked.append(arguments)
        return {"train": found, "test": found}

    monkeypatch.setattr(datasets, "load_dataset", load)
    source = open_source(DataConfig(source="ag_news", text_columns=("body",)))
    assert asked == [("fancyzhx/ag_news", None)]
    assert (source.spec, list(source.label_names or ())) == ("ag_news", list(CLASSES))
    assert source.read("test").to_pydict() == {"text": ["a"], "label": ["Sci/Tech"]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('"5","a","b"', "class '5' is not one of 1 to 4"),
        ('"World","a","b"', "class 'World' is not one of 1 to 4"),
        ('"","a","b"', "column '1' has no label"),
        ('"1","a"', "the row has 2 fields where 3 are expected"),
        ('"1","a","b"c"', "a quoted field does not end as it should"),
    ],
)
def test_a_bad_ag_news_row_is_named_with_its_line(ag_news, row, message):
    path = ag_news(INVENTED) / "train.csv"
    path.write_text(path.read_text(encoding="utf-8") + row + "\n", encoding="utf-8")
    with pytest.raises(DataError) as error:
        rows_of("ag_news")
    assert str(error.value).startswith(f"{path}:5: {message}")


def test_an_ag_news_file_with_another_number_of_columns_is_refused(ag_news):
    path = ag_news([]) / "train.csv"
    path.write_text("label,text\n1,a\n")
    with pytest.raises(DataError, match=r"train\.csv: there is no column '3'"):
        rows_of("ag_news")


@pytest.mark.slow
@pytest.mark.ag_news
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_real_ag_news_is_read_as_python_reads_it(ag_news_dir, split):
    expected = []
    with (ag_news_dir / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        for number, title, description in csv.reader(file, strict=True):
            joined = re.sub(r"(\\n)+(?![a-z])", " ", f"{title} {description}".strip())
            expected.append((joined.replace("\\", " ").strip(), CLASSES[int(number) - 1]))
    table = open_source(DataConfig(source="ag_news")).read(split)
    assert list(zip(*table.to_pydict().values(), strict=True)) == expected


# --- the embedded sample


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_sample_is_its_csv_file(split):
    with (sample_dir() / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        expected = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    assert rows_of("sample", split) == expected


def test_the_sample_is_the_same_from_any_folder_and_under_any_settings(tmp_path, monkeypatch):
    plain = rows_of("sample", "test")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample").mkdir()
    assert rows_of("sample", "test", text_columns=["body"], label_column="class") == plain
    assert rows_of("sample", "test", header=False, quote=False) == plain


# --- folders of Parquet shards


def write_shard(path: Path, labels: list[object], names: list[str] | None = None, **more: object):
    """Write a shard in which each text is the name of its class."""
    import datasets

    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"label": labels, **{name: [value] * len(labels) for name, value in more.items()}}
    if names is None:
        pq.write_table(pa.table({"text": list(map(str, labels)), **columns}), path)
        return
    texts = [names[label] for label in labels]
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    )
    datasets.Dataset.from_dict({"text": texts, **columns}, features=features).to_parquet(str(path))


SHARDS = ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]


@pytest.mark.parametrize(
    "names", [SHARDS, ["a.parquet", "b.parquet"], ["x/1.parquet", "y/2.parquet"]]
)
@pytest.mark.parametrize("readme", [False, True])
def test_labels_of_shards_go_by_name(tmp_path, names, readme):
    write_shard(tmp_path / names[0], [1, 0, 1], ["bad", "good"])
    write_shard(tmp_path / names[1], [0, 1, 2], ["good", "bad", "odd"])
    if readme:
        (tmp_path / "README.md").write_text(
            "---\nconfigs:\n- config_name: default\n  data_files:\n"
            "  - split: train\n    path: '**/*.parquet'\n---\n"
        )
    rows = rows_of(tmp_path)
    assert len(rows) == 6
    assert all(text == label for text, label in rows)
    assert open_source(DataConfig(source=str(tmp_path))).label_names == ["bad", "good", "odd"]
    assert rows_of(f"{tmp_path}/**/*.parquet") == rows


def test_splits_may_number_their_labels_differently(tmp_path):
    write_shard(tmp_path / "train.parquet", [1, 0], ["bad", "good"])
    write_shard(tmp_path / "test.parquet", [1, 0], ["good", "bad"])
    for split in ("train", "test"):
        assert all(text == label for text, label in rows_of(tmp_path, split))


def test_numbers_are_not_mixed_with_the_names_of_another_shard(tmp_path):
    write_shard(tmp_path / "a.parquet", [1, 0], ["bad", "good"])
    write_shard(tmp_path / "b.parquet", [1, 0])
    with pytest.raises(DataError) as error:
        rows_of(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}/b.parquet: column 'label' holds numbers without class names, which "
        f"{tmp_path}/a.parquet has; give both files the names, or neither"
    )


def test_shards_may_have_other_columns_or_types(tmp_path):
    write_shard(tmp_path / SHARDS[0], ["x", "y"])
    write_shard(tmp_path / SHARDS[1], ["z", "y"], extra=1)
    write_shard(tmp_path / "data/train-00002-of-00003.parquet", [1, 2], more="m")
    assert [label for _, label in rows_of(tmp_path)] == ["x", "y", "z", "y", "1", "2"]
    with pytest.raises(
        DataError, match=r"train-00000-of-00002\.parquet: there is no column 'extra'"
    ):
        rows_of(tmp_path, text_columns=["extra"])


def test_an_error_of_datasets_is_one_line_with_its_cause(tmp_path, capfd):
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: a\n  data_files: x.png\n---\n"
    )
    with pytest.raises(DataError) as error:
        rows_of(tmp_path)
    assert "\n" not in str(error.value)
    assert "x.png" in str(error.value)
    problem = RuntimeError("An error occurred\nfor some reason")
    problem.__cause__ = ValueError("Couldn't cast\ntext: string")
    with pytest.raises(DataError) as error, hub._library(tmp_path):
        raise problem
    assert str(error.value).endswith(": An error occurred: Couldn't cast text: string")
    assert capfd.readouterr() == ("", "")


def test_a_readme_may_name_the_labels(tmp_path):
    front = """---
dataset_info:
  features:
  - name: text
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': bad
          '1': good
---
"""
    (tmp_path / "README.md").write_text(front)
    (tmp_path / "data.csv").write_text("text,label\none,1\ntwo,0\n")
    assert rows_of(tmp_path) == [("one", "good"), ("two", "bad")]
    (tmp_path / "data.csv").unlink()
    write_shard(tmp_path / "data.parquet", [1, 0])
    assert [label for _, label in rows_of(tmp_path)] == ["good", "bad"]
    write_shard(tmp_path / "data.parquet", [1, 0], ["good", "bad"])
    assert all(text == label for text, label in rows_of(tmp_path))
