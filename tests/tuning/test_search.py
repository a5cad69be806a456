"""The search: trials, study file, limits, and settings that train the same model again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pyarrow as pa
import pytest

import fasttext_app as ft
from fasttext_app.cli.render.plots import draw_search
from fasttext_app.config.loading import resolve
from fasttext_app.config.metric_name import Metric
from fasttext_app.config.schema import Config
from fasttext_app.data.split import Examples
from fasttext_app.errors import ConfigError, MissingDependencyError, TrainingError
from fasttext_app.model.directory import save_artifact
from fasttext_app.pipeline import run_prepared
from fasttext_app.training.events import EpochEnd, EpochRecord, StepEnd, TrainBegin, TrainEnd
from fasttext_app.training.prepare import prepare
from fasttext_app.training.run import train_prepared
from fasttext_app.tuning import data_cache
from fasttext_app.tuning import search as tuning
from fasttext_app.tuning.data_cache import DataCache, model_bytes
from fasttext_app.tuning.report import best_toml, trials_csv
from fasttext_app.tuning.search import base_for_search, tune
from fasttext_app.tuning.space import SearchSpace
from fasttext_app.tuning.study import StudyFile, quiet_optuna
from fasttext_app.tuning.trial import (
    Budget,
    Trial,
    TrialBegin,
    TrialEnd,
    TuneResult,
    preferred,
    ranked,
)

BASE: dict[str, Any] = {
    "data": {"validation": 0.2},
    "text": {"word_ngrams": 2, "bucket": 5000, "maxn": 0},
    "model": {"dim": 6},
    "optimizer": {"lr": 0.05},
    "trainer": {"epochs": 2, "threads": 1, "device": "cpu"},
}
SPACE = SearchSpace.parse(
    {
        "text.word_ngrams": [1, 2],
        "text.min_ngram_count": {"low": 1, "high": 4, "when": {"text.word_ngrams": [2]}},
        "optimizer.lr": {"low": 0.001, "high": 1.0, "log": True},
        "trainer.epochs": {"low": 1, "high": 4},
    }
)

Search = Callable[..., TuneResult]


@pytest.fixture
def examples(labeled_rows: list[tuple[str, str]]) -> Callable[[Config], Examples]:
    """Open the invented rows, as a stream that can be read once."""
    labels, texts = zip(*labeled_rows, strict=True)
    table = pa.table({"text": texts, "label": labels})
    return lambda config: Examples(iter(table.to_batches(100)), None, validation_fraction=0.2)


@pytest.fixture
def search(examples: Callable[[Config], Examples], monkeypatch: pytest.MonkeyPatch) -> Search:
    """Search over the invented rows, which are split once."""
    monkeypatch.setattr(tuning, "MAX_SPLITS", 1)

    def run(trials: int | None = 3, base: Any = None, seconds: Any = None, **options: Any) -> Any:
        config = resolve(BASE, base or {})
        options = {"space": SPACE, **options}
        return tune(config, examples, Budget(trials, seconds), **options)

    return run


def untimed(result: TuneResult) -> list[Trial]:
    return [replace(trial, seconds=0.0) for trial in result.trials]


# --- the trials


@pytest.mark.slow
def test_the_first_trial_is_the_base(search, examples):
    base = resolve(BASE)
    result = search(2)
    outcome = train_prepared(prepare(base, examples(base))).outcome
    record = outcome.history[outcome.best_epoch - 1]
    first = result.trials[0]
    assert first.settings == {}
    assert first.score == record.validation_accuracy
    assert (first.epoch, first.loss) == (record.epoch, record.validation_loss)
    assert set(result.trials[1].settings) <= set(SPACE.settings)


@pytest.mark.slow
def test_the_best_is_never_worse_than_the_base(search):
    result = search(5)
    highest = max(t.score for t in result.trials if t.state == "finished")
    assert result.best == preferred(result.trials, Metric.parse("accuracy"), 120)
    assert highest >= result.score >= result.trials[0].score
    error = math.sqrt(highest * (1 - highest) / result.validation_rows)
    assert result.validation_rows == 120
    assert highest - result.score <= error


@pytest.mark.slow
def test_few_rows_are_split_several_times(examples, labeled_rows):
    result = tune(resolve(BASE), examples, Budget(2), space=SPACE)
    assert result.splits == 5
    labels, texts = zip(*labeled_rows, strict=True)
    for trial in result.trials:
        if trial.state == "finished":
            settings = {name.split(".")[1]: value for name, value in trial.settings.items()}
            base = {key: value for section in BASE.values() for key, value in section.items()}
            scores = [
                ft.train(
                    list(texts),
                    list(labels),
                    **{**base, **settings, "seed": seed, "refit": False},
                ).artifact.metrics["validation_accuracy"]
                for seed in range(5)
            ]
            assert trial.scores == scores
            assert trial.score == pytest.approx(sum(scores) / 5)
    assert "mean of the splits with seeds 0 to 4" in best_toml(result)


def trial(number: int, scores: list[float], size: int = 100) -> Trial:
    """Return a finished trial."""
    return Trial(number, {}, score=sum(scores) / len(scores), scores=scores, bytes=size)


@pytest.mark.parametrize(
    ("trials", "number"),
    [
        # one split of 100 rows: the standard error of 0.9 is 0.03
        ([trial(0, [0.88]), trial(1, [0.9], 10)], 0),
        ([trial(0, [0.86]), trial(1, [0.9]), trial(2, [0.89], 50)], 2),
        ([trial(0, [0.86]), trial(1, [0.9]), trial(2, [0.86], 50)], 1),
        # several splits: an equal difference on all is not due to chance
        ([trial(0, [0.5, 0.7, 0.9]), trial(1, [0.51, 0.71, 0.91])], 1),
        ([trial(0, [0.5, 0.7, 0.9]), trial(1, [0.6, 0.6, 0.93])], 0),
        ([Trial(0, {}, "failed"), trial(1, [0.9])], 1),
    ],
)
def test_the_simplest_trial_within_a_standard_error_is_preferred(trials, number):
    chosen = preferred(trials, Metric.parse("accuracy"), 100)
    assert chosen is not None
    assert chosen.number == number


def test_the_lowest_loss_is_preferred():
    chosen = preferred([trial(0, [0.31]), trial(1, [0.3])], Metric.parse("loss"), 100)
    assert chosen is not None
    assert chosen.number == 1


@pytest.mark.slow
def test_the_settings_of_a_trial_train_to_its_score(search, labeled_rows):
    """To the last digit, through the Python API."""
    result = search(4)
    labels, texts = zip(*labeled_rows, strict=True)
    model = ft.train(list(texts), list(labels), **result.settings)
    assert model.artifact.metrics["validation_accuracy"] == result.score


@pytest.mark.slow
def test_the_final_settings_train_on_all_rows(search):
    result = search(4, {"trainer": {"monitor": "macro_f1", "patience": 1}})
    assert result.final.trainer.refit is True
    unchanged = {"trainer": {"refit": result.config.trainer.refit}}
    assert resolve(result.final.model_dump(), unchanged) == result.config


@pytest.mark.slow
def test_the_final_settings_do_not_train_on_the_rows_of_a_validation_split(examples):
    base = resolve(BASE, {"data": {"validation": "auto"}})

    def with_split(config: Config) -> Examples:
        own = examples(config).train
        return replace(examples(config), validation=own, validation_fraction=0.0)

    result = tune(base, with_split, Budget(2), space=SPACE)
    assert result.final == result.config


@pytest.mark.slow
def test_the_same_seed_makes_the_same_trials(search):
    first, again = search(14), search(14)
    assert untimed(first) == untimed(again)
    other = search(3, {"trainer": {"seed": 1}})
    assert [t.settings for t in other.trials] != [t.settings for t in first.trials[:3]]


@pytest.mark.slow
def test_a_conditional_setting_is_set_only_under_its_condition(search):
    for trial in search(12).trials[1:]:
        conditional = trial.settings["text.word_ngrams"] == 2
        assert ("text.min_ngram_count" in trial.settings) == conditional


@pytest.mark.slow
def test_a_base_outside_the_space_is_the_first_trial_all_the_same(search):
    result = search(12, {"optimizer": {"lr": 3.0}, "text": {"word_ngrams": 3}})
    assert result.trials[0].settings == {}
    assert all(trial.settings["optimizer.lr"] <= 1.0 for trial in result.trials[1:])


@pytest.mark.slow
def test_a_lower_loss_is_the_better_score(search):
    result = search(5, {"trainer": {"monitor": "loss"}})
    figures = [trial.score for trial in result.trials if trial.state == "finished"]
    assert result.score == min(figures)
    assert result.best.score == result.best.loss


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["macro_f1", "f1:sport", "precision@recall:0.5:wörld"])
def test_any_metric_of_the_trainer_can_be_searched_by(search, metric):
    result = search(2, {"trainer": {"monitor": metric}})
    assert 0 < result.score <= 1
    assert result.config.trainer.monitor == metric


def test_the_metric_of_an_unknown_label_is_refused(search):
    with pytest.raises(ConfigError, match="there is no label 'spotr'; did you mean"):
        search(2, {"trainer": {"monitor": "f1:spotr"}})


def test_different_losses_are_not_compared(search):
    space = SearchSpace.parse({"model.loss": ["softmax", "ova"]})
    with pytest.raises(ConfigError, match="losses of different kinds cannot be compared"):
        search(2, {"trainer": {"monitor": "loss"}}, space=space)


def test_equal_scores_go_by_the_loss_and_then_by_the_number():
    trials = [
        Trial(0, {}, score=0.9, loss=0.4),
        Trial(1, {}, score=0.9, loss=0.3),
        Trial(2, {}, score=0.9, loss=0.3),
        Trial(3, {}, "pruned", score=0.95),
        Trial(4, {}, score=0.8, loss=0.1),
    ]
    accuracy, loss = Metric.parse("accuracy"), Metric.parse("loss")
    assert [trial.number for trial in ranked(trials, accuracy)] == [1, 2, 0, 4]
    assert [trial.number for trial in ranked(trials, loss)] == [4, 1, 2, 0]


@pytest.mark.slow
def test_a_diverged_trial_counts_as_failed(search):
    space = SearchSpace.parse({"optimizer.lr": [0.05, 1e30]})
    result = search(8, {"optimizer": {"name": "sgd"}}, space=space)
    failed = [trial for trial in result.trials if trial.state == "failed"]
    assert failed
    assert all("lower optimizer.lr" in trial.reason for trial in failed)
    assert all(trial.settings["optimizer.lr"] == 1e30 for trial in failed)
    assert result.best.settings.get("optimizer.lr", 0.05) == 0.05


@pytest.mark.slow
def test_a_trial_of_impossible_settings_counts_as_failed(search):
    space = SearchSpace.parse({"model.mode": ["mean", "max"]})
    result = search(6, space=space)
    assert {t.state for t in result.trials if t.settings.get("model.mode") == "max"} == {"failed"}


def test_a_diverged_base_is_an_error(search):
    with pytest.raises(TrainingError, match=r"lower optimizer\.lr"):
        search(3, {"optimizer": {"name": "sgd", "lr": 1e30}})


def test_without_validation_rows_there_is_no_search(search, examples):
    rows = lambda config: replace(examples(config), validation_fraction=0.0)  # noqa: E731
    with pytest.raises(TrainingError, match=r"rows; raise data\.validation"):
        tune(resolve(BASE), rows, Budget(2), space=SPACE)


def test_the_base_gets_validation_rows_and_the_metric():
    base = base_for_search(resolve({"data": {"validation": 0.0}}), "macro_f1")
    assert base.data.validation == "auto"
    assert base.trainer.monitor == "macro_f1"
    assert base_for_search(resolve(BASE)) == resolve(BASE, {"trainer": {"refit": False}})
    with pytest.raises(ConfigError, match="'acuracy' is not a metric; did you mean"):
        base_for_search(Config(), "acuracy")


# --- when it ends


def test_a_search_needs_an_end(search):
    with pytest.raises(ConfigError, match="tune needs an end: a number of trials or a time"):
        search(None)


def test_the_base_is_trained_whatever_the_time(search):
    result = search(None, seconds=1e-9)
    assert [trial.state for trial in result.trials] == ["finished"]


@pytest.mark.slow
def test_a_trial_that_is_out_of_time_does_not_count(search, monkeypatch):
    class Clock:
        now = 0.0

        @classmethod
        def perf_counter(cls) -> float:
            return cls.now

    def pass_time(event: object) -> None:
        Clock.now += 1.0 if isinstance(event, EpochEnd) else 0.0

    monkeypatch.setattr(tuning, "time", Clock)
    space = SearchSpace.parse({"trainer.epochs": [2]})
    result = search(None, seconds=4.5, space=space, callback=pass_time)
    assert [trial.seconds for trial in result.trials] == [2.0, 2.0]
    assert Clock.now == 5.0  # amid the third


@pytest.mark.slow
def test_ctrl_c_ends_it_with_the_best_so_far(search):
    def interrupt(event: object) -> None:
        if isinstance(event, StepEnd) and interrupted_at:
            raise KeyboardInterrupt
        if isinstance(event, TrialBegin) and event.number == 2:
            interrupted_at.append(event)

    interrupted_at: list[TrialBegin] = []
    result = search(5, callback=interrupt)
    assert result.interrupted
    assert len(result.trials) == 2


@pytest.mark.parametrize("last", [TrainEnd, TrialEnd])
def test_a_signal_after_the_last_step_ends_it_too(search, last):
    came = []
    result = search(1, callback=lambda e: came.append(isinstance(e, last)), stop=lambda: any(came))
    assert result.interrupted
    assert len(result.trials) == 1


def test_a_signal_during_a_trial_keeps_the_trials_before_it(search):
    trials = []

    def count(event: object) -> None:
        if isinstance(event, TrialBegin):
            trials.append(event)

    result = search(9, callback=count, stop=lambda: len(trials) > 2)
    assert result.interrupted
    assert len(result.trials) == 2


def test_ctrl_c_in_the_first_trial_is_raised(search):
    def interrupt(event: object) -> None:
        if isinstance(event, StepEnd):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(5, callback=interrupt)


def test_the_events_cover_trials_and_their_training(search):
    events: list[Any] = []
    result = search(2, callback=events.append)
    kinds = [type(event) for event in events]
    assert kinds.count(TrialBegin) == kinds.count(TrialEnd) == kinds.count(TrainBegin) == 2
    ends = [event for event in events if isinstance(event, TrialEnd)]
    assert [end.trial for end in ends] == list(result.trials)
    assert ends[-1].best == result.best


# --- the size of the model


@pytest.mark.slow
@pytest.mark.parametrize(
    "layer",
    [
        {},
        {"text": {"word_ngrams": 1}},
        {"text": {"prune": False}},
        {"text": {"term_weighting": "tfidf"}, "model": {"mode": "sum"}},
        {"text": {"minn": 2, "maxn": 4}, "model": {"dim": 33}, "trainer": {"epochs": 5}},
    ],
)
def test_the_estimated_size_matches_the_folder(tmp_path, examples, layer):
    config = resolve(BASE, {"trainer": {"refit": False, "calibrate": False}}, layer)
    prepared = prepare(config, examples(config))
    expected = model_bytes(prepared)
    save_artifact(run_prepared(prepared).model.artifact, tmp_path / "model")
    found = sum(file.stat().st_size for file in (tmp_path / "model").iterdir())
    assert found == pytest.approx(expected, abs=100 * config.trainer.epochs + 200)


@pytest.mark.slow
def test_models_that_are_too_large_are_not_trained(search):
    space = SearchSpace.parse({"model.dim": [6, 200]})
    began: list[Any] = []
    base = {"model": {"fold": False}}
    result = search(8, base=base, space=space, max_bytes=400_000, callback=began.append)
    too_large = [trial for trial in result.trials if trial.state == "too large"]
    assert too_large
    assert {trial.settings["model.dim"] for trial in too_large} == {200}
    assert all(trial.bytes > 400_000 and trial.score is None for trial in too_large)
    trained = sum(isinstance(event, TrainBegin) for event in began)
    assert trained == len(result.trials) - len(too_large)
    assert result.best.bytes <= 400_000


def test_a_search_without_a_small_enough_model_reports_the_smallest_size(search):
    with pytest.raises(TrainingError, match="none of the 3 models is within 1,000 bytes; the sma"):
        search(3, max_bytes=1000)


# --- pruning


class Asked:
    """Stands for Optuna's trial."""

    def __init__(self, prune_at: int = 1000) -> None:
        self.reported: list[tuple[int, float]] = []
        self.prune_at = prune_at

    def report(self, value: float, step: int) -> None:
        self.reported.append((step, value))

    def should_prune(self) -> bool:
        return self.reported[-1][0] >= self.prune_at


