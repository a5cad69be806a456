"""``SpillBuffer`` returns bags as they were stored: in memory, in files, or back in memory."""

from __future__ import annotations

import errno

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.core.ragged import Ragged
from fasttext_app.core.spill import SpillBuffer, SpillWriter
from fasttext_app.errors import DataError

BAGS = st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=4), max_size=4)


def written(spill_buffer, parts):
    writer = spill_buffer.writer()
    for bags in parts:
        writer.append(Ragged.from_lists(bags, np.int32))
    assert writer.id_count == sum(len(bag) for bags in parts for bag in bags)
    return writer.close()


@pytest.mark.slow
@given(st.lists(BAGS, min_size=1, max_size=5), st.integers(0, 200), st.booleans())
@settings(deadline=None, max_examples=40)
def test_appended_bags_are_loaded_in_order(parts, limit, prefer_files):
    with SpillBuffer(limit, prefer_files=prefer_files) as spill_buffer:
        bags = written(spill_buffer, parts)()
        assert bags.to_lists() == [bag for bags in parts for bag in bags]
        assert (bags.indices.dtype, bags.offsets.dtype) == (np.int32, np.int64)
        del bags


@pytest.mark.parametrize(
    ("limit", "prefer_files", "files"), [(0, False, 1), (99, False, 0), (99, True, 1)]
)
def test_bags_go_to_a_file_beyond_the_limit_or_if_files_are_preferred(
    tmp_path, limit, prefer_files, files
):
    spill_buffer = SpillBuffer(limit, str(tmp_path), prefer_files=prefer_files)
    load = written(spill_buffer, [[[1, 2]], [[3]]])
    assert len(list(tmp_path.iterdir())) == files
    assert spill_buffer.spilled is (limit == 0)
    assert spill_buffer.store(load())().to_lists() == [[1, 2], [3]]


def test_changing_loaded_bags_does_not_change_the_file(tmp_path):
    load = written(SpillBuffer(0, str(tmp_path)), [[[1, 2, 3]]])
    bags = load()
    bags.indices[0] = 7
    bags.offsets[0] = 7
    assert load().to_lists() == [[1, 2, 3]]


def test_temporary_files_are_deleted_with_the_buffer():
    with SpillBuffer(0) as spill_buffer:
        written(spill_buffer, [[[1]]])
        folder = spill_buffer.new_path().parent
        assert [path.stat().st_size for path in folder.iterdir()] == [4 + 4 + 16]
    assert not folder.exists()


@pytest.fixture
def full_after(monkeypatch):
    """Return a function that makes the disk full after some number of writes."""

    def limit(writes):
        write, left = SpillWriter._write, iter(range(writes))

        def fail_later(writer, arrays):
            write(writer, arrays)
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(SpillWriter, "_write", fail_later)

    return limit


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_preferred_files_on_a_full_disk_fall_back_to_memory(tmp_path, full_after, writes):
    full_after(writes)
    spill_buffer = SpillBuffer(1000, str(tmp_path), prefer_files=True)
    load = written(spill_buffer, [[[1, 2], []], [[3]], [[4]]])
    assert load().to_lists() == [[1, 2], [], [3], [4]]
    assert written(spill_buffer, [[[5]]])().to_lists() == [[5]]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("prefer_files", [False, True])
@pytest.mark.parametrize("writes", [0, 1, 2])
def test_a_full_disk_beyond_the_limit_is_an_error(tmp_path, full_after, writes, prefer_files):
    full_after(writes)
    with pytest.raises(DataError) as caught:
        written(SpillBuffer(0, str(tmp_path), prefer_files=prefer_files), [[[1, 2], []], [[3]]])
    assert str(caught.value) == (
        f"{tmp_path}: encoded texts cannot be written there (No space left on device); "
        "set TMPDIR to another folder, or raise data.in_memory_mb"
    )
