"""The settings, section by section: typed, validated and frozen models.

A section is a class, a setting is a field with its description under it; from these
`scripts/write_config_reference.py` writes `docs/configuration.md`. What torch cannot run is refused
here, with the reason, and not at the first training step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from fasttext_app.config.interval import Interval
from fasttext_app.config.metric_name import Metric

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Place = Annotated[int, Field(ge=1)]


def _savable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not valid UTF-8, so it could not be saved with the model") from None
    return text


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


FileName = Annotated[str, BeforeValidator(_as_text), AfterValidator(_savable)]
"""What may be a path: Python takes any bytes for one, but TOML holds only valid text."""


def _as_name(value: object) -> object:
    return str(value) if type(value) is int else value


ColumnName = Annotated[str, BeforeValidator(_as_name)]
"""A column; ``--set data.label_column=1`` reads as a number, and means the name."""


def _as_class_weights(value: object) -> object:
    if isinstance(value, dict):
        for label, weight in value.items():
            if type(weight) not in (int, float) or not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"the weight of {label!r} must be a number of 0 or more")
    elif value not in ("none", "balanced"):
        raise ValueError('must be "none", "balanced" or a table of labels and their weights')
    return value


ClassWeights = Annotated[
    Literal["none", "balanced"] | dict[str, float], BeforeValidator(_as_class_weights)
]


def _readable_by(parse: Callable[[str], object]) -> Callable[[str], str]:
    """Return a validator that keeps a text which ``parse`` can read."""

    def check(text: str) -> str:
        parse(text)
        return text

    return check


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataConfig(_Section):
    """Where texts and labels come from, and how a file's rows are read."""

    source: FileName | None = None
    """A data SPEC: ``ag_news``, ``sample``, a file, a folder, a ``{split}`` pattern, a hub id."""
    text_columns: Annotated[tuple[ColumnName, ...], Field(min_length=1, strict=False)] = ("text",)
    """Columns that hold the text, joined by a space; 1-based numbers where ``header`` is false."""
    label_column: ColumnName = "label"
    """The column that holds the label; a 1-based number where ``header`` is false."""
    header: bool = True
    """Whether the first row of a CSV or TSV file names the columns."""
    quote: bool = True
    """Whether double quotes delimit fields of a CSV or TSV file."""
    errors: Literal["strict", "replace"] = "strict"
    """What to do with invalid UTF-8 and NUL bytes: refuse them, or put U+FFFD in their place."""
    label_separator: Annotated[str, Field(min_length=1)] | None = None
    """What parts the labels of a row that may have several: with it, lists of labels and several
    ``__label__`` words are read too. ``model.loss = "ova"`` learns them all, other losses one."""
    soft_labels: bool = False
    """Whether a label cell gives each label a share (``news=0.7,sport=0.3``, with
    ``label_separator`` between them); the loss is then against the shares, which sum to 1."""
    weight_column: ColumnName | None = None
    """The column that says how much a training row counts in the loss; 2 is as if it were there
    twice. Rows for validation and tests all count alike."""
    label_prefix: Annotated[str, Field(min_length=1)] = "__label__"
    """What marks a label in a fastText file."""
    train_split: str = "train"
    """The split to train on."""
    validation: str | Fraction = "auto"
    """A split's name, a fraction of the training rows (0: none), or ``auto``: the split
    ``validation`` where the source has one, else a tenth of the training rows."""
    in_memory_mb: Annotated[int, Field(ge=0)] = 1024
    """Megabytes of encoded training texts that stay in memory; what is more goes to memory-mapped
    files in the temporary folder (``TMPDIR``), and is trained shard by shard."""
    test_split: str = "test"
    """The split that ``evaluate`` scores."""

    @property
    def eval_label_separator(self) -> str | None:
        """What parts the labels of a row that is scored; of labels with shares, one is right."""
        return None if self.soft_labels else self.label_separator