def run_of(figures: list[float]) -> Iterator[Any]:
    yield TrainBegin(10, 10, len(figures), "cpu")
    for epoch, figure in enumerate(figures, start=1):
        record = EpochRecord(epoch, 0.1, 1.0, 10.0, 0.5, figure, figure)
        yield EpochEnd(record, best=figure == max(figures[:epoch]))


def watch_of(asked: Any) -> Any:
    return tuning._Watch(asked, Metric.parse("accuracy"), None, lambda event: None)


@pytest.mark.parametrize(
    ("figures", "reported"),
    [
        ([0.5], [(12, 0.5)]),
        ([0.5, 0.6], [(6, 0.5), *((step, 0.5) for step in range(7, 12)), (12, 0.6)]),
        ([0.5, 0.6, 0.4], [(4, 0.5), (5, 0.5), (6, 0.5), (7, 0.5), (8, 0.6)]),
    ],
)
def test_runs_of_different_lengths_are_compared_at_the_same_share(figures, reported):
    asked = Asked()
    watch = watch_of(asked)
    for event in run_of(figures):
        watch(event)
    assert asked.reported[: len(reported)] == reported
    assert [step for step, _ in asked.reported] == list(range(asked.reported[0][0], 13))


def test_a_long_run_reports_each_twelfth_once():
    asked = Asked()
    watch = watch_of(asked)
    for event in run_of([epoch / 30 for epoch in range(1, 31)]):
        watch(event)
    steps = [step for step, _ in asked.reported]
    assert steps == list(range(1, 13))
    assert asked.reported[-1] == (12, 1.0)


