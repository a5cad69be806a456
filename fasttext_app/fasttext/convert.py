"""Convert fastText's model files to models of this program, and back.

Both directions keep the words, the row of every feature and all weights, so a model gives the same
predictions on either side. A model that a file cannot express is refused with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from fasttext_app.config.auto import known
from fasttext_app.config.loading import Layer, resolve
from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import F32, I32, I64, Array
from fasttext_app.core.arrow import python_strings, strings_from_bytes
from fasttext_app.data.labels import Labels
from fasttext_app.errors import ArtifactError, ConfigError
from fasttext_app.fasttext.file_format import (
    Args,
    Dictionary,
    FastTextFile,
    Matrix,
    loss_name,
    model_name,
)
from fasttext_app.fasttext.options import DEFAULTS, LABEL_SEPARATOR, model_settings, sgd_settings
from fasttext_app.model.artifact import FASTTEXT, OUTPUT, Artifact
from fasttext_app.model.product_quantizer import CODES, Coded, dense, encode_rows
from fasttext_app.model.tensor_file import Tensors, check_weights
from fasttext_app.text.fasttext_tokenizer import PREFIX, WHITESPACE, label_name, label_word
from fasttext_app.text.vocabulary import Vocabulary

COMMON_PREFIX = re.compile(r"__[^\W_]+__|[^\w\s]+")
"""A label prefix that can be recognized: ``__label__``, ``__class__``, ``#``."""
MAX_WORD_NGRAMS, MAX_CHAR_NGRAM = 10, 30  # the limits of the configuration
ARGS_WITHOUT_SETTING = "ws", "neg", "lr_update_rate", "t"
"""Args that no setting of the configuration holds; a model keeps them in its ``data``."""


def from_fasttext(
    file: FastTextFile,
    source: str,
    *,
    prefix: str | None = None,
    dequantize: bool = False,
    rewriting: Layer | None = None,
) -> Artifact:
    """Convert a fastText classifier.

    Args:
        file: the contents of its file.
        source: where it came from, for messages; stored with the model.
        prefix: the label prefix, which is removed from labels; None: recognize it.
        dequantize: turn quantized matrices into floats, which is larger and no more exact.
        rewriting: ``text.lowercase`` and ``text.replace``, to put before the model.

    Raises:
        ArtifactError: it is not a classifier, or this program cannot represent it.
        ConfigError: ``rewriting`` has another setting.
    """
    args, dictionary = file.args, file.dictionary
    if not file.supervised:
        raise ArtifactError(
            f"{source}: holds word vectors, not a classifier; query them with `fasttext-app ft "
            "print-word-vectors`, or start training from them with model.pretrained"
        )
    if not len(file.input):
        raise ArtifactError(f"{source}: its input matrix has no rows")
    prefix, names = _split_labels(dictionary.labels, prefix, source)
    config = _config(args, prefix, source, pruned=dictionary.pruneidx is not None)
    config = _with_rewriting(config, rewriting or {})
    table, buckets = input_table(file, hashed=config.text.bucket_count > 0)
    weight = file.output
    if dequantize:
        table, weight = dense(table), dense(weight)
    tensors: Tensors = {
        **(table.tensors() if isinstance(table, Coded) else {"table": table}),
        **(weight.tensors(OUTPUT) if isinstance(weight, Coded) else {"weight": np.array(weight)}),
        "bias": np.zeros(len(names), np.float32),
    }
    if buckets is not None:
        tensors["buckets"] = buckets
    try:
        check_weights(tensors)
    except ValueError as error:
        raise ArtifactError(f"{source}: {error}") from None
    return Artifact(
        config=config,
        vocabulary=vocabulary_of(dictionary),
        labels=Labels(names, tuple(dictionary.label_counts.tolist())),
        tensors=tensors,
        data={
            "source": source,
            "tokens": dictionary.tokens,
            "vocabulary": len(dictionary.words),
            "label_prefix": prefix,
            FASTTEXT: {name: getattr(args, name) for name in ARGS_WITHOUT_SETTING},
        },
    )


def _split_labels(
    labels: list[bytes], prefix: str | None, source: str
) -> tuple[str, tuple[str, ...]]:
    """Return the prefix of all labels, and the rest of each."""
    texts = []
    for label in labels:
        try:
            texts.append(label.decode())
        except UnicodeDecodeError:
            raise ArtifactError(f"{source}: its label {label!r} is not UTF-8") from None
    if prefix is None:
        prefixes = {m[0] if (m := COMMON_PREFIX.match(text)) else "" for text in texts}
        prefix = prefixes.pop() if len(prefixes) == 1 else ""
    for text in texts:
        if not text.startswith(prefix):
            raise ArtifactError(f"{source}: its label {text!r} does not begin with {prefix!r}")
    names = tuple(label_name(text, prefix) for text in texts)
    if len(set(names)) < len(names):
        raise ArtifactError(f"{source}: two of its labels have the same name")
    return prefix, names


