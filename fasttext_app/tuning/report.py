"""The files that a search writes: ``best.toml``, ``final.toml`` and ``trials.csv``."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from fasttext_app._version import __version__
from fasttext_app.config.loading import dump_config
from fasttext_app.config.schema import Config
from fasttext_app.core.atomic_file import atomic_file
from fasttext_app.errors import DataError
from fasttext_app.foreign_text import for_spreadsheet, for_terminal
from fasttext_app.tuning.space import flat_settings
from fasttext_app.tuning.study import as_param
from fasttext_app.tuning.trial import TuneResult

COLUMNS = ("number", "state", "figure", "epoch", "epochs_done", "seconds", "bytes", "reason")


def write_files(result: TuneResult, folder: Path, *, safe_csv: bool = False) -> None:
    """Write the settings and the trials of a search.

    Args:
        result: the search.
        folder: the folder to write to.
        safe_csv: whether to guard cells of CSV that a spreadsheet would run as formulas.

    Raises:
        DataError: a file cannot be written.
    """
    files = {
        "best.toml": best_toml(result),
        "final.toml": final_toml(result),
        "trials.csv": trials_csv(result, safe=safe_csv),
    }
    for name, content in files.items():
        with atomic_file(folder / name, DataError) as partial_file:
            partial_file.write_text(content, encoding="utf-8")


def best_toml(result: TuneResult) -> str:
    """Return the best settings as TOML; a comment says how they were found."""
    best, metric = result.best, result.config.trainer.monitor
    base = result.trials[0]
    base_score = f"{base.score!r}" if base.score is not None else f"none ({base.state})"
    seconds = sum(trial.seconds for trial in result.trials)
    validation = f"{result.validation_rows:,} validation rows"
    if result.splits > 1:
        seeds = f"{result.config.trainer.seed} to {result.config.trainer.seed + result.splits - 1}"
        scores = ", ".join(map(repr, best.scores))
        validation += f", mean of the splits with seeds {seeds} ({scores})"
    lines = [
        f"Found by fasttext-app tune {__version__}: trial {best.number} of {len(result.trials)}, "
        f"in {seconds:.0f} s of trials.",
        f"{metric} on {validation}: {best.score!r}, after epoch {best.epoch}.",
        f"{metric} of the base settings: {base_score}.",
        f"Rows: {result.data['source']}, {result.data['rows']:,}, digest {result.data['digest']}.",
        f"Searched: {', '.join(result.space.settings)}.",
        "To train the same model on the same rows: fasttext-app train --config best.toml",
    ]
    return _with_comment(lines, result.config)


def final_toml(result: TuneResult) -> str:
    """Return the settings of the model to use as TOML; see ``TuneResult.final``."""
    lines = [f"Found by fasttext-app tune {__version__}; best.toml has the score."]
    if result.final != result.config:
        lines.append("Trains on all rows, including those that the search held out.")
    return _with_comment(lines, result.final)


def _with_comment(lines: list[str], config: Config) -> str:
    # A path or a label may hold characters that TOML does not allow in a comment.
    comment = "".join(f"# {for_terminal(line)}\n" for line in lines)
    return f"{comment}\n{dump_config(config)}"


def state_counts(result: TuneResult) -> dict[str, int]:
    """Return the number of trials in each state."""
    states = [trial.state for trial in result.trials]
    return {state: states.count(state) for state in dict.fromkeys(states)}


def trials_csv(result: TuneResult, *, safe: bool = False) -> str:
    """Return all trials as CSV: their outcome, then every searched setting."""
    base, text = flat_settings(result.base), io.StringIO()
    searched = result.space.settings
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *searched])
    for trial in result.trials:
        outcome = trial.as_dict()
        settings = [trial.settings.get(name, base[name]) for name in searched]
        cells = [*(outcome[name] for name in COLUMNS), *map(as_param, settings)]
        if safe:
            cells = [for_spreadsheet(cell) if isinstance(cell, str) else cell for cell in cells]
        writer.writerow(cells)
    return text.getvalue()
