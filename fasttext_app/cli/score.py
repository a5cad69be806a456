"""``fasttext-app score``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Exit, Option

from fasttext_app.cli import messages
from fasttext_app.cli.messages import note, warn
from fasttext_app.cli.options import (
    DelimiterOption,
    EncodingOption,
    ErrorsOption,
    JsonOption,
    ModelArgument,
    Reading,
    SetOption,
    SkipBadOption,
    TextColumnsOption,
    check_choice,
    complete,
    parse_share,
    parse_threshold,
    print_json,
    report_skipped,
)
from fasttext_app.cli.outputs import SafeCsvOption
from fasttext_app.core.signals import DeferredInterrupts

ENGINES = ("local", "ray", "spark")
WHERE = ("kept", "all")
FORMATS = ("parquet", "jsonl", "csv")

_inputs = Argument(metavar="INPUT...", help="Files, folders and globs.", show_default=False)
_output = Option("--output", "-o", metavar="DIR", help="Folder of the outputs, one for each file.")
_form = Option(
    "--format",
    "-f",
    metavar="parquet|jsonl|csv",
    help="Format of the outputs.",
    autocompletion=complete(*FORMATS),
    show_default="as the input",
)
_keep = Option(
    metavar="NAME,...|all", help="Columns of the input to copy to the output.", show_default="all"
)
_top_k = Option(
    "--top-k", "-k", metavar="N", min=1, help="More than 1: lists of the N best labels."
)
_threshold = Option(
    "--threshold", "-t", metavar="P|fitted", help="Give no label below this probability."
)
_label = Option(
    "--label", "-l", metavar="LABEL", help="Give each row its probability for this label."
)
_where = Option(
    metavar="kept|all",
    help="With --label: write the rows that reach the threshold, or all.",
    autocompletion=complete(*WHERE),
    show_default="kept",
)
_share = Option(
    "--keep-share",
    metavar="SHARE",
    help="With --label: the threshold that keeps this share of all rows, 10% or 0.1, exactly.",
)
_nulls = Option(
    metavar="error|null|empty",
    help="Missing texts: fail the file, answer null, or read an empty text.",
    show_default="error",
    rich_help_panel="Reading data",
)
_engine = Option(
    metavar="local|ray|spark", help="What runs the workers.", autocompletion=complete(*ENGINES)
)
_workers = Option(metavar="N", min=0, help="Files scored at a time; 0: one per core.")


def score(
    model: ModelArgument,
    inputs: Annotated[list[str], _inputs],
    output: Annotated[Path, _output],
    form: Annotated[str | None, _form] = None,
    keep: Annotated[list[str] | None, _keep] = None,
    top_k: Annotated[int, _top_k] = 1,
    threshold: Annotated[str | None, _threshold] = None,
    label: Annotated[str | None, _label] = None,
    where: Annotated[str | None, _where] = None,
    keep_share: Annotated[str | None, _share] = None,
    engine: Annotated[str, _engine] = "local",
    workers: Annotated[int, _workers] = 0,
    safe_csv: SafeCsvOption = False,
    text_column: TextColumnsOption = None,
    nulls: Annotated[str | None, _nulls] = None,
    errors: ErrorsOption = None,
    delimiter: DelimiterOption = None,
    encoding: EncodingOption = None,
    skip_bad: SkipBadOption = False,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score files, folders and globs on all cores, on Ray or on Spark.

    Each file gets one output with its columns, `label` and `probability`, written
    completely or not at all. Run the same command again to score what has failed,
    is new or has changed; a manifest in the folder says what is finished.

    Examples:
        fasttext-app score models/tickets pages/ --output scored --keep id,url
        fasttext-app score models/tickets pages/ -o best -l refund --keep-share 10%
        fasttext-app score models/tickets pages/ -o out --engine ray --workers 16
    """
    from fasttext_app.cli.render.scoring import JobBar, show_summary
    from fasttext_app.core.threads import thread_count
    from fasttext_app.inference.predictor import NULLS
    from fasttext_app.scoring.files import FileScorer
    from fasttext_app.scoring.job import engine as engine_of
    from fasttext_app.scoring.job import plan, score_files
    from fasttext_app.scoring.scorer import Scorer

    check_choice(form, FORMATS, "--format")
    check_choice(where, WHERE, "--where")
    check_choice(engine, ENGINES, "--engine")
    check_choice(nulls, NULLS, "--nulls")
    share = _check_label_options(label, top_k, threshold, where, keep_share)
    run, workers = engine_of(engine), thread_count(workers)
    scorer = Scorer(
        model,
        "text",
        top_k=top_k,
        threshold=parse_threshold(threshold),
        label=label,
        packages=messages.says_yes,
    )
    scorer.check()
    reading = Reading(
        text_column, None, errors, settings, delimiter, encoding, skip_bad, keep or ["all"], nulls
    )
    data = reading.config_for(scorer.predictor, inputs).data
    tasks = plan(inputs, output, data, form)
    if engine == "local":
        scorer = scorer.changed(threads=max(workers // len(tasks), 1))
    work = FileScorer.for_data(
        scorer,
        data,
        output.absolute(),
        only_labeled=label is not None and where != "all",
        safe_csv=safe_csv,
    )
    with DeferredInterrupts() as interrupts, JobBar() as bar:
        job = partial(score_files, work, tasks, run, workers, keep_share=share, follow=bar.follow)
        try:
            summary = interrupts.interruptible(job)()
        except KeyboardInterrupt:
            bar.close()
            warn("interrupted; finished files are kept; run the command again to continue")
            raise Exit(interrupts.exit_code) from None
    report_skipped(*summary.skipped_rows())
    for failed in summary.failed:
        warn(f"failed: {failed}")
    if as_json:
        print_json(summary.document())
    else:
        show_summary(summary)
    if summary.failed:
        raise Exit(1)
    note(f"wrote {len(summary.records):,} file{'s' * (len(summary.records) != 1)} to {output}")


def _check_label_options(
    label: str | None,
    top_k: int,
    threshold: str | None,
    where: str | None,
    keep_share: str | None,
) -> float | None:
    """Refuse combinations of options; return the share to keep.

    Raises:
        BadParameter: they cannot be combined.
    """
    if label is not None and top_k != 1:
        raise BadParameter("cannot be combined with --label", param_hint="--top-k")
    if label is not None and threshold is None and keep_share is None:
        raise BadParameter("needs --threshold or --keep-share", param_hint="--label")
    for option, value in (("--where", where), ("--keep-share", keep_share)):
        if value is not None and label is None:
            raise BadParameter("needs --label", param_hint=option)
    if keep_share is None:
        return None
    if threshold is not None:
        raise BadParameter("cannot be combined with --threshold", param_hint="--keep-share")
    return parse_share(keep_share, "--keep-share")
