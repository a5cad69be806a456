"""Combinations of settings that cannot run, refused when a config is read.

Torch would fail on most of them at the first step, or silently compute something else;
``tests/config/test_config.py`` tries them in torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from fasttext_app.config.schema import Config
from fasttext_app.errors import ConfigError

Rule = tuple[bool, str]
"""A condition, and the message that refuses a configuration in which it holds."""


def check_combinations(config: Config) -> None:
    """Refuse settings that cannot run together.

    Raises:
        ConfigError: names the settings and what to change.
    """
    for is_broken, message in _rules(config):
        if is_broken:
            raise ConfigError(message)


def unsupported_by_fused(config: Config) -> str | None:
    """Return a setting that the fused optimizers do not support, or None."""
    model, optimizer, trainer = config.model, config.optimizer, config.trainer
    unsupported = {
        "optimizer.momentum": optimizer.momentum > 0,
        "optimizer.weight_decay": optimizer.weight_decay > 0,
        "trainer.clip_grad_norm": trainer.clip_grad_norm is not None,
        "model.scale_grad_by_freq": model.scale_grad_by_freq,
        "model.sparse = false": not model.sparse and model.mode != "max",
    }
    return next((setting for setting, is_set in unsupported.items() if is_set), None)


def _rules(config: Config) -> Iterator[Rule]:
    yield from _ngram_rules(config)
    yield from _gradient_rules(config)
    yield from _initialization_rules(config)
    yield from _validation_rules(config)
    yield from _adaptive_rules(config)
    yield from _target_rules(config)
    yield from _shard_rules(config)
    yield from _unused_settings(config)


def _ngram_rules(config: Config) -> Iterator[Rule]:
    text, model = config.text, config.model
    yield (
        text.minn > text.maxn,
        f"text.minn = {text.minn} is larger than text.maxn = {text.maxn}; raise text.maxn",
    )
    yield (
        text.maxn > 0 and text.minn == 0,
        "text.maxn is set and text.minn is 0; character n-grams need text.minn >= 1",
    )
    yield (
        text.term_weighting != "none" and model.mode != "sum",
        'text.term_weighting needs model.mode = "sum", the only one in which EmbeddingBag takes '
        "per_sample_weights",
    )


def _gradient_rules(config: Config) -> Iterator[Rule]:
    model, optimizer, trainer = config.model, config.optimizer, config.trainer
    yield (
        optimizer.name == "sparse_adam" and not model.sparse,
        'optimizer.name = "sparse_adam" takes only sparse gradients; set model.sparse = true',
    )
    yield (
        model.sparse and model.mode == "max",
        'model.mode = "max" has no sparse gradient; set model.sparse = false',
    )
    yield (
        model.sparse and model.scale_grad_by_freq,
        "model.scale_grad_by_freq has no sparse gradient; set model.sparse = false",
    )
    yield (
        model.scale_grad_by_freq and model.mode == "max",
        'model.scale_grad_by_freq is not supported with model.mode = "max"; remove it',
    )
    yield (
        model.sparse and optimizer.name == "sgd" and optimizer.momentum > 0,
        "optimizer.momentum with sparse gradients needs a buffer that grows at every step; "
        "set it to 0, or model.sparse = false",
    )
    yield (
        model.sparse and optimizer.weight_decay > 0,
        "optimizer.weight_decay is not defined for sparse gradients; "
        "set it to 0, or model.sparse = false",
    )
    yield (
        model.sparse and trainer.clip_grad_norm is not None,
        "trainer.clip_grad_norm is not supported for sparse gradients; "
        "remove it, or set model.sparse = false",
    )
    unsupported = unsupported_by_fused(config)
    yield (
        optimizer.implementation == "fused" and unsupported is not None,
        f'optimizer.implementation = "fused" does not support {unsupported}; '
        'set it to "torch" or "auto"',
    )


def _initialization_rules(config: Config) -> Iterator[Rule]:
    model = config.model
    yield (
        model.freeze_pretrained and model.pretrained is None,
        "model.freeze_pretrained needs vectors to freeze; set model.pretrained",
    )
    yield (
        model.freeze_pretrained and model.max_norm is not None,
        "model.freeze_pretrained cannot be combined with model.max_norm, which rescales rows in "
        "place; remove one of them",
    )
    yield (
        model.freeze_pretrained and config.optimizer.weight_decay > 0,
        "model.freeze_pretrained cannot be combined with optimizer.weight_decay, which shrinks "
        "every row; remove one of them",
    )
    yield (
        model.start_from is not None and model.pretrained is not None,
        "model.start_from and model.pretrained both initialize the table; set one of them",
    )
    yield (
        model.start_from is not None and model.padding_idx is not None,
        "model.padding_idx cannot be combined with model.start_from, which can move rows; "
        "remove it",
    )


def _validation_rules(config: Config) -> Iterator[Rule]:
    data, trainer, loss = config.data, config.trainer, config.model.loss
    yield (
        trainer.calibrate is True and data.validation == 0,
        "trainer.calibrate needs validation rows; data.validation is 0",
    )
    yield (
        trainer.calibrate is True
        and data.eval_label_separator is not None
        and loss not in ("ova", "ns"),
        "trainer.calibrate cannot be combined with data.label_separator and "
        f'model.loss = "{loss}", whose probabilities sum to 1 over all labels; '
        'set model.loss = "ova"',
    )
    linear_rows = config.model.loss != "adaptive" and config.model.mode != "max"
    yield (
        trainer.ensemble > 1 and not linear_rows,
        'trainer.ensemble is not supported with model.loss = "adaptive" or model.mode = "max", '
        "whose logits are not linear in the rows of the table; remove it",
    )
    yield (
        trainer.refit is True and data.validation == 0,
        "trainer.refit needs held-out rows; set data.validation to a fraction",
    )
    yield (
        (trainer.patience > 0 or trainer.monitor != "accuracy") and data.validation == 0,
        "trainer.patience and trainer.monitor need validation rows; data.validation is 0",
    )
    yield (
        trainer.epochs != "auto" and trainer.stop_after > trainer.epochs,
        f"trainer.stop_after = {trainer.stop_after} is larger than "
        f"trainer.epochs = {trainer.epochs}; lower it",
    )


def _adaptive_rules(config: Config) -> Iterator[Rule]:
    model = config.model
    cutoffs, is_adaptive = model.cutoffs or (), model.loss == "adaptive"
    yield (
        any(later <= earlier for earlier, later in pairwise(cutoffs)),
        f"model.cutoffs = {list(cutoffs)}: must be strictly increasing",
    )
    clusters = max(len(cutoffs), 1)
    yield (
        is_adaptive and model.dim < model.div_value**clusters,
        f"model.dim = {model.dim} is too small for cluster {clusters} of the adaptive softmax, "
        f"which has dim / {model.div_value:g}^{clusters} dimensions; raise model.dim, or lower "
        "model.div_value",
    )
    yield (
        is_adaptive and config.trainer.calibrate is True,
        'trainer.calibrate is not supported with model.loss = "adaptive": a temperature cannot be '
        "folded into its clusters; remove it",
    )
    yield (
        is_adaptive and model.probabilities == "fasttext",
        'model.probabilities = "fasttext" is not supported with model.loss = "adaptive", which '
        'fastText does not have; set it to "exact"',
    )


def _target_rules(config: Config) -> Iterator[Rule]:
    data, trainer, loss = config.data, config.trainer, config.model.loss
    soft_targets = {
        "trainer.label_smoothing": trainer.label_smoothing > 0,
        "data.soft_labels": data.soft_labels,
    }
    focal = {"trainer.focal_gamma": trainer.focal_gamma > 0}
    for setting, is_set in (soft_targets | focal).items():
        yield (
            is_set and loss not in ("softmax", "ova"),
            f'{setting} is not supported with model.loss = "{loss}", which does not compute the '
            'score of every label; set model.loss to "softmax" or "ova"',
        )
    for setting, is_set in soft_targets.items():
        yield (
            is_set and trainer.focal_gamma > 0,
            f"trainer.focal_gamma needs hard targets and cannot be combined with {setting}; "
            "set one of them",
        )
    columns, separator = data.label_columns, data.label_separator or ""
    yield (
        len(columns) == 1,
        "data.label_columns needs two columns or more; for one, set data.label_column",
    )
    yield (
        bool(columns) and data.soft_labels,
        "data.label_columns hold 0 and 1 and cannot be combined with data.soft_labels; remove one",
    )
    yield (
        any(separator in name for name in columns),
        f"data.label_columns: a name contains {separator!r}; set data.label_separator to a string "
        "that no name contains",
    )
    yield (
        data.soft_labels and data.label_separator is None,
        "data.soft_labels needs data.label_separator between the labels of a cell; set it",
    )
    yield (
        data.soft_labels and "=" in (data.label_separator or ""),
        'data.label_separator cannot contain "=" with data.soft_labels, where it separates a label '
        "from its probability; choose another one",
    )


def _shard_rules(config: Config) -> Iterator[Rule]:
    """Yield what cannot be trained on several processes."""
    model, trainer = config.model, config.trainer
    if trainer.shard == "none":
        return
    setting = f'trainer.shard = "{trainer.shard}"'
    yield (
        trainer.clip_grad_norm is not None,
        "trainer.clip_grad_norm needs the gradient of the whole table and cannot be combined with "
        f"{setting}; remove one of them",
    )
    yield (
        trainer.shard == "columns"
        and config.optimizer.name == "rowwise_adagrad"
        and not model.sparse
        and model.mode != "max",
        'optimizer.name = "rowwise_adagrad" with model.sparse = false cannot be combined with '
        f'{setting}; set model.sparse = true, or trainer.shard = "rows"',
    )
    yield (
        model.max_norm is not None,
        f"model.max_norm needs whole rows of the table and cannot be combined with {setting}; "
        "remove one of them",
    )
    yield (
        trainer.shard == "rows" and model.mode == "max",
        f'model.mode = "max" cannot be combined with {setting}, which adds up the rows of a text; '
        'set trainer.shard = "columns"',
    )
    yield (
        trainer.shard == "rows" and model.padding_idx is not None,
        f"model.padding_idx cannot be combined with {setting}; remove it",
    )
    yield (
        "-" in config.data.specs,
        f"data.source = '-': several processes cannot share standard input, which {setting} needs; "
        "name a file",
    )
    yield (
        trainer.ensemble > 1,
        f"trainer.ensemble cannot be combined with {setting}; train one model",
    )
    yield (
        trainer.device.startswith("cuda:"),
        f"trainer.device = {trainer.device!r} cannot be combined with {setting}, which gives each "
        'process a GPU of its own; set it to "cuda"',
    )
    yield (
        trainer.device == "cuda" and config.optimizer.implementation == "fused",
        f'optimizer.implementation = "fused" cannot be combined with {setting} and '
        'trainer.device = "cuda"; set it to "auto"',
    )


def _unused_settings(config: Config) -> Iterator[Rule]:
    """Yield the settings that differ from their default although nothing uses them."""
    text, model, optimizer, trainer = config.text, config.model, config.optimizer, config.trainer
    sgd, adam = 'optimizer.name = "sgd"', 'optimizer.name = "sparse_adam"'
    adaptive = 'model.loss = "adaptive"'
    for setting, is_set, requirement, is_met in (
        ("text.min_ngram_count", text.min_ngram_count > 1, "text.prune = true", text.prune),
        ("optimizer.momentum", optimizer.momentum > 0, sgd, optimizer.name == "sgd"),
        ("optimizer.betas", optimizer.betas != (0.9, 0.999), adam, optimizer.name == "sparse_adam"),
        ("model.negatives", model.negatives != 5, 'model.loss = "ns"', model.loss == "ns"),
        (
            "model.pretrained_words",
            model.pretrained_words != "all",
            "model.pretrained",
            model.pretrained is not None,
        ),
        ("model.cutoffs", bool(model.cutoffs), adaptive, model.loss == "adaptive"),
        ("model.div_value", model.div_value != 4.0, adaptive, model.loss == "adaptive"),
        ("model.norm_type", model.norm_type != 2.0, "model.max_norm", model.max_norm is not None),
        (
            "trainer.shard_timeout",
            trainer.shard_timeout != 1800.0,
            "trainer.shard",
            trainer.shard != "none",
        ),
        (
            "trainer.keep_checkpoints",
            trainer.keep_checkpoints != 2,
            "trainer.checkpoint_every",
            trainer.checkpoint_every is not None,
        ),
    ):
        yield is_set and not is_met, f"{setting} is used only with {requirement}; remove it"
    yield (
        optimizer.name == "rowwise_adagrad" and optimizer.weight_decay > 0,
        'optimizer.weight_decay is not used by optimizer.name = "rowwise_adagrad"; remove it',
    )