def test_a_hopeless_run_ends_after_its_epoch_and_a_finished_one_does_not():
    watch = watch_of(Asked(prune_at=6))
    begin, first, second, _ = run_of([0.5, 0.4, 0.3])
    watch(begin)
    watch(first)
    with pytest.raises(tuning._Pruned):
        watch(second)
    assert (watch.epochs_done, watch.best) == (2, 0.5)
    whole = watch_of(Asked(prune_at=12))
    for event in run_of([0.5, 0.6]):
        whole(event)
    assert whole.epochs_done == 2


@pytest.mark.slow
def test_bad_trials_are_pruned(search):
    space = SearchSpace.parse(
        {"optimizer.lr": {"low": 1e-6, "high": 1.0, "log": True}, "trainer.epochs": [4]}
    )
    result = search(70, {"trainer": {"epochs": 4}, "text": {"maxn": 5}}, space=space)
    pruned = [trial for trial in result.trials if trial.state == "pruned"]
    assert pruned
    assert min(trial.number for trial in pruned) > tuning.UNPRUNED_TRIALS
    assert all(1 <= trial.epochs_done < 4 for trial in pruned)
    assert all(trial.score < result.score for trial in pruned)


# --- the study


@pytest.mark.slow
def test_a_search_in_several_sessions_makes_the_trials_of_one(search, tmp_path):
    whole = search(14)
    study = tmp_path / "folder" / "study.jsonl"
    search(3, study=study)
    search(11, study=study)
    later: list[Any] = []
    result = search(14, study=study, callback=later.append)
    assert [e.number for e in later if isinstance(e, TrialBegin)] == [11, 12, 13]
    assert untimed(result) == untimed(whole)
    assert search(14, study=study, callback=later.append).trials == result.trials


