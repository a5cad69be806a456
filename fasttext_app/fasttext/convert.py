"""From a fastText file to a model of this program, and back.

Both directions keep the tokens, the row of every feature and the numbers, so a model gives the same
answers on either side. What a file cannot hold is refused with the reason.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pyarrow as pa

from fasttext_app.config.loading import resolve
from fasttext_app.core.arrays import F32, I32, I64, Array
from fasttext_app.core.arrow import python_strings, strings_from_buffers
from fasttext_app.data.labels import Labels
from fasttext_app.errors import ArtifactError, ConfigError
from fasttext_app.fasttext.file_format import LOSSES, SUPERVISED, FastTextFile, Settings
from fasttext_app.fasttext.options import sgd_steps
from fasttext_app.model.artifact import FASTTEXT, OUTPUT, Artifact, Tensors
from fasttext_app.model.product_quantizer import CODES, Coded, dense, encode_rows
from fasttext_app.text.fasttext_tokenizer import PREFIX, WHITESPACE
from fasttext_app.text.vocabulary import Vocabulary

MARK = re.compile(r"__[^\W_]+__|[^\w\s]+")
MOST_NGRAMS = 10, 30  # of words and of characters, as the configuration has it
RATE = 0.1  # a file does not say by which one it was trained; this is the original's default
KEPT_SETTINGS = ("ws", "neg", "lr_update_rate", "t")
"""What the configuration has no place for; a model keeps it among its ``data``."""


def from_fasttext(
    file: FastTextFile, source: str, *, prefix: str | None = None, dequantize: bool = False
) -> Artifact:
    """Make a model of a fastText classifier.

    Args:
        file: what was read.
        source: where it came from; for messages, and kept with the model.
        prefix: what labels begin with, which is not part of their names here; None: as they do.
        dequantize: make numbers of a quantized table, which is larger and no more exact.

    Raises:
        ArtifactError: it is no classifier, or has settings that are not known here.
    """
    if not file.supervised:
        raise ArtifactError(
            f"{source}: holds word vectors, not a classifier; see `fasttext-app ft "
            "print-word-vectors`, or train on its .vec file with --set model.pretrained"
        )
    if not len(file.input):
        raise ArtifactError(f"{source}: has no words, and so no rows")
    labels = [_label(name, source) for name in file.labels]
    begin = _common_prefix(labels) if prefix is None else prefix
    other = next((name for name in labels if not name.startswith(begin) or name == begin), None)
    if other is not None:
        raise ArtifactError(f"{source}: its label {other!r} is not {begin!r} and a name")
    settings = file.settings
    minn, maxn = (max(settings.minn, 1), settings.maxn) if settings.maxn else (0, 0)
    if minn > maxn:  # no length is left between them
        minn = maxn = 0
    ngrams = max(settings.word_ngrams, 1)
    if ngrams > MOST_NGRAMS[0] or maxn > MOST_NGRAMS[1]:
        raise ArtifactError(
            f"{source}: has word n-grams up to {ngrams} and character n-grams up to {maxn}; this "
            f"program has them up to {MOST_NGRAMS[0]} and {MOST_NGRAMS[1]}"
        )
    hashed, loss = ngrams > 1 or maxn > 0, LOSSES[settings.loss]
    config = resolve(
        {
            "data": {
                "label_prefix": begin or PREFIX,
                **({"label_separator": " "} if loss == "ova" else {}),
            },
            "text": {
                "tokenizer": "fasttext" if begin in ("", PREFIX) else f"fasttext:{begin}",
                "min_count": max(settings.min_count, 1),
                "word_ngrams": ngrams,
                "minn": minn,
                "maxn": maxn,
                "bucket": max(settings.bucket, 1),
                "prune": hashed and file.pruned is not None,
            },
            "model": {
                "dim": settings.dim,
                "loss": loss,
                "bias": False,
                "probabilities": "fasttext",
                **({"negatives": max(settings.neg, 1)} if loss == "ns" else {}),
            },
            **sgd_steps(RATE, max(settings.epoch, 1)),
        }
    )
    table, buckets = ordered_table(file, hashed=hashed)
    output = file.output
    if dequantize:
        table, output = dense(table), dense(output)
    tensors: Tensors = {
        **(table.tensors() if isinstance(table, Coded) else {"table": table}),
        **(
            output.tensors(OUTPUT)
            if isinstance(output, Coded)
            else {"weight": np.array(output, np.float32)}
        ),
        "bias": np.zeros(len(file.labels), np.float32),
    }
    if buckets is not None:
        tensors["buckets"] = buckets
    if not all(np.isfinite(tensors[name]).all() for name in {"table", "weight"} & tensors.keys()):
        raise ArtifactError(f"{source}: has numbers that are not finite")
    names = [label.removeprefix(begin) for label in labels]
    if len(set(names)) < len(names):
        raise ArtifactError(f"{source}: has two labels of one name")
    return Artifact(
        config=config,
        vocabulary=Vocabulary(column_of(file.words), file.word_counts),
        labels=Labels(tuple(names), tuple(file.label_counts.tolist())),
        tensors=tensors,
        data={
            "source": source,
            "tokens": file.tokens,
            "vocabulary": len(file.words),
            "label_prefix": begin,
            FASTTEXT: {name: getattr(settings, name) for name in KEPT_SETTINGS},
        },
    )


def ordered_table(file: FastTextFile, *, hashed: bool) -> tuple[Array | Coded, I32 | None]:
    """Return the table with pruned buckets in ascending order, and those buckets."""
    words, table = len(file.words), file.input
    if not hashed:  # buckets that no text falls into
        return _rows(table, np.arange(words)), None
    if file.pruned is None:
        return table, None
    pairs = file.pruned[np.argsort(file.pruned[:, 0])]
    assert isinstance(table, Coded)  # the reader saw to it
    return table.take(np.concatenate((np.arange(words), words + pairs[:, 1]))), pairs[:, 0].copy()


def by_count(artifact: Artifact) -> Artifact:
    """Return the same model with its labels in the order of a file, the most frequent first."""
    order = _count_order(artifact)
    labels = Labels(
        tuple(artifact.labels.names[number] for number in order),
        tuple(artifact.labels.counts[number] for number in order),
    )
    tensors = dict(artifact.tensors)
    if artifact.config.model.loss != "hs":  # of which the rows are the nodes of a tree
        tensors |= {"weight": tensors["weight"][order], "bias": tensors["bias"][order]}
    return replace(artifact, labels=labels, tensors=tensors)


def _count_order(artifact: Artifact) -> I64:
    return np.argsort(-np.array(artifact.labels.counts, np.int64), kind="stable")


def label_prefix(artifact: Artifact) -> str:
    """Return what the labels of a model begin with in a fastText file."""
    known = artifact.data.get("label_prefix")
    tokenizer = artifact.config.text.tokenizer
    return known if isinstance(known, str) else tokenizer.partition(":")[2] or PREFIX


def _common_prefix(labels: list[str]) -> str:
    """Return what all labels begin with: ``__label__``, or another mark of that kind, or a sign."""
    found = {match[0] if (match := MARK.match(label)) else "" for label in labels}
    return found.pop() if len(found) == 1 else ""


def _label(name: bytes, source: str) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise ArtifactError(f"{source}: its label {name!r} is not UTF-8") from None


def column_of(words: list[bytes]) -> pa.StringArray:
    """Make a column of words whatever their bytes."""
    bounds = np.zeros(len(words) + 1, np.int32)
    np.cumsum([len(word) for word in words], out=bounds[1:])
    return strings_from_buffers(np.frombuffer(b"".join(words), np.uint8), bounds)


def to_fasttext(artifact: Artifact, *, quantized: bool = False, seed: int = 0) -> FastTextFile:
    """Make a fastText file of a model.

    Args:
        artifact: the model.
        quantized: an ``.ftz``, with its table in product codes; else a ``.bin`` of 32-bit floats.
        seed: for the k-means of the codes.

    Raises:
        ConfigError: the model has something that a fastText file cannot express.
        MissingDependencyError: codes are wanted, and scikit-learn is not installed.
    """
    config, tensors = artifact.config, artifact.tensors
    reason = next((why for broken, why in _obstacles(artifact, quantized) if broken), None)
    if reason is not None:
        raise ConfigError(f"it cannot be written as a fastText file: {reason}")
    text, words, buckets = config.text, artifact.vocabulary, tensors.get("buckets")
    table = artifact.table
    if not isinstance(table, Coded) and "scale" in tensors:
        table = table * tensors["scale"][:, None]
    weight = artifact.weight
    if tensors["bias"].any() and not isinstance(table, Coded):
        table, weight = _bias_folded(table, dense(weight), tensors["bias"])
    if quantized and not isinstance(table, Coded):
        table = encode_rows(table, seed=seed)
    prefix = label_prefix(artifact)
    order = _count_order(artifact)
    kept = {"neg": config.model.negatives, **artifact.data.get(FASTTEXT, {})}
    settings = Settings(
        dim=weight.shape[1],
        epoch=config.trainer.epochs,
        min_count=text.min_count,
        word_ngrams=text.word_ngrams,
        loss=next(number for number, name in LOSSES.items() if name == config.model.loss),
        model=SUPERVISED,
        bucket=text.bucket_count,
        minn=text.minn,
        maxn=text.maxn,
        **{name: kept[name] for name in KEPT_SETTINGS if name in kept},
    )
    names = [word.encode("utf-8", "surrogateescape") for word in python_strings(words.words)]
    return FastTextFile(
        settings=settings,
        words=names,
        word_counts=words.counts,
        labels=[(prefix + artifact.labels.names[number]).encode() for number in order],
        label_counts=np.array(artifact.labels.counts, np.int64)[order],
        tokens=int(artifact.data.get("tokens", words.counts.sum())),
        pruned=_pruned(buckets) if quantized else None,  # of a .bin, every bucket has a row
        input=table,
        # With `hs` its rows are the nodes of the tree, which is the same tree there.
        output=weight if config.model.loss == "hs" else _rows(weight, order),
    )


def _rows(matrix: Array | Coded, numbers: I64) -> F32 | Coded:
    return matrix.take(numbers) if isinstance(matrix, Coded) else matrix[numbers]


def _pruned(buckets: I32 | None) -> I32 | None:
    return buckets if buckets is None else np.stack((buckets, np.arange(len(buckets))), 1)


def _bias_folded(table: F32, weight: F32, bias: F32) -> tuple[F32, F32]:
    """Make the bias a number more of each row: a mean of ones is one, times the bias."""
    ones = np.ones((len(table), 1), np.float32)
    return np.hstack((table, ones)), np.hstack((weight, bias[:, None]))


def _obstacles(artifact: Artifact, quantized: bool) -> list[tuple[bool, str]]:
    """Return (is it so, why it cannot be written), most telling first."""
    text, model, tensors = artifact.config.text, artifact.config.model, artifact.tensors
    cut = next((name for name in artifact.labels.names if set(name) & set(WHITESPACE)), None)
    buckets = tensors.get("buckets")
    bias = tensors.get("bias", np.zeros(0))
    absent = buckets is not None and len(buckets) < text.bucket_count
    return [
        (
            model.loss not in LOSSES.values(),
            f'model.loss = "{model.loss}"; there a model has one matrix of output weights, and its '
            f"loss is one of {', '.join(LOSSES.values())}",
        ),
        (
            text.tokenizer.partition(":")[0] != "fasttext",
            f'its tokens are cut by text.tokenizer = "{text.tokenizer}", and there only '
            '"fasttext" is known',
        ),
        (text.term_weighting != "none", f'text.term_weighting = "{text.term_weighting}"'),
        (
            model.mode != "mean",
            f'model.mode = "{model.mode}"; there a text is the mean of its rows',
        ),
        (
            cut is not None,
            f"its label {cut!r} has white space or a NUL in it, where a label ends there; train "
            "with another name for it",
        ),
        (model.padding_idx is not None, "model.padding_idx leaves a row out"),
        (
            bool(bias.any()) and "codes" in tensors,
            "its linear layer has a bias, and its table is in codes",
        ),
        (
            absent and not quantized,
            "a .bin has a row for every hash bucket, and the model only for those of its training "
            "texts (train with text.prune = false, or export an .ftz)",
        ),
        (
            quantized and "codes" not in tensors and len(artifact.table) < CODES,
            f"an .ftz needs {CODES} rows, and the table has {len(artifact.table)}",
        ),
    ]
