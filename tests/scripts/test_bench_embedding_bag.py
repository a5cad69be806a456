"""The embedding-bag benchmark: its four ways agree, and it reports what it should."""

import json
import sys
from argparse import Namespace
from importlib import import_module

import pytest
import torch

from tests.helpers import SCRIPTS

TINY = ["--quick", "--vocabularies", "100", "300", "--fixed-vocabulary", "100"]
TINY += ["--lengths", "3", "6", "--fixed-length", "3", "--batch", "4", "--dim", "4"]
TINY += ["--rounds", "5", "--slice", "0.001", "--no-memory"]


sys.path.insert(0, str(SCRIPTS))
try:
    bench = import_module("bench_embedding_bag")
finally:
    sys.path.remove(str(SCRIPTS))

START, END = "<!-- bench:start -->", "<!-- bench:end -->"
CASE_NAMES = [str(case) for case in bench.CASES]


@pytest.fixture(autouse=True)
def keep_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def texts_of(*lists: list[int]) -> list[torch.Tensor]:
    return [torch.tensor(ids, dtype=torch.long) for ids in lists]


@pytest.mark.parametrize("case", bench.CASES, ids=str)
def test_means_by_hand(case):
    table = torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 6.0], [9.0, 9.0]])
    trainer = bench.Trainer(case, table)
    encode = trainer.model[0]
    means = encode(trainer.load(texts_of([2], [], [1, 1, 2, 2], [1, 1, 1])))
    expected = [[3.0, 6.0], [0.0, 0.0], [2.0, 4.0], [1.0, 2.0]]
    torch.testing.assert_close(means, torch.tensor(expected))
    assert torch.equal(encode(trainer.load(texts_of([], []))), torch.zeros(2, 2))


def test_awkward_texts_are_awkward():
    texts = [text.tolist() for text in bench.awkward_texts()]
    assert texts[0] == texts[-1] == []
    assert [] in texts[1:-1]
    assert any(len(set(text)) < len(text) for text in texts)
    assert max(map(len, texts)) >= 100


@pytest.mark.slow
@pytest.mark.parametrize("case", bench.CASES, ids=str)
def test_outputs_and_gradients_agree(case):
    texts, table = bench.awkward_texts(), bench.new_table(50, 16, "cpu")
    first = bench.step_results(bench.BASE, texts, table)
    found = bench.step_results(case, texts, table)
    names = {"logits", "table after", "table gradient", "weight gradient", "bias gradient"}
    assert found.keys() == names
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, first[name], rtol=1e-5, atol=1e-6)
    used = torch.cat(texts).unique()
    moved = found["table gradient"].abs().sum(1).nonzero().squeeze(1)
    assert torch.equal(moved, used)  # so neither padding nor absent ids take a gradient


@pytest.mark.slow
def test_agreement_covers_the_reference():
    assert max(bench.check_agreement("cpu").values()) < 1e-6


def test_disagreement_exits_1_before_measuring(monkeypatch, capsys):
    def padding_counted(self, batch):
        return self.rows(batch[0]).mean(1)

    monkeypatch.setattr(bench.Padded, "forward", padding_counted)
    monkeypatch.setattr(bench, "measure", lambda *_: pytest.fail("measured all the same"))
    assert bench.main(TINY) == 1
    assert "padded, sparse: logits differs" in capsys.readouterr().out


@pytest.mark.slow
def test_tiny_run_writes_rows_and_docs(tmp_path, capsys):
    docs, images, results = tmp_path / "page.md", tmp_path / "img", tmp_path / "rows.json"
    before, after = "# Ours\n\nkept: é\n\n", "\n\nafter, kept\n"
    docs.write_text(f"{before}{START}\nold\n{END}{after}", encoding="utf-8")
    flags = ["--write-docs", "--docs", str(docs), "--images", str(images), "--json", str(results)]
    assert bench.main([*TINY, *flags]) == 0

    found = json.loads(results.read_text())
    by_size: dict[tuple, set[str]] = {}
    for row in found["rows"]:
        assert len(row["step_ms"]) == len(row["collate_ms"]) == 5
        assert min(row["step_ms"]) > 0
        name = f"{row['case']['way']}, {row['case']['gradient']}"
        by_size.setdefault(tuple(row["size"].values()), set()).add(name)
    assert len(by_size) == 5  # of six points in three sweeps, one is shared
    assert all(names == set(CASE_NAMES) for names in by_size.values())

    page = docs.read_text(encoding="utf-8")
    assert page.startswith(before + START)
    assert page.endswith(END + after)
    assert "old" not in page
    for word in ("--write-docs", torch.__version__, "1 used", "D = 4", "B = 4", "Quick run"):
        assert word in page
    for name in CASE_NAMES:
        assert page.count(f"| {name} |") == 3  # a table of times for each sweep
    for sweep in ("vocabulary", "length", "equal"):
        assert f"(img/embedding_bag_{sweep}.svg)" in page
        assert (images / f"embedding_bag_{sweep}.svg").read_text().startswith("<?xml")
    assert "EmbeddingBag, sparse" in capsys.readouterr().out


def test_docs_without_markers_fail_at_once(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("no markers")
    monkeypatch.setattr(bench, "measure", lambda *_: pytest.fail("measured all the same"))
    with pytest.raises(SystemExit, match=r"page\.md: the markers .*bench:start.* are missing"):
        bench.main([*TINY, "--write-docs", "--docs", str(page)])
    assert page.read_text() == "no markers"


def test_the_page_of_the_project_has_markers():
    bench.check_markers(bench.ROOT / "docs" / "embedding_bag.md", bench.MARKERS)


def test_too_few_rounds_are_refused(capsys):
    with pytest.raises(SystemExit):
        bench.main(["--rounds", "4"])
    assert "--rounds" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_sees_the_dense_gradient(monkeypatch):
    rows, dim = 100_000, 16
    size = bench.Size(rows, 8, 0.8, 8, dim)
    cases = [bench.Case("packed", "sparse"), bench.Case("packed", "dense")]
    monkeypatch.setattr(bench, "CASES", cases)
    monkeypatch.setattr(bench, "MEMORY_REPEATS", 1)
    found = bench.measure_memory([size], Namespace(device="cpu", threads=1))
    (sparse,), (dense,) = (found[case, size] for case in cases)
    gradient = rows * dim * 4 / 2**20
    assert sparse < 1
    assert gradient <= dense < 1.3 * gradient


@pytest.mark.parametrize("skew", [0.0, 0.8])
@pytest.mark.parametrize("mean", [16, 1024])
def test_texts_have_the_lengths_asked_for(mean, skew):
    size = bench.Size(1000, mean, skew, 64, 16)
    texts = bench.draw_texts(size, torch.Generator().manual_seed(0))
    lengths = [len(text) for text in texts]
    assert sorted(lengths) == sorted(bench.text_lengths(size))
    assert sum(lengths) == pytest.approx(mean * 64, rel=0.02)
    assert max(lengths) > 4 * mean if skew else set(lengths) == {mean}
    ids = torch.cat(texts)
    assert ids.min() >= 1
    assert ids.max() < 1000
    assert (ids < 32).float().mean() == pytest.approx(0.5, abs=0.06)  # Zipf: 32 is about sqrt(V)


@pytest.mark.slow
def test_plot_is_the_same_each_time(tmp_path):
    size = bench.Size(100, 8, 0.8, 4, 4)
    rows = [bench.Row(case, size, [1.0 + i], [1.0], [0.0]) for i, case in enumerate(bench.CASES)]
    for name in ("a.svg", "b.svg"):
        bench.plot("length", [size], rows, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