@pytest.mark.slow
def test_a_partial_line_is_removed(search, tmp_path):
    study = tmp_path / "study.jsonl"
    search(3, study=study)
    written = study.read_bytes()
    for cut in (1, 40):
        study.write_bytes(written[:-cut])
        result = search(4, study=study)
        assert untimed(result) == untimed(search(4))
        study.write_bytes(written)


def test_a_write_that_fails_leaves_no_partial_line(tmp_path):
    study = tmp_path / "study.jsonl"
    with quiet_optuna():
        with StudyFile.opened(study, {"a": 1}, "maximize"):
            whole = study.read_bytes()
            with study.open("ab") as file:
                file.write(b'{"op_code":4,"par')
        assert study.read_bytes() == whole


@pytest.mark.slow
def test_a_lock_left_by_a_killed_process_is_ignored(search, tmp_path):
    study = tmp_path / "study.jsonl"
    search(2, study=study)
    (tmp_path / "study.jsonl.lock").symlink_to(study)
    assert len(search(3, study=study).trials) == 3


@pytest.mark.slow
def test_seconds_of_earlier_sessions_count(search, tmp_path):
    study = tmp_path / "study.jsonl"
    search(3, study=study)
    assert len(search(None, seconds=1e-9, study=study).trials) == 3


@pytest.mark.slow
def test_the_file_is_a_journal_of_json_that_optuna_reads(search, tmp_path):
    study = tmp_path / "study.jsonl"
    result = search(3, study=study)
    lines = [json.loads(line) for line in study.read_text().splitlines()]
    assert len(lines) == 2 + 3
    backend = optuna.storages.journal.JournalFileBackend(str(study))
    read = optuna.load_study(
        study_name="fasttext-app tune", storage=optuna.storages.JournalStorage(backend)
    )
    assert [trial.value for trial in read.trials] == [trial.score for trial in result.trials]
    assert read.trials[1].params["optimizer.lr"] == result.trials[1].settings["optimizer.lr"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"base": {"model": {"dim": 7}}}, "model.dim was 6 and is 7"),
        (
            {"base": {"trainer": {"monitor": "macro_f1"}}},
            "trainer.monitor was accuracy and is macro_f1",
        ),
        ({"base": {"trainer": {"seed": 5}}}, "trainer.seed was 0 and is 5"),
        ({"base": {"data": {"validation": 0.3}}}, "data.validation was 0.2 and is 0.3"),
        ({"max_bytes": 10**6}, "the largest size was not set and is 1000000"),
        (
            {"space": SearchSpace.parse({"trainer.epochs": [1, 2]})},
            "the search of text.word_ngrams was {'choices': [1, 2], 'setting': 'text.word_ngrams', "
            "'when': {}} and is not set",
        ),
    ],
)
def test_the_study_of_another_search_is_refused_with_the_difference(
    search, tmp_path, change, difference
):
    study = tmp_path / "study.jsonl"
    search(2, study=study)
    before = study.read_bytes()
    with pytest.raises(ConfigError, match="belongs to another search: ") as caught:
        search(3, study=study, **change)
    assert difference in str(caught.value)
    assert "Name another file with --study" in str(caught.value)
    assert study.read_bytes() == before


