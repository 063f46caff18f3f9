"""LMDB environments, read without liblmdb: that library maps the file and trusts it, this reader checks every step.

The file is a copy-on-write B+ tree in pages (Chu 2011, and LMDB 0.9's mdb.c for the numbers). The first two pages are
headers, of which the one with the later transaction counts; it names the root of the main tree. A branch page holds
(first key, child page), a leaf page (key, value); a value too long for its page lies in consecutive overflow pages.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

from ..layout import LayoutError

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4  # kinds of pages, bits of their flags
_BIG, _OTHER = 1, 2 | 4  # of a value: in overflow pages; a sub-database or duplicates, which the layouts lack
_PAGE = struct.Struct("<QHHHH")  # number, padding, flags, end of the list of nodes, start of the nodes
_HEADER = struct.Struct("<IIQQ")  # magic, version, address, size of the map
_TREE = struct.Struct("<IHHQQQQQ")  # padding (page size), flags, depth, branch, leaf, overflow pages, entries, root
_NODE = struct.Struct("<HHHH")  # size or child's number (low, high), flags (or its highest part), size of the key
_EMPTY = (1 << 64) - 1  # root of a tree without entries
_DEEPEST, _MOST = 32, 1 << 24  # levels and entries
_PAGE_SIZES = [1 << power for power in range(9, 17)]


class LmdbFile:
    """The entries of FOLDER/data.mdb. Use as a context manager. Raises LayoutError with the file and what is wrong."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "data.mdb"
        try:
            with self.path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is empty"
            raise LayoutError(f"{self.path} cannot be read: {reason}") from error
        try:
            self._page_size, self._root, self._entries = self._newest()
        except LayoutError:
            self._data.close()
            raise

    def __enter__(self) -> LmdbFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._data.close()

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values, in the order of the keys."""
        if self._root == _EMPTY:
            return
        found = 0
        for entry in self._walk(self._root, 0):
            found += 1
            if found > self._entries:
                break
            yield entry
        if found != self._entries:
            raise self._damaged(f"it has other than the {self._entries} entries it claims")

    def _newest(self) -> tuple[int, int, int]:
        """Page size, root and number of entries, from the later of two headers that may be whole."""
        found = []
        size = self._header(0)[0]
        for place in (0, size):
            found.append(self._header(place))
        size, root, entries, _ = max(found, key=lambda header: header[3])
        return size, root, entries

    def _header(self, place: int) -> tuple[int, int, int, int]:
        """Page size, root, entries, transaction."""
        start = place + _PAGE.size
        try:
            magic, version, _, _ = _HEADER.unpack_from(self._data, start)
            size = _TREE.unpack_from(self._data, start + _HEADER.size)[0]
            *_, entries, root = _TREE.unpack_from(self._data, start + _HEADER.size + _TREE.size)
            _, transaction = struct.unpack_from("<QQ", self._data, start + _HEADER.size + 2 * _TREE.size)
        except struct.error as error:
            raise self._damaged("it ends within its headers") from error
        if magic != _MAGIC or version != _VERSION:
            raise LayoutError(f"{self.path} is no LMDB file that was written on a 64-bit little-endian machine")
        if size not in _PAGE_SIZES or entries > _MOST:
            raise self._damaged(f"its header claims pages of {size} bytes and {entries} entries")
        return size, root, entries, transaction

    def _walk(self, number: int, depth: int) -> Iterator[tuple[bytes, bytes]]:
        if depth > _DEEPEST:
            raise self._damaged("its tree has a loop")
        page = self._pages(number, 1)
        _, _, flags, lower, upper = _PAGE.unpack_from(page)
        if not _PAGE.size <= lower <= upper <= len(page) or not flags & (_BRANCH | _LEAF):
            raise self._damaged(f"page {number} is no page of a tree")
        for place in struct.unpack_from(f"<{(lower - _PAGE.size) // 2}H", page, _PAGE.size):
            if not lower <= place <= len(page) - _NODE.size:
                raise self._damaged(f"page {number} points outside of itself")
            low, high, kind, key_size = _NODE.unpack_from(page, place)
            start = place + _NODE.size + key_size
            if flags & _BRANCH:
                yield from self._walk(low | high << 16 | kind << 32, depth + 1)
                continue
            size = low | high << 16
            end = start + (8 if kind & _BIG else size)
            if kind & _OTHER or end > len(page):
                raise self._damaged(f"page {number} holds an entry that does not fit")
            value = page[start:end]
            if kind & _BIG:
                value = self._overflow(struct.unpack("<Q", value)[0], size)
            yield page[place + _NODE.size : start], value

    def _overflow(self, number: int, size: int) -> bytes:
        pages = -(-(size + _PAGE.size) // self._page_size)
        data = self._pages(number, pages)
        if not _PAGE.unpack_from(data)[2] & _OVERFLOW:
            raise self._damaged(f"page {number} is no overflow page")
        return data[_PAGE.size : _PAGE.size + size]

    def _pages(self, number: int, count: int) -> bytes:
        start, end = number * self._page_size, (number + count) * self._page_size
        if number < 2 or end > len(self._data):
            raise self._damaged(f"it points to page {number}, and has {len(self._data) // self._page_size}")
        return self._data[start:end]

    def _damaged(self, reason: str) -> LayoutError:
        return LayoutError(f"{self.path} is damaged: {reason}; copy or make the database again")