class TextConfig(_Section):
    """How a text becomes row ids of the embedding table."""

    tokenizer: FileName = "basic_english"
    """``basic_english``, ``whitespace``, ``fasttext``, ``torchtext:NAME`` or ``hf:PATH``."""
    min_count: Annotated[int, Field(ge=1)] = 1
    """Words seen less often in the training texts get no row of their own."""
    max_size: Annotated[int, Field(ge=0)] = 0
    """At most this many words, the most frequent ones; 0: no limit."""
    word_ngrams: Annotated[int, Field(ge=1, le=10)] = 1
    """Longest word n-gram; 1: words alone."""
    minn: Annotated[int, Field(ge=0, le=30)] = 0
    """Shortest character n-gram of a word."""
    maxn: Annotated[int, Field(ge=0, le=30)] = 0
    """Longest character n-gram of a word; 0: none."""
    bucket: Annotated[int, Field(ge=1, le=2**31 - 1)] = 2_000_000
    """Rows that hashed n-grams share; unused where there are no n-grams."""
    prune: bool = True
    """Whether only the hash buckets that a training text falls into get a row; an n-gram of another
    bucket then adds nothing to a text, and the model is far smaller."""
    min_ngram_count: Annotated[int, Field(ge=1)] = 1
    """Buckets with fewer n-grams in the training texts get no row; needs ``prune``."""
    term_weighting: Literal["none", "tfidf"] = "none"
    """``tfidf`` weighs each id of a text (per_sample_weights); needs ``model.mode = "sum"``."""

    @property
    def bucket_count(self) -> int:
        """The table rows that hashed n-grams take: ``bucket``, or 0 where there are no n-grams."""
        return self.bucket if self.word_ngrams > 1 or self.maxn > 0 else 0


class ModelConfig(_Section):
    """The classifier: every option of ``nn.EmbeddingBag``, and what goes on top of it."""

    dim: Annotated[int, Field(ge=1, le=65_536)] = 10
    """Numbers in an embedding."""
    mode: Literal["mean", "sum", "max"] = "mean"
    """How the rows of a text become one vector."""
    sparse: bool = True
    """Whether the table's gradient is a sparse tensor."""
    max_norm: Annotated[float, Field(gt=0)] | None = None
    """Rows with a larger norm are rescaled to this norm when they are looked up."""
    norm_type: Annotated[float, Field(gt=0)] = 2.0
    """The p of the norm that ``max_norm`` limits."""
    scale_grad_by_freq: bool = False
    """Divide a row's gradient by the number of times that it occurs in the batch."""
    include_last_offset: bool = True
    """Whether ``offsets`` carries the end of the last bag too (B+1 entries instead of B)."""
    padding_idx: Annotated[int, Field(ge=0)] | None = None
    """A row that takes no part in any bag and is never trained."""
    loss: Literal["softmax", "ova", "ns", "hs", "adaptive"] = "softmax"
    """``softmax``: one distribution over labels; ``ova``: a sigmoid each (one-vs-all); ``ns``: the
    same, trained on a few labels at a time (negative sampling); ``hs``: hierarchical softmax;
    ``adaptive``: adaptive softmax, with fewer dimensions for rare labels."""
    negatives: Annotated[int, Field(ge=1)] = 5
    """Other labels that ``ns`` draws for each text, by the square root of their counts."""
    cutoffs: (
        Annotated[tuple[Place, ...], Field(min_length=1, max_length=16, strict=False)] | None
    ) = None
    """Where ``adaptive`` parts the labels, the most frequent first; chosen by their counts if not
    set."""
    div_value: Annotated[float, Field(gt=1, le=65_536)] = 4.0
    """Each cluster of ``adaptive`` has this many times fewer dimensions than the one before."""
    probabilities: Literal["exact", "fasttext"] = "exact"
    """``fasttext``: as the original prints them, with its table for the sigmoid and its 1e-5."""
    bias: bool = True
    """Whether the linear layer has a bias; fastText's has none."""
    pretrained: FileName | None = None
    """Word vectors to start from: ``.vec`` or GloVe text, ``.npy`` beside a word list, or a
    fastText ``.bin`` or ``.ftz``."""
    start_from: FileName | None = None
    """A model directory to train on from: its words, labels and rows stay, and new ones are added
    to them (``train --from``)."""
    freeze_pretrained: bool = False
    """Keep the rows that came from ``pretrained`` as they are."""