def test_the_study_of_other_rows_is_refused(search, tmp_path, examples):
    study = tmp_path / "study.jsonl"
    search(2, study=study)

    def other(config: Config) -> Examples:
        table = pa.Table.from_batches(examples(config).train)
        return Examples(table.slice(0, 599), None, validation_fraction=0.2)

    with pytest.raises(ConfigError, match="the data's rows was 600 and is 599; the data's digest"):
        tune(resolve(BASE), other, Budget(3), space=SPACE, study=study)


@pytest.mark.slow
def test_a_study_without_a_trial_can_be_taken_over(search, tmp_path):
    study = tmp_path / "study.jsonl"
    for metric in ("f1:nothing", "loss"):
        with pytest.raises(ConfigError, match="there is no label"):
            search(2, {"trainer": {"monitor": "f1:nothing"}}, study=study)
        monitor = {"trainer": {"monitor": metric.replace("f1:nothing", "accuracy")}}
        result = search(2, monitor, study=study)
        assert untimed(result) == untimed(search(2, monitor))
        study.unlink()


@pytest.mark.slow
def test_threads_and_the_device_may_change(search, tmp_path):
    study = tmp_path / "study.jsonl"
    search(2, study=study)
    assert len(search(3, {"trainer": {"threads": 2}}, study=study).trials) == 3