def _config(args: Args, prefix: str, source: str, *, pruned: bool) -> Config:
    loss = loss_name(args.loss).name
    settings = model_settings(
        dim=args.dim,
        loss=loss,
        neg=max(args.neg, 1),
        min_count=args.min_count,
        word_ngrams=args.word_ngrams,
        minn=args.minn,
        maxn=args.maxn,
        bucket=args.bucket,
        prefix=prefix or PREFIX,
    )
    word_ngrams, maxn = settings["text"]["word_ngrams"], settings["text"]["maxn"]
    if word_ngrams > MAX_WORD_NGRAMS or maxn > MAX_CHAR_NGRAM:
        raise ArtifactError(
            f"{source}: has word n-grams up to {word_ngrams} and character n-grams up to {maxn}; "
            f"this program supports up to {MAX_WORD_NGRAMS} and {MAX_CHAR_NGRAM}"
        )
    settings["text"]["prune"] = pruned and (word_ngrams > 1 or maxn > 0)
    settings["data"] = {"label_prefix": prefix or PREFIX}
    if loss == "ova":
        settings["data"]["label_separator"] = LABEL_SEPARATOR
    # The file does not store the learning rate.
    return resolve(settings, sgd_settings(DEFAULTS["lr"], max(args.epoch, 1)))


def _with_rewriting(config: Config, settings: Layer) -> Config:
    for section, values in settings.items():
        for key in values:
            if (section, key) not in {("text", "lowercase"), ("text", "replace")}:
                raise ConfigError(
                    f"{section}.{key}: the settings of a fastText file are fixed; only "
                    "text.lowercase and text.replace can be put before its model"
                )
    return resolve(config.model_dump(), settings) if settings else config


def input_table(file: FastTextFile, *, hashed: bool) -> tuple[Array | Coded, I32 | None]:
    """Return the input matrix with pruned buckets in ascending order, and those buckets.

    Args:
        file: the contents of a file.
        hashed: whether texts have n-grams; without them, the rows of buckets are left out.
    """
    words, table, pruneidx = len(file.dictionary.words), file.input, file.dictionary.pruneidx
    if not hashed:
        return _take_rows(table, np.arange(words)), None
    if pruneidx is None:
        return table, None
    buckets, rows = pruneidx[np.argsort(pruneidx[:, 0])].T
    return _take_rows(table, np.concatenate((np.arange(words), words + rows))), buckets.copy()


def vocabulary_of(dictionary: Dictionary) -> Vocabulary:
    """Return the words of a dictionary with their counts."""
    return Vocabulary(strings_from_bytes(dictionary.words), dictionary.word_counts)


def to_fasttext(artifact: Artifact, *, quantized: bool = False, seed: int = 0) -> FastTextFile:
    """Convert a model to fastText's format.

    Args:
        artifact: the model.
        quantized: make an ``.ftz``, with a quantized input matrix; otherwise a ``.bin`` of floats.
        seed: for the k-means of the quantizer.

    Raises:
        ConfigError: the format cannot express the model.
        MissingDependencyError: quantizing needs scikit-learn, which is not installed.
    """
    obstacle = next(_obstacles(artifact, quantized), None)
    if obstacle is not None:
        raise ConfigError(f"the model cannot be written as a fastText file: {obstacle}")
    tensors, vocabulary = artifact.tensors, artifact.vocabulary
    table, weight = artifact.table, artifact.weight
    if not isinstance(table, Coded) and "scale" in tensors:
        table = table * tensors["scale"][:, None]
    if tensors["bias"].any() and not isinstance(table, Coded):
        table, weight = _fold_bias(table, dense(weight), tensors["bias"])
    if quantized and not isinstance(table, Coded):
        table = encode_rows(table, seed=seed)
    args = args_of(artifact, weight.shape[1])
    order, labels = label_order(artifact), label_words(artifact)
    buckets = tensors.get("buckets") if quantized else None
    dictionary = Dictionary(
        words=[w.encode("utf-8", "surrogateescape") for w in python_strings(vocabulary.words)],
        word_counts=vocabulary.counts,
        labels=[labels[index].encode() for index in order],
        label_counts=np.array(artifact.labels.counts, np.int64)[order],
        tokens=int(artifact.data.get("tokens", vocabulary.counts.sum())),
        pruneidx=None if buckets is None else np.stack((buckets, np.arange(len(buckets))), axis=1),
    )
    # With `hs`, the output rows belong to the nodes of the Huffman tree, which is the same there.
    output = weight if artifact.config.model.loss == "hs" else _take_rows(weight, order)
    return FastTextFile(args, dictionary, table, output)


