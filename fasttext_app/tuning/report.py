"""What a search leaves behind: ``best.toml``, ``trials.csv`` and a picture."""

from __future__ import annotations

import csv
import io

from fasttext_app._version import __version__
from fasttext_app.config.loading import dump_config
from fasttext_app.config.schema import Config
from fasttext_app.tuning.space import flat_settings
from fasttext_app.tuning.study import as_param
from fasttext_app.tuning.trial import TuneResult

FIGURES = ("number", "state", "figure", "epoch", "epochs_done", "seconds", "bytes", "reason")


def best_toml(result: TuneResult) -> str:
    """Return the best configuration as TOML, with what found it as a comment."""
    best, metric = result.best, result.config.trainer.monitor
    base = result.trials[0]
    of_base = f"{base.figure!r}" if base.figure is not None else f"none ({base.state})"
    seconds = sum(trial.seconds for trial in result.trials)
    lines = [
        f"Found by fasttext-app tune {__version__}: trial {best.number} of {len(result.trials)}, "
        f"in {seconds:.0f} s of trials.",
        f"{metric} on validation rows: {best.figure!r}, after epoch {best.epoch}.",
        f"{metric} of the base settings: {of_base}.",
        f"Rows: {result.data['source']}, {result.data['rows']:,}, digest {result.data['digest']}.",
        f"Searched: {', '.join(result.space.settings)}.",
        "The same model, with the same rows held out: fasttext-app train --config best.toml",
    ]
    return _commented(lines, result.config)


def final_toml(result: TuneResult) -> str:
    """Return the settings for the model to use as TOML; see ``TuneResult.final``."""
    lines = [f"Found by fasttext-app tune {__version__}: best.toml has the figure."]
    if result.final != result.config:
        lines.append("It trains on all rows, those that the search held out as well.")
    return _commented(lines, result.final)


def _commented(lines: list[str], config: Config) -> str:
    # A path or a label may have characters that a comment may not.
    shown = ("".join(filter(str.isprintable, line)) for line in lines)
    comment = "".join(f"# {line}\n" for line in shown)
    return f"{comment}\n{dump_config(config)}"


def state_counts(result: TuneResult) -> dict[str, int]:
    """Return how many trials ended in which way."""
    states = [trial.state for trial in result.trials]
    return {state: states.count(state) for state in dict.fromkeys(states)}


def trials_csv(result: TuneResult) -> str:
    """Return all trials as CSV: their figures, then all settings that were searched."""
    base, text = flat_settings(result.base), io.StringIO()
    searched = result.space.settings
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*FIGURES, *searched])
    for trial in result.trials:
        values = [getattr(trial, name) for name in FIGURES]
        settings = [trial.settings.get(name, base[name]) for name in searched]
        writer.writerow([*values, *map(as_param, settings)])
    return text.getvalue()