INTEGER = (
    '{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}'
)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[-1].update(op_code=3),
        lambda lines: lines[-1].update(study_id=7),
        lambda lines: lines[-1].update(value="high"),
        lambda lines: lines[-1]["user_attrs"]["trial"].update(seconds=-1),
        lambda lines: lines[-1]["user_attrs"]["trial"].update(figure=None),
        lambda lines: lines[-1]["user_attrs"]["trial"].update(number=9),
        lambda lines: lines[-1]["user_attrs"]["trial"].update(extra=1),
        lambda lines: lines[-1].update(user_attrs={}),
        lambda lines: lines[-1].update(distributions={"text.dim": "{}"}),
        lambda lines: lines[-1].update(params={"n": math.inf}, distributions={"n": INTEGER}),
        lambda lines: lines[1].update(user_attr={"search": []}),
        lambda lines: lines[1].update(user_attr={"other": {}}),
        lambda lines: lines.append({"op_code": 1, "worker_id": "", "study_id": 0}),
        lambda lines: lines.append([]),
    ],
)
def test_a_study_with_a_line_of_another_kind_is_refused_and_kept(search, tmp_path, change):
    study = tmp_path / "study.jsonl"
    search(2, study=study)
    lines = [json.loads(line) for line in study.read_text().splitlines()]
    change(lines)
    compact = (json.dumps(line, separators=(",", ":")) for line in lines)
    study.write_text("".join(f"{line}\n" for line in compact))
    before = study.read_bytes()
    with pytest.raises(ConfigError, match=r"study.jsonl: not a study file of fasttext-app tune"):
        search(3, study=study)
    assert study.read_bytes() == before


