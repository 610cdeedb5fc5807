"""Finds the lead of each event by its id, for many batches of events against the same leads."""

from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from leadscore.data.columns import found_in, ids, is_textual
from leadscore.data.contract import Ints

Words: TypeAlias = NDArray[np.uint64]

_LONGEST = 63  # bytes of an id; longer ones are left to Arrow
_PART = 2**15  # ids looked up at a time
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: spreads what differs in few bits
# By how many bytes of a word belong to the text: what to keep of it.
_KEEP = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)


class Matcher:
    """The rows of known ids, prepared once: a hash table that whole arrays are looked up in.

    Ids are whole numbers or texts. They are compared in full, as words of eight bytes, so that a row is never
    found by accident.

    Parameters
    ----------
    known : array of int64 or string
        Unique, without nulls.

    Examples
    --------
    >>> Matcher(pa.array(["b7", "a1"])).rows(pa.array(["a1", None, "zz", "b7"]))
    array([ 1, -1, -1,  0])
    """

    __slots__ = ("_longest", "_row", "_shift", "_start", "_words", "known")

    def __init__(self, known: pa.Array) -> None:
        self.known = known
        self._longest = 0
        if is_textual(known.type):
            self._longest = pc.max(pc.binary_length(known)).as_py() or 0
        words = self._words_of(known)
        bits = max(4, len(known).bit_length() + 1)
        self._shift = np.uint64(64 - bits)
        places = _hashed(words) >> self._shift
        order = np.argsort(places, kind="stable")
        # The ids of place p are those from start[p] to start[p + 1]; the last id is followed by one more.
        self._start = np.searchsorted(places[order], np.arange(2**bits + 1)).astype(np.int32)
        self._words = [np.append(word[order], np.uint64(0)) for word in words]
        self._row = np.append(order, -1).astype(np.int32)

    def rows(self, wanted: pa.Array) -> Ints:
        """Give the row of each id, -1 where it is null or not known."""
        if pa.types.is_dictionary(wanted.type):
            known: Ints = np.append(self.rows(wanted.dictionary), -1)
            found: Ints = known[pc.fill_null(wanted.indices.cast(pa.int64()), -1).to_numpy()]
            return found
        if wanted.type != self.known.type or self._longest > _LONGEST:
            return found_in(ids(wanted, typed=True), self.known)
        rows = np.empty(len(wanted), np.int64)
        for start in range(0, len(wanted), _PART):
            part = wanted.slice(start, _PART)
            rows[start : start + _PART] = self._found(part)
        return rows

    def _found(self, wanted: pa.Array) -> NDArray[np.int32]:
        words = self._words_of(wanted)
        place = (_hashed(words) >> self._shift).view(np.int64)
        at, last = self._start.take(place), self._start.take(place + 1)
        hit = (at < last) & _equal(words, self._words, at)
        rest = np.flatnonzero(~hit & (at + 1 < last))
        while len(rest):  # those that share a place with others
            at[rest] += 1
            found = _equal([word.take(rest) for word in words], self._words, at[rest])
            hit[rest] = found
            rest = rest[~found & (at[rest] + 1 < last[rest])]
        if wanted.null_count:
            hit &= pc.is_valid(wanted).to_numpy(zero_copy_only=False)
        rows: NDArray[np.int32] = self._row.take(at)
        rows[~hit] = -1
        return rows

    def _words_of(self, wanted: pa.Array) -> list[Words]:
        """Give ids as unsigned words of 64 bits: a text's bytes, and its length in the last byte."""
        if not is_textual(wanted.type):
            return [pc.fill_null(wanted, 0).to_numpy().view(np.uint64)]
        _, offsets, data = wanted.buffers()
        bounds = np.frombuffer(offsets, np.int32)[wanted.offset : wanted.offset + len(wanted) + 1]
        first, size = bounds[:-1], np.diff(bounds)
        end = int(bounds[-1]) if len(bounds) else 0
        begin = int(bounds[0]) if len(bounds) else 0
        padded = np.zeros(end - begin + self._longest + 16, np.uint8)
        if end > begin:
            padded[: end - begin] = np.frombuffer(data, np.uint8)[begin:end]
        everywhere = np.lib.stride_tricks.as_strided(
            padded[:8].view(np.uint64), (len(padded) - 7,), (1,), writeable=False
        )
        count = self._longest // 8 + 1
        words = [
            everywhere[np.minimum(first - begin + 8 * k, len(everywhere) - 1)]
            & _KEEP.take(np.clip(size - 8 * k, 0, 8))
            for k in range(count)
        ]
        # No known id is as long as 255 bytes: what does not fit is not found.
        length = np.where(size < 8 * count, size, 255).astype(np.uint64)
        words[-1] |= length << np.uint64(56)
        return words


def _hashed(words: list[Words]) -> Words:
    mixed = words[0] * _MIX
    for word in words[1:]:
        mixed = ((mixed ^ (mixed >> np.uint64(32))) ^ word) * _MIX
    mixed ^= mixed >> np.uint64(29)
    mixed *= _MIX
    return mixed


def _equal(words: list[Words], known: list[Words], at: NDArray[np.int32]) -> NDArray[np.bool_]:
    equal: NDArray[np.bool_] = words[0] == known[0].take(at)
    for word, other in zip(words[1:], known[1:], strict=True):
        equal &= word == other.take(at)
    return equal