def args_of(artifact: Artifact, dim: int) -> Args:
    """Return the args of a model in a file whose vectors have dimension ``dim``."""
    text, model = artifact.config.text, artifact.config.model
    extra = {"neg": model.negatives, **artifact.data.get(FASTTEXT, {})}
    return Args(
        dim=dim,
        epoch=known(artifact.config.trainer.epochs),
        min_count=text.min_count,
        word_ngrams=text.word_ngrams,
        loss=loss_name[model.loss].value,
        model=model_name.sup.value,
        bucket=text.bucket_count,
        minn=text.minn,
        maxn=text.maxn,
        **{name: extra[name] for name in ARGS_WITHOUT_SETTING if name in extra},
    )


def _take_rows(matrix: Matrix, rows: I64) -> Matrix:
    return matrix.take(rows) if isinstance(matrix, Coded) else matrix[rows]


def _fold_bias(table: F32, weight: F32, bias: F32) -> tuple[F32, F32]:
    """Append a column of ones to the table and the bias to the weight: a mean of ones is one."""
    ones = np.ones((len(table), 1), np.float32)
    return np.hstack((table, ones)), np.hstack((weight, bias[:, None]))


def _obstacles(artifact: Artifact, quantized: bool) -> Iterator[str]:
    """Yield the reasons why a model cannot be written, the most important first."""
    yield from _unsupported_settings(artifact.config)
    for name in artifact.labels.names:
        if set(name) & set(WHITESPACE):
            yield (
                f"its label {name!r} contains white space or a NUL, which would end the label; "
                "rename it and train again"
            )
    tensors, bucket_count = artifact.tensors, artifact.config.text.bucket_count
    if "codes" in tensors and tensors["bias"].any():
        yield "its linear layer has a bias, which cannot be folded into a quantized table"
    buckets = tensors.get("buckets")
    if not quantized and buckets is not None and len(buckets) < bucket_count:
        yield (
            "a .bin has a row for every hash bucket, but the model only has rows for the buckets "
            "of its training texts; train with text.prune = false, or export an .ftz"
        )
    if quantized and "codes" not in tensors and len(artifact.table) < CODES:
        yield f"an .ftz needs at least {CODES} rows, but the table has {len(artifact.table)}"


def _unsupported_settings(config: Config) -> Iterator[str]:
    text, model = config.text, config.model
    if model.loss not in loss_name.__members__:
        yield (
            f'model.loss = "{model.loss}" has more than one output matrix; the losses of fastText '
            f"are {', '.join(loss_name.__members__)}"
        )
    if text.tokenizer.partition(":")[0] != "fasttext":
        yield f'text.tokenizer = "{text.tokenizer}"; fastText can only tokenize as "fasttext" does'
    if text.lowercase or text.replace:
        yield "text.lowercase and text.replace; fastText takes texts as they are"
    if text.term_weighting != "none":
        yield f'text.term_weighting = "{text.term_weighting}"; fastText does not weight its tokens'
    if model.mode != "mean":
        yield f'model.mode = "{model.mode}"; fastText can only average the rows of a text'
    if model.padding_idx is not None:
        yield "model.padding_idx excludes a row, which fastText cannot do"


def label_prefix(artifact: Artifact) -> str:
    """Return the prefix of a model's labels in a fastText file."""
    prefix = artifact.data.get("label_prefix")
    tokenizer = artifact.config.text.tokenizer
    return prefix if isinstance(prefix, str) else tokenizer.partition(":")[2] or PREFIX


def label_words(artifact: Artifact) -> list[str]:
    """Return the labels of a model as they stand in a fastText file."""
    prefix = label_prefix(artifact)
    return [label_word(name, prefix) for name in artifact.labels.names]


def label_order(artifact: Artifact) -> I64:
    """Return the classes in the order of a fastText file, the most frequent first."""
    return np.argsort(-np.array(artifact.labels.counts, np.int64), kind="stable")


def sort_labels(artifact: Artifact) -> Artifact:
    """Return the same model with its classes in the order of a fastText file."""
    order = label_order(artifact)
    labels = Labels(
        tuple(artifact.labels.names[index] for index in order),
        tuple(artifact.labels.counts[index] for index in order),
    )
    tensors = dict(artifact.tensors)
    if artifact.config.model.loss != "hs":  # whose output rows belong to nodes, not classes
        tensors |= {"weight": tensors["weight"][order], "bias": tensors["bias"][order]}
    return replace(artifact, labels=labels, tensors=tensors)