def test_a_study_in_use_is_refused(search, tmp_path):
    study = tmp_path / "study.jsonl"

    def again(event: object) -> None:
        if isinstance(event, TrialBegin):
            search(2, study=study)

    with pytest.raises(ConfigError, match="another search is using this study"):
        search(2, study=study, callback=again)


@pytest.mark.parametrize("content", ["no study\n", "{}\n", "[1]\n", '{"op_code": 4}\n'])
def test_a_file_that_is_not_a_study_is_refused_and_kept(search, tmp_path, content):
    study = tmp_path / "notes.txt"
    study.write_text(content)
    with pytest.raises(ConfigError, match=r"notes.txt: not a study file of fasttext-app tune"):
        search(2, study=study)
    assert study.read_text() == content


def test_another_optuna_study_is_refused_and_kept(search, tmp_path):
    study = tmp_path / "study.jsonl"
    backend = optuna.storages.journal.JournalFileBackend(str(study))
    optuna.create_study(storage=optuna.storages.JournalStorage(backend), study_name="mine")
    written = study.read_bytes()
    with pytest.raises(ConfigError, match="not a study file of fasttext-app tune"):
        search(2, study=study)
    assert study.read_bytes() == written


@pytest.mark.slow
def test_optuna_prints_nothing_and_its_log_level_is_restored(search, capfd):
    before = optuna.logging.get_verbosity()
    search(12)
    assert optuna.logging.get_verbosity() == before
    shown = capfd.readouterr()
    assert shown.out == shown.err == ""


def test_without_optuna_the_error_says_how_to_install_it(search, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(MissingDependencyError, match=r"pip install .* '\.\[tune\]'"):
        search(2)


# --- the rows


@pytest.mark.slow
def test_rows_are_opened_and_tokenized_once(search, examples, monkeypatch):
    opened: list[Config] = []
    tokenized: list[Config] = []
    real = data_cache.tokenize

    def counted(config: Config, *others: Any) -> Any:
        tokenized.append(config)
        return real(config, *others)

    def opening(config: Config) -> Examples:
        opened.append(config)
        return examples(config)

    monkeypatch.setattr(data_cache, "tokenize", counted)
    tune(resolve(BASE), opening, Budget(6), space=SPACE)
    assert len(opened) == len(tokenized) == 1


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0, 2**30])
def test_cached_rows_equal_those_of_a_separate_run(examples, limit):
    layers = [
        {},
        {"text": {"word_ngrams": 1}},
        {"text": {"min_ngram_count": 3}},
        {"text": {"tokenizer": "whitespace"}},
        {"model": {"dim": 9}},
    ]
    with DataCache(examples, limit) as data:
        for layer in [*layers, *layers]:
            config = resolve(BASE, layer)
            found, expected = data.prepare(config), prepare(config, examples(config))
            without_refit = {"trainer": {"refit": found.config.trainer.refit}}
            assert resolve(expected.config.model_dump(), without_refit) == found.config
            assert found.statistics == expected.statistics
            assert found.labels == expected.labels
            for side in ("train", "validation"):
                a, b = getattr(found, side), getattr(expected, side)
                assert np.array_equal(a.classes[0], b.classes[0])
                assert np.array_equal(a.shards[0]().indices, b.shards[0]().indices)


def test_rows_are_encoded_once_for_equal_text_settings(examples, monkeypatch):
    made: list[Config] = []
    real = data_cache.prepare

    def counted(config: Config, *others: Any) -> Any:
        made.append(config)
        return real(config, *others)

    monkeypatch.setattr(data_cache, "prepare", counted)
    with DataCache(examples, 2**30) as data:
        for dim in (4, 5, 6):
            data.prepare(resolve(BASE, {"model": {"dim": dim}}))
    assert len(made) == 1


def test_the_held_out_rows_do_not_depend_on_the_encoding(examples):
    held = []
    with DataCache(examples, 2**30) as data:
        for layer in ({}, {"text": {"word_ngrams": 1, "min_count": 4}}, {"model": {"loss": "ova"}}):
            validation = data.prepare(resolve(BASE, layer)).validation
            assert validation is not None
            held.append(validation.classes[0].tolist())
    assert held[0] == held[1] == held[2]


