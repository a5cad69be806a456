"""Encoded texts come back as they were kept: from memory, from files, from memory after all."""

from __future__ import annotations

import errno

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttext_app.core.ragged import Ragged
from fasttext_app.core.spill import Piece, SpillBuffer
from fasttext_app.errors import DataError

BAGS = st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=4), max_size=4)


def kept(spool, parts):
    piece = spool.piece()
    for bags in parts:
        piece.add(Ragged.from_lists(bags, np.int32))
    assert piece.ids == sum(len(bag) for bags in parts for bag in bags)
    return piece.close()


@given(st.lists(BAGS, min_size=1, max_size=5), st.integers(0, 200), st.booleans())
def test_parts_come_back_end_to_end(parts, limit, hand_over):
    with SpillBuffer(limit, hand_over=hand_over) as spool:
        bags = kept(spool, parts)()
        assert bags.to_lists() == [bag for bags in parts for bag in bags]
        assert (bags.indices.dtype, bags.offsets.dtype) == (np.int32, np.int64)
        del bags


@pytest.mark.parametrize(
    ("limit", "hand_over", "files"), [(0, False, 1), (99, False, 0), (99, True, 1)]
)
def test_files_are_where_memory_should_not_be(tmp_path, limit, hand_over, files):
    spool = SpillBuffer(limit, str(tmp_path), hand_over=hand_over)
    load = kept(spool, [[[1, 2]], [[3]]])
    assert len(list(tmp_path.iterdir())) == files
    assert spool.spilled is (limit == 0)
    assert spool.keep(load())().to_lists() == [[1, 2], [3]]


def test_writing_to_what_was_mapped_leaves_the_file_alone(tmp_path):
    load = kept(SpillBuffer(0, str(tmp_path)), [[[1, 2, 3]]])
    bags = load()
    bags.indices[0] = 7
    bags.offsets[0] = 7
    assert load().to_lists() == [[1, 2, 3]]


def test_files_end_with_the_spool():
    with SpillBuffer(0) as spool:
        kept(spool, [[[1]]])
        folder = spool.new_path().parent
        assert [path.stat().st_size for path in folder.iterdir()] == [4 + 4 + 16]
    assert not folder.exists()


@pytest.fixture
def full_after(monkeypatch):
    """Let the disk be full after so many writes."""

    def limit(writes):
        write, left = Piece._write, iter(range(writes))

        def fail_later(piece, arrays):
            write(piece, arrays)
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Piece, "_write", fail_later)

    return limit


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_a_hand_over_without_room_for_files_stays_in_memory(tmp_path, full_after, writes):
    full_after(writes)
    spool = SpillBuffer(1000, str(tmp_path), hand_over=True)
    load = kept(spool, [[[1, 2], []], [[3]], [[4]]])
    assert load().to_lists() == [[1, 2], [], [3], [4]]
    assert kept(spool, [[[5]]])().to_lists() == [[5]]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("hand_over", [False, True])
@pytest.mark.parametrize("writes", [0, 1, 2])
def test_no_room_anywhere_is_said(tmp_path, full_after, writes, hand_over):
    full_after(writes)
    with pytest.raises(DataError) as caught:
        kept(SpillBuffer(0, str(tmp_path), hand_over=hand_over), [[[1, 2], []], [[3]]])
    assert str(caught.value) == (
        f"{tmp_path}: encoded texts cannot be kept there (No space left on device); "
        "name another folder with TMPDIR, or raise data.in_memory_mb"
    )
