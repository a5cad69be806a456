"""The settings: one frozen pydantic model for each section.

The docstring under a field is its description in ``docs/configuration.md``, which
``scripts/write_config_reference.py`` generates. Combinations are checked in ``config/rules.py``.

The annotations are no strings (no ``from __future__ import annotations``): pydantic would compile
each of them, which takes as long as the rest of the import.
"""

import codecs
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from fasttext_app.config.interval import Interval
from fasttext_app.config.metric_name import Metric
from fasttext_app.core.device import DEVICE_NAMES, is_device_name


def _valid_utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not valid UTF-8, so it cannot be saved with the model") from None
    return text


def _path_to_str(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _int_to_str(value: object) -> object:
    return str(value) if type(value) is int else value


def _check_encoding(name: str) -> str:
    try:
        "".encode(name)
        codecs.getincrementaldecoder(name)
    except (LookupError, UnicodeError):
        raise ValueError("must be a text encoding that Python knows, such as cp1252") from None
    return name


def _named_delimiter(value: object) -> object:
    value = {"tab": "\t", "\\t": "\t"}.get(value, value) if isinstance(value, str) else value
    if isinstance(value, str) and (len(value) != 1 or not value.isascii() or value in '"\r\n'):
        raise ValueError("must be one ASCII character, or tab")
    return value


def _check_class_weights(value: object) -> object:
    if isinstance(value, dict):
        for label, weight in value.items():
            if type(weight) not in (int, float) or not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"the weight of {label!r} must be a finite number >= 0")
    elif value not in ("none", "balanced"):
        raise ValueError('must be "none", "balanced" or a table of labels and their weights')
    return value


def _check_device(name: str) -> str:
    if not is_device_name(name):
        raise ValueError(f"must be {DEVICE_NAMES}")
    return name


def _parsed_by(parse: Callable[[str], object]) -> AfterValidator:
    """Return a validator that accepts the strings that ``parse`` accepts, and keeps them."""

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


