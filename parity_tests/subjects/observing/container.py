"""The file that plans and observations are kept in: an npz, written as it goes.

Note [The file]
    It is a zip, as an ``.npz`` is, of these members:

        header.json          what it is, its version, and what it is about
        00001/float32.npy    numbers, one after the other: those of all arrays of the part in this dtype
        00001/records.json   {"records": [...], "arrays": {digest: [stored, offset, shape, dtype]}}
        00002/...
        end.json             how it ended

    A part is whole when its ``records.json`` is there. Arrays are stored once, in the narrowest dtype that
    holds all of their bits, and named by their digests; a part names arrays of its own and of earlier ones.
    The directory of a zip is written last: of a file that was cut short the members are found one by one.
"""

from __future__ import annotations

import io
import json
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from torch_loss_parity.subjects.observing.encoding import digest_of, narrowest

VERSION = 1
HEADER, END, RECORDS = "header.json", "end.json", "records.json"
# A part is written when it has as many records, is as old, or its arrays are as large.
RECORDS_OF_A_PART, SECONDS, BYTES = 256, 2.0, 2**24
_LOCAL = struct.Struct("<4s5H3L2H")  # what stands before each member of a zip


class DamagedFile(ValueError):
    """A file that cannot be read; the message names it, and says what of it can be."""


class Writer:
    """A file that is written part by part; what is written stays, whatever becomes of the process.

    Parameters
    ----------
    header : mapping
        ``format`` says what kind of file it is.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self._file = path.open("wb")
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
        self._known: set[str] = set()
        self._pending: dict[str, np.ndarray] = {}
        self._records: list[Any] = []
        self._part, self._since, self._bytes = 0, time.monotonic(), 0
        self._write(HEADER, json.dumps({**header, "version": VERSION}).encode())

    def keep(self, array: np.ndarray) -> str:
        """Keep an array, once; its digest."""
        digest = digest_of(array)
        if digest not in self._known:
            self._known.add(digest)
            self._pending[digest] = array.copy()
            self._bytes += array.nbytes
        return digest

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record, whose arrays are kept."""
        self._records.append(record)
        old = time.monotonic() - self._since > SECONDS
        if old or len(self._records) >= RECORDS_OF_A_PART or self._bytes > BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is pending as a part."""
        if not self._records:
            return
        self._part += 1
        stored: dict[str, list[np.ndarray]] = {}
        sizes: dict[str, int] = {}
        index = {}
        for digest, array in self._pending.items():
            narrow = narrowest(array)
            offset = sizes.get(narrow.dtype.name, 0)
            index[digest] = [narrow.dtype.name, offset, array.shape, array.dtype.str]
            stored.setdefault(narrow.dtype.name, []).append(narrow.ravel())
            sizes[narrow.dtype.name] = offset + narrow.size
        for dtype, arrays in stored.items():
            content = io.BytesIO()
            np.save(content, np.concatenate(arrays))
            self._write(f"{self._part:05}/{dtype}.npy", content.getvalue())
        records = {"records": self._records, "arrays": index}
        self._write(f"{self._part:05}/{RECORDS}", json.dumps(records, separators=(",", ":")).encode())
        self._records, self._pending, self._bytes, self._since = [], {}, 0, time.monotonic()

    def close(self, end: Mapping[str, Any]) -> None:
        """Write what is pending, and how it ended."""
        self.flush()
        self._write(END, json.dumps(dict(end)).encode())
        self._zip.close()
        self._file.close()

    def _write(self, name: str, content: bytes) -> None:
        self._zip.writestr(name, content)
        self._file.flush()


class Reader:
    """A file that was written, as far as it was.

    Attributes
    ----------
    header, end : mapping
        ``end`` is empty where the file was cut short.
    records : list of mapping

    Raises
    ------
    DamagedFile
        If it is not there, is no such file, or is damaged.
    """

    def __init__(self, path: Path, format: str) -> None:
        self.path = path
        self._arrays: dict[str, tuple[np.ndarray, list[int], str]] = {}
        self.records: list[Any] = []
        self.header: dict[str, Any] = {}
        self.end: dict[str, Any] = {}
        parts = 0
        try:
            for name, content in self._members():
                if not self.header:
                    self._begin(name, content, format)
                elif name == END:
                    self.end = json.loads(content)
                elif name.endswith(f"/{RECORDS}"):
                    self._part(json.loads(content))
                    parts += 1
                else:
                    self._stored[name.rpartition("/")[2].removesuffix(".npy")] = np.load(io.BytesIO(content))
        except (OSError, zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError) as error:
            if isinstance(error, DamagedFile):
                raise
            if not isinstance(error, OSError) or self.header:
                read = f"{len(self.records)} records of {parts} whole parts before can be read"
                raise DamagedFile(f"{path} is damaged: {error}; {read}") from error
            raise DamagedFile(f"{path} cannot be read: {error.strerror or error}") from error
        if not self.header:
            raise DamagedFile(f"{path} is no file of a {format}: nothing of it can be read")

    def must_be_whole(self) -> None:
        """
        Raises
        ------
        DamagedFile
            If the file was cut short.
        """
        if not self.end:
            raise DamagedFile(f"{self.path} was cut short; {len(self.records)} records of it can be read")

    def load(self, digest: str) -> np.ndarray:
        """The array of a digest."""
        stored, (offset, *shape), dtype = self._arrays[digest]
        size = int(np.prod(shape, dtype=np.int64))
        return stored[offset : offset + size].astype(dtype).reshape(shape)

    def _begin(self, name: str, content: bytes, format: str) -> None:
        header = json.loads(content) if name == HEADER else {}
        if header.get("format") != format:
            what = f"a {header['format']}" if header.get("format") else "another kind of file"
            raise DamagedFile(f"{self.path} is no file of a {format}, it is {what}; nothing of it was read")
        if header["version"] != VERSION:
            version = f"version {header['version']} of the format"
            raise DamagedFile(f"{self.path} is of {version}, this package reads version {VERSION}")
        self.header = header
        self._stored: dict[str, np.ndarray] = {}

    def _part(self, part: Mapping[str, Any]) -> None:
        for digest, (stored, offset, shape, dtype) in part["arrays"].items():
            self._arrays[digest] = self._stored[stored], [offset, *shape], dtype
        self.records += part["records"]
        self._stored = {}

    def _members(self) -> Iterator[tuple[str, bytes]]:
        """The members in the order in which they were written."""
        if zipfile.is_zipfile(self.path):
            with zipfile.ZipFile(self.path) as archive:
                for name in archive.namelist():
                    yield name, archive.read(name)
        else:
            yield from _cut_short(self.path)


def _cut_short(path: Path) -> Iterator[tuple[str, bytes]]:
    """The whole members of a zip without a directory."""
    with path.open("rb") as file:
        while len(head := file.read(_LOCAL.size)) == _LOCAL.size:
            mark, _, _, method, _, _, crc, packed, _, name, extra = _LOCAL.unpack(head)
            if mark != b"PK\x03\x04":
                return
            called = file.read(name).decode(errors="replace")
            file.read(extra)
            content = file.read(packed)
            if len(content) < packed or not crc:  # sizes are filled in when a member is whole
                return
            whole = zlib.decompress(content, -15) if method == zipfile.ZIP_DEFLATED else content
            if zlib.crc32(whole) != crc:
                raise zipfile.BadZipFile(f"the sum over {called} does not match")
            yield called, whole