class OptimizerConfig(_Section):
    """How parameters are stepped, and how the learning rate goes over the run."""

    name: Literal["sgd", "adagrad", "rowwise_adagrad", "sparse_adam"] = "adagrad"
    """``rowwise_adagrad`` keeps one accumulator for each table row; ``sparse_adam`` is SparseAdam
    on the table with Adam on the linear layer."""
    implementation: Literal["auto", "fused", "torch"] = "auto"
    """How the table is stepped: ``fused``, by compiled code straight from the gradient of the bags;
    ``torch``, by ``torch.optim`` over the table's gradient, which is the reference; ``auto``: fused
    where it can be."""
    lr: Annotated[float, Field(gt=0, le=1e30)] = 0.1  # torch steps in 32-bit floats
    """The highest learning rate of the run; the loss is the mean over a batch."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Momentum of ``sgd``; dense gradients only."""
    weight_decay: Annotated[float, Field(ge=0, le=1e30)] = 0.0
    """L2 penalty of ``sgd`` and ``adagrad``; dense gradients only."""
    betas: Annotated[tuple[Fraction, Fraction], Field(strict=False)] = (0.9, 0.999)
    """Decay of the running moments of ``sparse_adam``."""
    eps: Annotated[float, Field(ge=1e-30, le=1e30)] = 1e-8
    """Added to the denominator of ``adagrad``, ``rowwise_adagrad`` and ``sparse_adam``."""
    schedule: Literal["linear", "constant", "cosine"] = "linear"
    """How the rate goes from ``lr``: in a line to 0, not at all, or in half a cosine to 0."""
    warmup: Fraction = 0.0
    """The share of all steps over which the rate first rises from 0 to ``lr``."""


class TrainerConfig(_Section):
    """The training loop."""

    epochs: Annotated[int, Field(ge=1)] = 5
    """Passes over the training rows."""
    stop_after: Annotated[int, Field(ge=0)] = 0
    """End the run after this epoch, at the learning rate that the schedule of all ``epochs`` has
    there; 0: go through all of them."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Texts in a step."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Decides the initial table, the order of the rows, and which rows are held out."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    """``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:i``."""
    threads: Annotated[int, Field(ge=0, le=4096)] = 0
    """Threads for tokenizing and for torch; 0: all cores for the first, one for the second."""
    monitor: Annotated[str, AfterValidator(_readable_by(Metric.parse))] = "accuracy"
    """The validation figure by which the best epoch is chosen: ``accuracy``, ``loss``,
    ``macro_f1``, ``micro_f1``, ``f1:LABEL``, ``precision:LABEL``, ``recall:LABEL``,
    ``precision@recall:0.9[:LABEL]`` or ``recall@precision:0.9[:LABEL]``."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Stop after so many epochs in a row that were no better; 0: go through all epochs."""
    checkpoint_every: (
        Annotated[str, BeforeValidator(_as_name), AfterValidator(_readable_by(Interval.parse))]
        | None
    ) = None
    """How often the state of the run is saved in its output folder, for ``train --resume``: steps
    (``"500"``), a time (``"5m"``) or ``"epoch"``; at the end of an epoch in any case."""
    keep_checkpoints: Annotated[int, Field(ge=1)] = 2
    """How many of the newest checkpoints stay."""
    calibrate: bool = False
    """Fit a temperature on the validation rows in the end, so that probabilities can be trusted."""
    clip_grad_norm: Annotated[float, Field(gt=0)] | None = None
    """Scale gradients down to this norm; dense gradients only."""
    class_weights: ClassWeights = "none"
    """How much the training rows of a class count in the loss: ``balanced``, inversely to how many
    there are, or a table (``{spam = 5.0}``), where a label that is not named counts 1."""
    label_smoothing: Fraction = 0.0
    """The share of every training label that is spread evenly over all classes."""
    focal_gamma: Annotated[float, Field(ge=0, le=100)] = 0.0
    """The focal loss: what a text adds to the loss is scaled by (1 - p) to this power, where p is
    the probability of the right answer, so that easy texts count less; 0: it is not scaled."""
    token_dropout: Fraction = 0.0
    """The probability with which each id of a training text is left out, anew at every visit."""
    bag_dropout: Fraction = 0.0
    """The probability with which each number of a training text's vector is set to 0, anew at every
    visit; those that stay are scaled up by 1 / (1 - p)."""


class Config(_Section):
    """All settings of one run. Build it with :func:`resolve`, which reports errors by key."""

    data: DataConfig = DataConfig()
    text: TextConfig = TextConfig()
    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    trainer: TrainerConfig = TrainerConfig()