Auto = Literal["auto"]
"""A value that ``config/auto.py`` fills in."""
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
FileName = Annotated[str, BeforeValidator(_path_to_str), AfterValidator(_valid_utf8)]
"""A string that may be a path. Python accepts any bytes in a path, TOML only valid UTF-8."""
ColumnName = Annotated[str, BeforeValidator(_int_to_str)]
"""A column name; ``--set data.label_column=1`` is parsed as a number and stands for column 1."""
ClassWeights = Annotated[
    Literal["none", "balanced"] | dict[str, float], BeforeValidator(_check_class_weights)
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataConfig(_Section):
    """The source of texts and labels, and how its rows are read."""

    source: FileName | Annotated[tuple[FileName, ...], Field(min_length=1, strict=False)] | None = (
        None
    )
    """Data SPEC: ``ag_news``, ``sample``, a file, a folder, a glob, a ``{split}`` pattern, a hub id
    or ``-`` (standard input), or a list of SPECs."""
    text_columns: Annotated[tuple[ColumnName, ...], Field(min_length=1, strict=False)] = ("text",)
    """Columns with the text, joined by a space; 1-based numbers if ``header`` is false."""
    label_column: ColumnName = "label"
    """Column with the label; a 1-based number if ``header`` is false."""
    label_columns: Annotated[tuple[ColumnName, ...], Field(strict=False)] = ()
    """Columns of 0 and 1 in place of ``label_column``: a row has the labels in whose columns it has
    a 1. ``label_separator`` is then set, and ``model.loss`` is ``ova`` by default."""
    format: Literal["auto", "csv", "tsv", "jsonl", "parquet", "fasttext"] = "auto"
    """Format of the files; ``auto``: by their names, and fastText text on standard input. ``jsonl``
    also reads arrays of objects."""
    encoding: Annotated[str, AfterValidator(_check_encoding)] = "utf-8"
    """Encoding of text files: ``cp1252``, ``utf-16``, ``shift_jis``, or another one of Python. A
    byte order mark takes precedence."""
    delimiter: Annotated[str, BeforeValidator(_named_delimiter)] | None = None
    """Delimiter of CSV files, one character or ``tab``. By default a comma, in TSV files a tab, or
    another one with which the header has the columns. Set it to read files as CSV whose names tell
    no format."""
    header: bool = True
    """Read column names from the first row of a CSV or TSV file."""
    quote: bool = True
    """Parse double-quoted fields in a CSV or TSV file."""
    errors: Literal["strict", "replace"] = "strict"
    """Invalid UTF-8 and NUL bytes: ``strict`` raises an error, ``replace`` inserts U+FFFD."""
    nulls: Literal["error", "null", "empty"] = "error"
    """Missing texts: an ``error``, an ``empty`` text, or for ``predict`` a ``null`` whose answer is
    null too. ``errors = "replace"`` reads them as empty as well."""
    keep: Literal["all"] | Annotated[tuple[ColumnName, ...], Field(strict=False)] = ()
    """Columns that ``predict`` copies to its output; ``all``: all but the text column."""
    skip_bad: bool = False
    """Skip rows that cannot be read, and report how many and why, instead of raising an error."""
    label_separator: Annotated[str, Field(min_length=1)] | None = None
    """Separator between labels when a row can have several. Lists of labels and lines with several
    ``__label__`` words are then accepted too. ``model.loss = "ova"`` trains on all labels of a row;
    other losses use one of them, drawn at random for each step."""
    whole_labels: bool = False
    """Read labels such as ``news|sport`` as they are, though their parts are labels too. Without
    this, ``train`` asks for ``label_separator``."""
    soft_labels: bool = False
    """Read a probability for each label (``news=0.7,sport=0.3``, separated by ``label_separator``)
    and train on them; the probabilities of a row must sum to 1."""
    weight_column: ColumnName | None = None
    """Column with the weight of a training row in the loss; a weight of 2 equals a duplicate of the
    row. Validation and test rows are not weighted."""
    label_prefix: Annotated[str, Field(min_length=1)] = "__label__"
    """Prefix of the labels in a fastText file."""
    train_split: str = "train"
    """Split to train on."""
    validation: str | Fraction = "auto"
    """Validation rows: the name of a split, a file or other SPEC, a fraction of the training rows
    (0: none), or ``auto``: the split ``validation`` if the source has one, otherwise a tenth of the
    training rows."""
    in_memory_mb: Annotated[int, Field(ge=0)] = 1024
    """Megabytes of encoded training texts to hold in memory. The rest goes to memory-mapped files
    in the temporary folder (``TMPDIR``), and training proceeds shard by shard."""
    test_split: str = "test"
    """Split to evaluate on."""

    @property
    def specs(self) -> tuple[str, ...]:
        """The SPECs of ``source``, one or several; none if it is not set."""
        return (self.source,) if isinstance(self.source, str) else self.source or ()

    @property
    def eval_label_separator(self) -> str | None:
        """Separator between the true labels of a row; None with soft labels, which have one."""
        return None if self.soft_labels else self.label_separator


FILE_SETTINGS = {
    name: DataConfig.model_fields[name].default
    for name in ("format", "encoding", "delimiter", "skip_bad")
}
"""Defaults of the settings that a model's own files had, which say nothing about other files."""


class TextConfig(_Section):
    """Tokenization, vocabulary and n-grams: how a text becomes rows of the embedding table."""

    tokenizer: FileName = "basic_english"
    """``basic_english``; ``unicode``, for all scripts, also those without spaces; ``whitespace``;
    ``fasttext``; ``torchtext:NAME`` or ``hf:PATH``."""
    lowercase: bool = False
    """Make letters small before the tokenizer; ``basic_english`` does so anyway."""
    replace: Annotated[
        tuple[Literal["url", "email", "emoji", "number"], ...], Field(strict=False)
    ] = ()
    """Replace each of these by a word before the tokenizer (``__url__``, ``__email__``,
    ``__emoji__``, ``__number__``). A number that is part of a word stays."""
    min_count: Annotated[int, Field(ge=1)] = 1
    """Minimum number of times that a word occurs in the training texts to get its own row."""
    max_size: Annotated[int, Field(ge=0)] = 0
    """Maximum number of words in the vocabulary, the most frequent ones; 0: no limit."""
    word_ngrams: Annotated[int, Field(ge=1, le=10)] = 2
    """Maximum length of word n-grams; 1: words only."""
    minn: Annotated[int, Field(ge=0, le=30)] = 3
    """Minimum length of character n-grams; ``text.maxn`` if that is set and smaller than 3."""
    maxn: Annotated[int, Field(ge=0, le=30)] = 5
    """Maximum length of character n-grams; 0: no character n-grams. ``text.minn`` if that is set
    and larger than 5, or 0."""
    bucket: Annotated[int, Field(ge=1, le=2**31 - 1)] = 2_000_000
    """Number of hash buckets for n-grams; unused without n-grams."""
    prune: bool = True
    """Remove the hash buckets that no training text uses. The model is much smaller; n-grams of
    removed buckets are ignored."""
    min_ngram_count: Annotated[int, Field(ge=1)] = 1
    """Remove also the hash buckets with fewer n-grams in the training texts; needs ``prune``."""
    term_weighting: Literal["none", "tfidf"] = "tfidf"
    """``tfidf`` weights each id (``per_sample_weights``); needs ``model.mode = "sum"``. ``none`` is
    the default with another ``model.mode``."""
    char_share: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Total tf-idf weight of the character n-grams of all training texts, as a multiple of the
    weight of the words and word n-grams; 1: both weigh the same."""

    @property
    def tokenizing(self) -> str:
        """The tokenizer and what comes before it, for people."""
        before = ["lower case"] * self.lowercase + [f"words for {name}s" for name in self.replace]
        return f"{self.tokenizer} after {', '.join(before)}" if before else self.tokenizer

    @property
    def yields_subwords(self) -> bool:
        """Whether the tokens come from a Hugging Face tokenizer, which can split words."""
        return self.tokenizer.startswith("hf:")

    @property
    def runs_package(self) -> bool:
        """Whether the tokenizer runs an optional package of the machine."""
        family, _, name = self.tokenizer.partition(":")
        return family == "torchtext" and name != "basic_english"

    @property
    def bucket_count(self) -> int:
        """The number of hash buckets: ``bucket``, or 0 without n-grams."""
        return self.bucket if self.word_ngrams > 1 or self.maxn > 0 else 0


class ModelConfig(_Section):
    """The classifier: the options of ``nn.EmbeddingBag``, and the output layer."""

    dim: Annotated[int, Field(ge=1, le=65_536)] = 16
    """Embedding dimension."""
    mode: Literal["mean", "sum", "max"] = "sum"
    """Pooling of the embeddings of a text. ``mean`` is the default if ``text.term_weighting`` is
    ``none``."""
    sparse: bool = True
    """Use sparse gradients for the embedding table."""
    max_norm: Annotated[float, Field(gt=0)] | None = None
    """Maximum norm of an embedding; larger ones are rescaled when they are looked up."""
    norm_type: Annotated[float, Field(gt=0)] = 2.0
    """The p of the p-norm that ``max_norm`` limits."""
    scale_grad_by_freq: bool = False
    """Divide the gradient of a row by the number of times that it occurs in the batch."""
    include_last_offset: bool = True
    """Include the end of the last text in ``offsets`` (B+1 entries instead of B)."""
    padding_idx: Annotated[int, Field(ge=0)] | None = None
    """Row that is excluded from pooling and never trained."""
    loss: Literal["softmax", "ova", "ns", "hs", "adaptive"] = "softmax"
    """``softmax``; ``ova``: one-vs-all, a sigmoid for each label; ``ns``: one-vs-all with negative
    sampling; ``hs``: hierarchical softmax; ``adaptive``: adaptive softmax, with fewer dimensions
    for rare labels."""
    negatives: Annotated[int, Field(ge=1)] = 5
    """Negative labels that ``ns`` samples for each text, by the square root of their counts."""
    cutoffs: (
        Annotated[
            tuple[Annotated[int, Field(ge=1)], ...],
            Field(min_length=1, max_length=16, strict=False),
        ]
        | None
    ) = None
    """Boundaries between the clusters of ``adaptive``, as ranks of labels sorted by count; chosen
    from the counts if not set."""
    div_value: Annotated[float, Field(gt=1, le=65_536)] = 4.0
    """Factor by which each cluster of ``adaptive`` has fewer dimensions than the one before."""
    probabilities: Literal["exact", "fasttext"] = "exact"
    """``fasttext`` reproduces fastText's, with its sigmoid table and its offset of 1e-5."""
    bias: bool = True
    """Add a bias to the linear layer; fastText has none."""
    fold: bool = True
    """After training, multiply the linear layer into the table if there are at most ``dim`` labels:
    the table gets a column for each label instead of each dimension, and the logits stay the same
    up to rounding. ``false`` keeps embeddings of ``dim`` dimensions, as ``pretrained`` does."""
    pretrained: FileName | None = None
    """Word vectors to initialize the table: a ``.vec`` or GloVe text file, a ``.npy`` file beside a
    word list, a fastText ``.bin`` or ``.ftz`` file, or ``model2vec:PATH``, the folder or the hub id
    of a model2vec table."""
    pretrained_words: Literal["all", "training"] = "all"
    """Words of ``pretrained`` that get a row: ``all``, as in fastText, so that predictions can use
    words that no training text has; or ``training``, only words of the training texts, which makes
    a small model. Rows of ``text.max_size`` go to the words of the training texts first."""
    start_from: FileName | None = None
    """Model directory to continue training from (``train --from``); new words and labels are added
    to those that it has."""
    freeze_pretrained: bool = False
    """Do not train the rows that are initialized from ``pretrained``."""


class OptimizerConfig(_Section):
    """The optimizer and the learning rate schedule."""

    name: Literal["sgd", "adagrad", "rowwise_adagrad", "sparse_adam"] = "rowwise_adagrad"
    """``rowwise_adagrad`` has one accumulator for each table row; ``sparse_adam`` is SparseAdam on
    the table and Adam on the linear layer."""
    implementation: Literal["auto", "fused", "torch"] = "auto"
    """``fused``: compiled code that updates the table straight from the gradients of the pooled
    texts; ``torch``: ``torch.optim``, the reference implementation; ``auto``: ``fused`` where it is
    supported."""
    lr: Annotated[float, Field(gt=0, le=1e30)] | Auto = "auto"  # torch steps in 32-bit floats
    """Peak learning rate. The loss is the mean over a batch. ``auto`` depends on the
    optimizer, and is higher with many or rare classes."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Momentum of ``sgd``; dense gradients only."""
    weight_decay: Annotated[float, Field(ge=0, le=1e30)] = 0.0
    """L2 penalty of ``sgd`` and ``adagrad``; dense gradients only."""
    betas: Annotated[tuple[Fraction, Fraction], Field(strict=False)] = (0.9, 0.999)
    """Decay rates of the moment estimates of ``sparse_adam``."""
    eps: Annotated[float, Field(ge=1e-30, le=1e30)] | Auto = "auto"
    """Term added to the denominator of ``adagrad``, ``rowwise_adagrad`` and ``sparse_adam``.
    ``auto`` is proportional to the gradient of a row: 5 / (batch size x mean ids of a text), and
    smaller if all epochs together have fewer than 500 texts of a class; 1e-8 with
    ``sparse_adam``."""
    schedule: Literal["linear", "constant", "cosine"] = "linear"
    """Learning rate schedule: linear decay to 0, constant, or cosine decay to 0."""
    warmup: Fraction = 0.0
    """Fraction of all steps in which the learning rate rises linearly from 0 to ``lr``."""


class TrainerConfig(_Section):
    """The training loop."""

    epochs: Annotated[int, Field(ge=0)] | Auto = "auto"
    """Passes over the training rows; ``auto``: from 12 to 2, the fewer, the more rows a
    class has; 0: the initial weights, as fastText gives with ``-epoch 0``."""
    stop_after: Annotated[int, Field(ge=0)] = 0
    """Stop after this epoch, with the learning rate schedule of all ``epochs``; 0: run all."""
    batch_size: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Texts per step; ``auto``: from 32 to 256, the more, the more rows there are."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of the initial table, the order of the rows, and the validation rows."""
    device: Annotated[str, AfterValidator(_check_device)] = "auto"
    """``auto`` (CUDA if it is available), ``cpu``, ``cuda`` or ``cuda:i``. With ``shard``, each
    process takes a GPU of its own; ``auto`` is the CPU if one has none."""
    threads: Annotated[int, Field(ge=0, le=4096)] = 0
    """Threads for tokenizing, encoding, cutting batches and training on the CPU; 0: all cores."""
    shard: Literal["none", "columns", "rows"] = "none"
    """Train on the processes that ``torchrun`` starts: each of them holds some columns, or some
    rows, of the embedding table and of the state of its optimizer. The result is bit-identical for
    any number of processes on CPUs; with ``columns``, it is also that of ``none``."""
    shard_timeout: Annotated[float, Field(gt=0, le=1e6)] = 1800.0
    """Seconds after which a process that does not answer the others counts as lost, and ends the
    run. Processes wait for the one that reads its files last."""
    monitor: Annotated[str, _parsed_by(Metric.parse)] = "accuracy"
    """Validation metric that selects the best epoch: ``accuracy``, ``loss``, ``macro_f1``,
    ``micro_f1``, ``f1:LABEL``, ``precision:LABEL``, ``recall:LABEL``,
    ``precision@recall:0.9[:LABEL]`` or ``recall@precision:0.9[:LABEL]``."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Stop after this many epochs in a row without improvement; 0: run all epochs."""
    checkpoint_every: (
        Annotated[str, BeforeValidator(_int_to_str), _parsed_by(Interval.parse)] | None
    ) = None
    """Interval between checkpoints, for ``train --resume``: steps (``"500"``), a time (``"5m"``) or
    ``"epoch"``. A checkpoint is always saved at the end of an epoch."""
    keep_checkpoints: Annotated[int, Field(ge=1)] = 2
    """Number of checkpoints to keep, the newest ones."""
    ensemble: Annotated[int, Field(ge=1, le=100)] = 1
    """Number of models to train on the same rows, with the seeds ``seed``, ``seed`` + 1, ...; they
    are merged into one that gives the mean of their logits."""
    refit: bool | Auto = "auto"
    """Train the final model on all rows, held-out ones included, up to the epoch that the held-out
    rows chose. ``auto``: if ``data.validation`` holds rows out and at most 50,000 rows train. It
    writes no checkpoints of its own."""
    calibrate: bool | Auto = "auto"
    """Fit a temperature on the validation rows after training, to calibrate the probabilities.
    ``auto``: if there are at least 20, and the loss allows it."""
    clip_grad_norm: Annotated[float, Field(gt=0)] | None = None
    """Maximum norm of the gradients; dense gradients only."""
    class_weights: ClassWeights = "none"
    """Weights of the classes in the loss: ``balanced``, inversely proportional to their counts, or
    a table (``{spam = 5.0}``) in which labels that are not named have weight 1."""
    label_smoothing: Fraction = 0.0
    """Fraction of each training target that is spread evenly over all classes."""
    focal_gamma: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Gamma of the focal loss, which scales the loss of a text by (1 - p)^gamma, where p is the
    probability of the right label; 0: no scaling."""
    token_dropout: Fraction = 0.0
    """Probability of dropping an id of a training text, drawn again for each step."""
    bag_dropout: Fraction = 0.0
    """Dropout probability of the elements of a training text's vector; the others are scaled by
    1 / (1 - p)."""


class Config(_Section):
    """All settings of a run; :func:`~fasttext_app.config.loading.resolve` builds it."""

    data: DataConfig = DataConfig()
    text: TextConfig = TextConfig()
    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    trainer: TrainerConfig = TrainerConfig()