@pytest.mark.slow
def test_a_validation_split_is_read_once_and_reused(examples):
    opened: list[str] = []

    def rows(config: Config) -> Examples:
        opened.append("rows")
        table = pa.Table.from_batches(examples(config).train)
        parts = iter(table.slice(500).to_batches())
        return Examples(iter(table.slice(0, 500).to_batches()), parts, validation_fraction=0.0)

    result = tune(resolve(BASE), rows, Budget(6), space=SPACE)
    assert len(opened) == 1
    assert len({trial.score for trial in result.trials}) > 1

    def fewer(config: Config) -> Examples:
        whole = rows(config)
        return replace(whole, validation=pa.Table.from_batches(whole.validation).slice(1))

    with DataCache(rows, 0) as data, DataCache(fewer, 0) as other:
        digests = [each.fingerprint(resolve(BASE))["digest"] for each in (data, other)]
    assert digests[0] != digests[1]


# --- what is left behind


@pytest.mark.slow
def test_the_toml_reads_back_to_the_same_settings(search, tmp_path):
    result = search(4)
    path = tmp_path / "best.toml"
    path.write_text(best_toml(result), encoding="utf-8")
    from fasttext_app.config.loading import load_config_file

    assert resolve(load_config_file(path)) == result.config
    assert f"# accuracy on 120 validation rows: {result.score!r}, after epoch" in path.read_text()
    assert f"trial {result.best.number} of 4" in path.read_text()


def test_a_comment_escapes_characters_that_toml_does_not_allow(search, tmp_path):
    result = search(1)
    odd = replace(result, data={**result.data, "source": "a\nb\x00\x07"})
    assert r"# Rows: a\nb\u0000\u0007, 600, " in best_toml(odd)


@pytest.mark.slow
def test_the_csv_has_a_row_for_each_trial(search):
    result = search(5)
    header, *rows = [line.split(",") for line in trials_csv(result).splitlines()]
    assert header[:3] == ["number", "state", "figure"]
    assert tuple(header[-4:]) == SPACE.settings
    assert [int(row[0]) for row in rows] == [0, 1, 2, 3, 4]
    assert [float(row[2]) for row in rows] == [trial.score for trial in result.trials]
    assert rows[0][-4:] == ["2", "1", "0.05", "2"]  # the base's


@pytest.mark.slow
def test_the_plot_shows_every_state_of_a_trial(search, tmp_path):
    trials = search(6).trials
    result = search(2)
    states = ("finished", "pruned", "too large", "failed")
    figures = {"too large": None, "failed": None}
    mixed = tuple(
        replace(trial, state=state, score=figures.get(state, 0.5 + trial.number / 100))
        for trial, state in zip(trials, [*states, "finished", "pruned"], strict=True)
    )
    draw_search(replace(result, trials=mixed), tmp_path / "search.png")
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir()] == ["search.png"]


# --- the Python API


@pytest.mark.slow
def test_the_python_api_searches_texts(labeled_rows, tmp_path):
    labels, texts = zip(*labeled_rows, strict=True)
    settings = {"device": "cpu", "threads": 1, "epochs": 2, "dim": 6, "validation": 0.2}
    space = {"optimizer.lr": {"low": 0.01, "high": 1.0, "log": True}}
    result = ft.tune(
        list(texts), list(labels), trials=3, metric="macro_f1", space=space, **settings
    )
    assert len(result.trials) == 3
    assert result.config.trainer.monitor == "macro_f1"
    model = ft.train(list(texts), list(labels), **result.settings)
    assert model.artifact.metrics["validation_macro_f1"] == result.best.scores[0]
    (tmp_path / "space.toml").write_text("[space]\n'optimizer.lr' = [0.1]\n")
    few = ft.tune(list(texts), list(labels), trials=2, space=tmp_path / "space.toml", **settings)
    assert few.trials[1].settings == {"optimizer.lr": 0.1}


def test_the_python_api_searches_a_file(labeled_file):
    result = ft.tune(labeled_file, seconds=0.001, epochs=1, dim=4, device="cpu", threads=1)
    assert len(result.trials) == 1
    assert not math.isnan(result.score)
    with pytest.raises(ft.FastTextAppError, match="tune: "):
        ft.tune(labeled_file, ["a"], trials=1)
