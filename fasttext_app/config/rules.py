"""Combinations of settings that cannot run, each with the reason: refused when a config is read.

Most were found by trying them in torch, which would fail at the first step, or worse, go on and
compute something else; `tests/test_config.py` tries them again.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from fasttext_app.config.schema import Config
from fasttext_app.errors import ConfigError


def unsupported_by_fused(config: Config) -> str | None:
    """Return the setting that the fused step cannot do, or None."""
    model, optimizer, trainer = config.model, config.optimizer, config.trainer
    obstacles = {
        "optimizer.momentum": optimizer.momentum > 0,
        "optimizer.weight_decay": optimizer.weight_decay > 0,
        "trainer.clip_grad_norm": trainer.clip_grad_norm is not None,
        "model.scale_grad_by_freq": model.scale_grad_by_freq,
        "model.sparse = false": not model.sparse and model.mode != "max",
    }
    return next((setting for setting, is_set in obstacles.items() if is_set), None)


def check(config: Config) -> None:
    """Refuse settings that cannot run together.

    Raises:
        ConfigError: naming the settings and the remedy.
    """
    for broken, reason in impossible_combinations(config):
        if broken:
            raise ConfigError(reason)


def impossible_combinations(config: Config) -> Iterable[tuple[bool, str]]:
    """Yield (is it so, why it cannot run) for every combination that is ruled out."""
    text, model, optimizer, trainer = config.text, config.model, config.optimizer, config.trainer
    adam, sgd = optimizer.name == "sparse_adam", optimizer.name == "sgd"
    weighted = text.term_weighting != "none"
    yield text.minn > text.maxn, f"text.minn = {text.minn} is larger than text.maxn = {text.maxn}"
    yield (
        text.maxn > 0 and text.minn == 0,
        "text.maxn is set and text.minn is 0; character n-grams need text.minn >= 1",
    )
    yield (
        adam and not model.sparse,
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
        'model.scale_grad_by_freq is not supported with model.mode = "max"',
    )
    yield (
        weighted and model.mode != "sum",
        "text.term_weighting uses per_sample_weights, which EmbeddingBag takes only with "
        'model.mode = "sum"',
    )
    yield (
        sgd and model.sparse and optimizer.momentum > 0,
        "optimizer.momentum with sparse gradients makes a buffer that grows at every step; "
        "set it to 0, or model.sparse = false",
    )
    yield (
        model.sparse and optimizer.weight_decay > 0,
        "optimizer.weight_decay is not defined for sparse gradients; "
        "set it to 0, or model.sparse = false",
    )
    yield (
        model.sparse and trainer.clip_grad_norm is not None,
        "trainer.clip_grad_norm cannot take the norm of sparse gradients; "
        "leave it out, or set model.sparse = false",
    )
    yield (
        optimizer.implementation == "fused" and unsupported_by_fused(config) is not None,
        f'optimizer.implementation = "fused" cannot do {unsupported_by_fused(config)}; '
        'set it to "torch" or "auto"',
    )
    yield (
        trainer.calibrate and config.data.validation == 0,
        "trainer.calibrate needs validation rows, and data.validation = 0 leaves none",
    )
    yield (
        trainer.calibrate
        and config.data.eval_label_separator is not None
        and model.loss not in ("ova", "ns"),
        f'trainer.calibrate: model.loss = "{model.loss}" shares one probability out among the '
        'labels, which no temperature makes that of each of several; set model.loss = "ova"',
    )
    yield (
        text.min_ngram_count > 1 and not text.prune,
        "text.min_ngram_count is read only where text.prune = true",
    )
    yield (
        optimizer.name == "rowwise_adagrad" and optimizer.weight_decay > 0,
        'optimizer.weight_decay is not read by optimizer.name = "rowwise_adagrad"',
    )
    yield (
        optimizer.momentum > 0 and not sgd,
        'optimizer.momentum is read only by optimizer.name = "sgd"',
    )
    yield (
        optimizer.betas != (0.9, 0.999) and not adam,
        'optimizer.betas is read only by optimizer.name = "sparse_adam"',
    )
    yield (
        optimizer.eps != 1e-8 and sgd,
        'optimizer.eps is not read by optimizer.name = "sgd"',
    )
    yield (
        model.negatives != 5 and model.loss != "ns",
        'model.negatives is read only by model.loss = "ns"',
    )
    yield from _adaptive_combinations(config)
    yield (
        model.norm_type != 2.0 and model.max_norm is None,
        "model.norm_type is read only where model.max_norm is set",
    )
    yield (
        model.freeze_pretrained and model.pretrained is None,
        "model.freeze_pretrained is set and model.pretrained names no vectors",
    )
    yield (
        model.freeze_pretrained and model.max_norm is not None,
        "model.max_norm rescales rows in place, so model.freeze_pretrained could not keep them",
    )
    yield (
        model.freeze_pretrained and optimizer.weight_decay > 0,
        "optimizer.weight_decay shrinks every row, so model.freeze_pretrained could not keep them",
    )
    yield (
        trainer.keep_checkpoints != 2 and trainer.checkpoint_every is None,
        "trainer.keep_checkpoints is read only where trainer.checkpoint_every is set",
    )
    yield (
        (trainer.patience > 0 or trainer.monitor != "accuracy") and config.data.validation == 0,
        "trainer.patience and trainer.monitor need validation rows; data.validation is 0",
    )
    yield (
        trainer.stop_after > trainer.epochs,
        f"trainer.stop_after = {trainer.stop_after}: there are {trainer.epochs} epochs",
    )
    yield (
        model.start_from is not None and model.pretrained is not None,
        "model.start_from and model.pretrained both say what the table begins with; set one",
    )
    yield (
        model.start_from is not None and model.padding_idx is not None,
        "model.padding_idx names a row by its number, and with model.start_from rows may move",
    )
    yield from _of_targets(config)


def _adaptive_combinations(config: Config) -> Iterable[tuple[bool, str]]:
    model = config.model
    cutoffs, adaptive = model.cutoffs or (), model.loss == "adaptive"
    yield (
        bool(cutoffs) and not adaptive,
        'model.cutoffs is read only by model.loss = "adaptive"',
    )
    yield (
        model.div_value != 4.0 and not adaptive,
        'model.div_value is read only by model.loss = "adaptive"',
    )
    yield (
        any(later <= earlier for earlier, later in pairwise(cutoffs)),
        f"model.cutoffs = {list(cutoffs)}: each must be larger than the one before",
    )
    clusters = max(len(cutoffs), 1)
    yield (
        adaptive and model.dim < model.div_value**clusters,
        f"model.dim = {model.dim} leaves no dimension for cluster {clusters} of the adaptive "
        f"softmax, which has dim / {model.div_value:g}^{clusters}; raise model.dim, or lower "
        "model.div_value",
    )
    yield (
        adaptive and config.trainer.calibrate,
        'trainer.calibrate: into the clusters of model.loss = "adaptive" no temperature can be '
        "folded; leave it out",
    )
    yield (
        adaptive and model.probabilities == "fasttext",
        'model.probabilities = "fasttext": the original has no adaptive softmax',
    )


def _of_targets(config: Config) -> Iterable[tuple[bool, str]]:
    """Yield what is ruled out of the settings that say what a text is to be trained towards."""
    data, trainer, loss = config.data, config.trainer, config.model.loss
    all_classes = loss in ("softmax", "ova")
    for name, is_set in (
        ("trainer.label_smoothing", trainer.label_smoothing > 0),
        ("trainer.focal_gamma", trainer.focal_gamma > 0),
        ("data.soft_labels", data.soft_labels),
    ):
        yield (
            is_set and not all_classes,
            f"{name} needs a loss that looks at every class of every text, and "
            f'model.loss = "{loss}" looks at a few; set it to "softmax" or "ova"',
        )
    for name, is_set in (
        ("trainer.label_smoothing", trainer.label_smoothing > 0),
        ("data.soft_labels", data.soft_labels),
    ):
        yield (
            is_set and trainer.focal_gamma > 0,
            "trainer.focal_gamma goes by the probability of the right answer, and with "
            f"{name} no answer is all right; set one of them",
        )
    yield (
        data.soft_labels and data.label_separator is None,
        "data.soft_labels needs data.label_separator, which parts the labels of a cell",
    )
    yield (
        data.soft_labels and "=" in (data.label_separator or ""),
        'data.label_separator cannot have "=" in it, which parts a label from its share',
    )
