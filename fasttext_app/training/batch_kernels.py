"""Batches in compiled code: texts gathered, cut into batches, and their ids grouped by table row.

``cut_batches`` does for many batches what ``EncodedDataset.gather`` does for one, and adds what the
fused step on the CPU needs (``piece.Piece``); tests check that both agree. ``cut_words`` does the
same for texts with character n-grams, a word at a time. Shapes: **N** ids, **B** bags (texts),
**U** distinct rows of a batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasttext_app.core.arrays import F32, I32, I64
from fasttext_app.core.jit import compiled
from fasttext_app.core.prefetch import PREFETCH_DISTANCE, prefetch_row, prefetch_row_for_write
from fasttext_app.training.token_dropout_kernels import keep_ids

TEXTS_AHEAD = 8  # how many texts before its turn a text's ids are prefetched
LINE_IDS = 16  # ids in a cache line


@compiled
def _count_ids(offsets: I64, order: I64, batch_size: int) -> tuple[int, int, int]:
    """Return the number of batches, of all their ids, and of the ids of the largest batch."""
    batches = (len(order) + batch_size - 1) // batch_size
    total, longest = 0, 0
    for batch in range(batches):
        size = 0
        for text in order[batch * batch_size : (batch + 1) * batch_size]:
            size += offsets[text + 1] - offsets[text]
        total += size
        longest = max(longest, size)
    return batches, total, longest


@compiled
def _room_for_weights(count: int, weighted: bool) -> F32:
    """Return room for the weights of ids; [1] if all weigh 1."""
    weights = np.empty(count if weighted else 1, np.float32)
    if not weighted:
        weights[0] = 1
    return weights


@compiled
def _group_by_row(
    ids: I32, padding: Any, scratch: I32, rows: I32, sizes: I32, group_of: I32
) -> int:
    """Number the distinct rows in order of first appearance; return how many there are.

    Args:
        ids: the ids of a batch, [N].
        padding: the row that takes no part; -1 if there is none.
        scratch: one entry for each table row. It may hold a stale number from an earlier batch, so
            a number counts only if that group really belongs to this row.
        rows: receives the row of each group.
        sizes: receives the number of ids in each group.
        group_of: receives the group of each id, -1 for padding.
    """
    groups = 0
    for i in range(len(ids)):
        if i + PREFETCH_DISTANCE < len(ids):
            prefetch_row_for_write(scratch, ids[i + PREFETCH_DISTANCE])
        row = ids[i]
        if row == padding:
            group_of[i] = -1
            continue
        group = scratch[row]
        if group < 0 or group >= groups or rows[group] != row:
            group = groups
            scratch[row], rows[group], sizes[group] = group, row, 0
            groups += 1
        sizes[group] += 1
        group_of[i] = group
    return groups


@compiled
def _start_groups(sizes: I32, groups: int, starts: I32) -> None:
    """Turn the sizes of groups into their start positions; copy them to ``starts``, [groups + 1].

    >>> sizes, starts = np.array([2, 1], np.int32), np.empty(3, np.int32)
    >>> _start_groups(sizes, 2, starts)
    >>> sizes.tolist(), starts.tolist()
    ([0, 2], [0, 2, 3])
    """
    position = 0
    for group in range(groups):
        starts[group] = position
        position += sizes[group]
        sizes[group] = starts[group]
    starts[groups] = position


@compiled
def cut_batches(
    indices: I32,
    offsets: I64,
    order: I64,
    batch_size: int,
    idf: F32,
    mean: bool,
    padding: int,
    scratch: I32,
    dropped: int,
    key: np.uint64,
) -> tuple[Any, ...]:
    """Gather texts in an order and cut them into batches, each with its ids grouped by row.

    An example: the texts [7, 2] and [7] in one batch, with ``mean`` bags, give

        ids [7, 2, 7], bag_offsets [0, 2, 3]
        rows [7, 2], starts [0, 2, 3], bags [0, 1, 0], id_weights [0.5, 1, 0.5]

    Args:
        indices: the ids of all texts, end to end.
        offsets: bounds of each text in ``indices``.
        order: the texts to gather, in this order.
        batch_size: texts in a batch.
        idf: the inverse document frequency of each row, for tf-idf weights; empty: no weights.
        mean: whether a bag is the mean of its rows; then each grouped id weighs 1 / length.
        padding: the row that takes no part; -1 if there is none.
        scratch: working space with one entry for each table row; its contents do not matter.
        dropped: token dropout drops an id if its 32-bit hash of key, text and position is below
            this number; 0: none.
        key: the seed of the hash, different in each epoch.

    Returns:
        The arrays of a ``piece.Piece`` whose units are texts: ``bag_offsets`` are its unit starts,
        ``starts`` its row starts, ``bags`` its row units, ``id_weights`` its row weights.
    """
    # Allocate for all batches at once, with room for every id, as if no row occurred twice.
    batches, total, longest = _count_ids(offsets, order, batch_size)
    weighted = len(idf) > 0
    ids, rows = np.empty(total, np.int32), np.empty(total, np.int32)
    bags, starts = np.empty(total, np.int32), np.empty(total + batches, np.int32)
    weights = _room_for_weights(total, weighted)
    id_weights = _room_for_weights(total, weighted or mean)
    bag_offsets = np.empty(len(order) + batches, np.int32)
    id_bounds, row_bounds, group_bounds = (
        np.zeros(batches + 1, np.int64),
        np.zeros(batches + 1, np.int64),
        np.zeros(batches + 1, np.int64),
    )
    group_of, sizes = np.empty(longest, np.int32), np.empty(longest, np.int32)
    for batch in range(batches):
        texts = order[batch * batch_size : (batch + 1) * batch_size]
        first_id, first_row, grouped = id_bounds[batch], row_bounds[batch], group_bounds[batch]

        # Copy the ids of the batch's texts end to end, and note where each text ends. Texts come
        # in random order, so start loading the ids of the ones that are needed soon.
        my_offsets = bag_offsets[batch * batch_size + batch :]
        my_offsets[0] = count = 0
        for bag in range(len(texts)):
            if bag + TEXTS_AHEAD < len(texts):
                ahead = texts[bag + TEXTS_AHEAD]
                for i in range(offsets[ahead], offsets[ahead + 1], LINE_IDS):
                    prefetch_row(indices, i)
            begin, end = offsets[texts[bag]], offsets[texts[bag] + 1]
            if dropped == 0:
                for i in range(begin, end):
                    ids[first_id + count + i - begin] = indices[i]
                count += end - begin
            else:
                count += keep_ids(
                    indices[begin:end], ids[first_id + count :], dropped, key, texts[bag]
                )
            my_offsets[bag + 1] = count

        # Number the distinct rows in order of first appearance.
        my_ids, my_rows = ids[first_id : first_id + count], rows[first_row:]
        groups = _group_by_row(my_ids, padding, scratch, my_rows, sizes, group_of)

        # Counting sort, first half: from here on, `sizes[group]` is the position of the group's
        # next id.
        my_starts = starts[first_row + batch :]
        _start_groups(sizes, groups, my_starts)

        # Second half: weigh the ids of each text, by tf-idf or by 1 / length without padding, and
        # place each id into the group of its row.
        my_bags, my_shares, my_weights = bags[grouped:], id_weights[grouped:], weights[first_id:]
        for bag in range(len(texts)):
            begin, end, share = my_offsets[bag], my_offsets[bag + 1], np.float32(1)
            if weighted:
                sum_idf = np.float32(0)
                for i in range(begin, end):
                    if i + PREFETCH_DISTANCE < count:
                        prefetch_row(idf, my_ids[i + PREFETCH_DISTANCE])
                    my_weights[i] = idf[my_ids[i]]
                    sum_idf += my_weights[i]
                for i in range(begin, end):
                    my_weights[i] /= sum_idf
            elif mean:
                real = 0
                for i in range(begin, end):
                    real += group_of[i] >= 0
                share = np.float32(1) / np.float32(max(real, 1))
            for i in range(begin, end):
                group = group_of[i]
                if group >= 0:
                    position = sizes[group]
                    sizes[group] += 1
                    my_bags[position] = bag
                    if weighted:
                        my_shares[position] = my_weights[i]
                    elif mean:
                        my_shares[position] = share
        id_bounds[batch + 1] = first_id + count
        row_bounds[batch + 1] = first_row + groups
        group_bounds[batch + 1] = grouped + my_starts[groups]
    text_bounds = np.empty(batches + 1, np.int64)
    for batch in range(batches + 1):
        text_bounds[batch] = min(batch * batch_size, len(order))
    none, no_weights = np.empty(0, np.int32), np.empty(0, np.float32)
    return (
        ids,
        weights,
        id_bounds,
        bag_offsets,
        text_bounds,
        rows,
        row_bounds,
        starts,
        bags,
        id_weights,
        group_bounds,
        none,
        none,
        none,
        none,
        text_bounds,
        no_weights,
    )


@compiled
def cut_words(
    indices: I32,
    offsets: I64,
    order: I64,
    batch_size: int,
    word_lengths: I32,
    idf: F32,
    mean: bool,
    scratch: I32,
) -> tuple[Any, ...]:
    """Gather texts in an order and cut them into batches, each with its ids grouped by word.

    The ids of a text are its words, each followed by its character n-grams, and then its word
    n-grams. A word has the same n-grams wherever it occurs, so a batch needs each word's ids once.
    Every other id counts as a word of one id.

    An example: word 0 has the n-gram 8 and word 1 the n-grams 8 and 9. The texts
    [0, 8, 1, 8, 9] and [1, 8, 9, 7] in one batch, where 7 is a bigram, have the distinct words

        ids [0, 8, 1, 8, 9, 7], id_starts [0, 2, 5, 6]

    which the texts refer to by

        words [0, 1, 1, 2], bag_offsets [0, 2, 4]    the words of each text
        word_starts [0, 1, 3, 4], bags [0, 0, 1, 1]  the texts of each word
        rows [0, 8, 1, 9, 7], starts [0, 1, 3, 4, 5, 6], row_words [0, 0, 1, 1, 1, 2]

    With tf-idf, ``weights`` are the idf of ``ids``, and ``row_weights`` that of ``row_words``.

    Args:
        indices: the ids of all texts, end to end.
        offsets: bounds of each text in ``indices``.
        order: the texts to gather, in this order.
        batch_size: texts in a batch.
        word_lengths: the number of ids of each word, itself included.
        idf: the inverse document frequency of each row, for tf-idf weights; empty: no weights.
        mean: whether a bag is the mean of its rows.
        scratch: working space with one entry for each table row; its contents do not matter.

    Returns:
        The arrays of a ``piece.Piece`` whose units are words: ``id_starts`` are its unit starts,
        ``starts`` its row starts, ``row_words`` its row units, ``bag_offsets`` its text starts,
        ``bags`` its word texts. There are ``scales`` with tf-idf or ``mean``.
    """
    # Allocate for all batches at once, with room for every id, as if no word occurred twice.
    batches, total, longest = _count_ids(offsets, order, batch_size)
    weighted = len(idf) > 0
    words, bags = np.empty(total, np.int32), np.empty(total, np.int32)
    ids, row_words, rows = (
        np.empty(total, np.int32),
        np.empty(total, np.int32),
        np.empty(total, np.int32),
    )
    bag_offsets = np.empty(len(order) + batches, np.int32)
    id_starts, word_starts, starts = (
        np.empty(total + batches, np.int32),
        np.empty(total + batches, np.int32),
        np.empty(total + batches, np.int32),
    )
    weights = _room_for_weights(total, weighted)
    row_weights = _room_for_weights(total, weighted)
    scales = np.empty(len(order) if weighted or mean else 0, np.float32)
    use_bounds, id_bounds, word_bounds, row_bounds = (
        np.zeros(batches + 1, np.int64),
        np.zeros(batches + 1, np.int64),
        np.zeros(batches + 1, np.int64),
        np.zeros(batches + 1, np.int64),
    )
    sizes, group_of = np.empty(longest, np.int32), np.empty(longest, np.int32)
    first_ids, word_idf = np.empty(longest, np.int32), np.empty(longest, np.float32)
    for batch in range(batches):
        texts = order[batch * batch_size : (batch + 1) * batch_size]
        my_words, my_bags = words[use_bounds[batch] :], bags[use_bounds[batch] :]
        my_ids, my_row_words = ids[id_bounds[batch] :], row_words[id_bounds[batch] :]
        my_weights, my_row_weights = weights[id_bounds[batch] :], row_weights[id_bounds[batch] :]
        my_rows, my_starts = rows[row_bounds[batch] :], starts[row_bounds[batch] + batch :]
        my_id_starts = id_starts[word_bounds[batch] + batch :]
        my_word_starts = word_starts[word_bounds[batch] + batch :]
        my_offsets = bag_offsets[batch * batch_size + batch :]

        # Number the distinct words of the batch in order of first appearance, and copy the ids of
        # each once. `scratch[id]` may hold a stale number, so it counts only if the word with that
        # number really begins with this id.
        my_offsets[0] = uses = distinct = count = 0
        my_id_starts[0] = 0
        for bag in range(len(texts)):
            if bag + TEXTS_AHEAD < len(texts):
                ahead = texts[bag + TEXTS_AHEAD]
                for i in range(offsets[ahead], offsets[ahead + 1], LINE_IDS):
                    prefetch_row(indices, i)
            i, end, sum_idf = offsets[texts[bag]], offsets[texts[bag] + 1], np.float32(0)
            length = end - i
            while i < end:
                first = indices[i]
                size = word_lengths[first] if first < len(word_lengths) else 1
                word = scratch[first]
                if word < 0 or word >= distinct or first_ids[word] != first:
                    word = distinct
                    scratch[first], first_ids[word], sizes[word] = word, first, 0
                    word_idf[word] = 0
                    for j in range(i, i + size):
                        my_ids[count] = indices[j]
                        if weighted:
                            my_weights[count] = idf[indices[j]]
                            word_idf[word] += my_weights[count]
                        count += 1
                    distinct += 1
                    my_id_starts[distinct] = count
                sizes[word] += 1
                my_words[uses] = word
                uses += 1
                sum_idf += word_idf[word]
                i += size
            my_offsets[bag + 1] = uses
            if weighted:
                scales[batch * batch_size + bag] = 1 / sum_idf if length else 0
            elif mean:
                scales[batch * batch_size + bag] = 1 / np.float32(max(length, 1))

        # Counting sort of the uses of words: the texts of each word.
        _start_groups(sizes, distinct, my_word_starts)
        for bag in range(len(texts)):
            for use in range(my_offsets[bag], my_offsets[bag + 1]):
                word = my_words[use]
                my_bags[sizes[word]] = bag
                sizes[word] += 1

        # Number the distinct rows of the words, and sort in the same way: the words of each row.
        groups = _group_by_row(my_ids[:count], np.int64(-1), scratch, my_rows, sizes, group_of)
        _start_groups(sizes, groups, my_starts)
        for word in range(distinct):
            for i in range(my_id_starts[word], my_id_starts[word + 1]):
                group = group_of[i]
                my_row_words[sizes[group]] = word
                if weighted:
                    my_row_weights[sizes[group]] = my_weights[i]
                sizes[group] += 1
        use_bounds[batch + 1] = use_bounds[batch] + uses
        id_bounds[batch + 1] = id_bounds[batch] + count
        word_bounds[batch + 1] = word_bounds[batch] + distinct
        row_bounds[batch + 1] = row_bounds[batch] + groups
    return (
        ids,
        weights,
        id_bounds,
        id_starts,
        word_bounds,
        rows,
        row_bounds,
        starts,
        row_words,
        row_weights,
        id_bounds,
        words,
        bag_offsets,
        bags,
        word_starts,
        use_bounds,
        scales,
    )
