"""``fasttext-app info``."""

from __future__ import annotations

from fasttext_app.cli.options import (
    AllOption,
    JsonOption,
    ModelArgument,
    load_model,
    print_json,
    size_on_disk,
)


def info(model: ModelArgument, show_all: AllOption = False, as_json: JsonOption = False) -> None:
    """Show a model's settings, vocabulary, labels, size, training data and metrics.

    Examples:
        fasttext-app info models/tickets
        fasttext-app info models/tickets --json
    """
    from fasttext_app.cli.render.model import show_info
    from fasttext_app.inference.inspect import known_settings

    classifier = load_model(model)
    size = size_on_disk(model)
    if not as_json:
        show_info(classifier, str(model), size, show_all=show_all)
        return
    artifact = classifier.artifact
    print_json(
        {
            "config": known_settings(artifact),
            "labels": dict(zip(artifact.labels.names, artifact.labels.counts, strict=True)),
            "vocabulary": len(artifact.vocabulary),
            "table": list(artifact.table.shape),
            "bytes": size,
            "metrics": artifact.metrics,
            "calibration": artifact.calibration,
            "history": artifact.history,
            "data": artifact.data,
        }
    )
