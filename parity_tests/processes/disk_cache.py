"""A cache of bytes on disk, bounded, which several processes share: what is found is what was put there.

Note [A cache may be lost]
    Nothing depends on what is kept. A folder that cannot be written, a file that is damaged, a disk that is
    full, a database that another process holds: the cache goes on without, in this process, and `trouble`
    says why in a line. Nobody waits for it longer than `PATIENCE`. Every entry carries a checksum and the
    whole of its key, so that a flipped bit is an entry that is not there. Writes are not flushed to the
    device: what a power failure damages is thrown away by whoever notices.

Note [What goes first]
    A database of SQLite, at most so large: entries go that nobody has looked at for longest, and none that
    was put there since this process began. A run that needs more than there is room for keeps a part of it,
    the same one every time, and does not push out at its end what it needs at its beginning.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any
from zlib import crc32

NAME = "torch-loss-parity"
FILE = "kept-1.sqlite"  # the number is that of the schema
MOST = 2**30  # bytes
LARGEST = 2**25  # bytes of one entry
PATIENCE = 1.0  # seconds, for another process that writes
PENDING = 2**22  # bytes, or
MANY = 1000  # entries, or
SECONDS = 10.0  # worth, that are written together
AGES = 600_000  # milliseconds; how exactly it is known when an entry was last looked at
_PAGE = 2**14
_CHECK = 4  # bytes of the checksum
_ROOM = 0.1  # of the whole, which is made at once
_DAMAGED = ("malformed", "not a database")


def folder_of_the_user(variables: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Where programs keep what they can make again, by the custom of the platform."""
    if platform == "win32":
        local = variables.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / NAME / "Cache"
    if platform == "darwin":
        return Path.home() / "Library" / "Caches" / NAME
    given = Path(variables.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / NAME


class DiskCache:
    """Entries by their keys, in a folder; see the notes of this module.

    Parameters
    ----------
    folder : Path
    state : bytes
        Of at most 64 bytes: what all that is kept depends on. It is part of every key.
    most : int
        Bytes that it may take.

    Attributes
    ----------
    trouble : str
        Why nothing is read or written any more; empty where all is well.
    found, missed : int
        How many entries were asked for that were there, and that were not.
    """

    def __init__(self, folder: Path, state: bytes = b"", most: int = MOST) -> None:
        self.folder, self.state, self.most, self.trouble = folder, state, most, ""
        self.found = self.missed = 0
        self._new: dict[bytes, bytes] = {}  # not yet written
        self._size = 0  # of these
        self._old: list[int] = []  # found, and not looked at for long
        self._process, self._began = os.getpid(), _now()
        self._written = time.monotonic()
        self._database: sqlite3.Connection | None = None
        self._writes = True
        self._there: set[int] = set()  # since this process began: to look for what is not there costs as much
        with self._going_on_without():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._database = self._opened()
            self._there.update(number for (number,) in self._database.execute("SELECT key FROM kept"))

    def _opened(self) -> sqlite3.Connection:
        database = sqlite3.connect(
            self.folder / FILE, timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )
        database.execute(f"PRAGMA page_size = {_PAGE}")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = OFF")
        database.execute(f"PRAGMA journal_size_limit = {PENDING}")
        database.execute(f"PRAGMA max_page_count = {max(self.most // _PAGE, 8)}")
        database.execute(
            "CREATE TABLE IF NOT EXISTS kept (key INTEGER PRIMARY KEY, used INTEGER, entry BLOB)"
        )
        database.execute("CREATE INDEX IF NOT EXISTS by_use ON kept (used)")
        return database

    @property
    def is_open(self) -> bool:
        """Whether there is anything to ask; not in a process that was forked from the one that opened it."""
        return self._database is not None and os.getpid() == self._process

    @property
    def size(self) -> int:
        """Bytes that are in use; 0 where that is not known."""
        with suppress(sqlite3.Error):
            if self._database is not None:
                pages, free = (
                    self._database.execute(f"PRAGMA {name}").fetchone()[0]
                    for name in ("page_count", "freelist_count")
                )
                return int(pages - free) * _PAGE
        return 0

    def get(self, key: bytes) -> bytes | None:
        """What was put there under a key of at least 16 bytes; None where it is not there."""
        if not self.is_open:
            return None
        if (entry := self._new.get(key)) is None:
            entry = self._read(key)
        if entry is None:
            self.missed += 1
        else:
            self.found += 1
        return entry

    def _read(self, key: bytes) -> bytes | None:
        row = None
        if _number(key) not in self._there:
            return None
        with self._going_on_without():
            assert self._database is not None
            row = self._database.execute(
                "SELECT used, entry FROM kept WHERE key = ?", (_number(key),)
            ).fetchone()
        if row is None:
            return None
        used, entry = row
        start = _CHECK + len(key) - 8
        if not isinstance(entry, bytes) or entry[:start] != _check(key, entry[start:]):
            return None
        if used < self._began - AGES:
            self._old.append(_number(key))
        return entry[start:]

    def put(self, key: bytes, entry: bytes) -> None:
        """Keep an entry, unless it is too large."""
        if not (self.is_open and self._writes) or len(entry) > min(LARGEST, self.most // 8):
            return
        self._new[key] = entry
        self._size += len(entry)
        if self._size >= PENDING or len(self._new) >= MANY or time.monotonic() > self._written + SECONDS:
            self.write()

    def write(self) -> None:
        """Write what was put there since the last time."""
        if not self.is_open:
            return
        new, old, self._new, self._size, self._old = self._new, self._old, {}, 0, []
        self._written = time.monotonic()
        if self._writes and (new or old):
            rows = [(_number(key), self._began, _check(key, entry) + entry) for key, entry in new.items()]
            with self._going_on_without(reads=True):
                self._make_room(sum(len(entry) for *_, entry in rows))
                with self._transaction() as database:
                    database.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", rows)
                    self._there.update(number for number, *_ in rows)
                    used = [(self._began, number) for number in old]
                    database.executemany("UPDATE kept SET used = ? WHERE key = ?", used)

    def _make_room(self, more: int) -> None:
        """So that ``more`` bytes fit in, with what they take besides."""
        excess = self.size + more * 1.1 + 8 * _PAGE - self.most
        if excess <= 0:
            return
        assert self._database is not None
        rows = self._database.execute(
            "SELECT key, length(entry) FROM kept WHERE used < ? ORDER BY used", (self._began,)
        )
        gone, freed = [], 0
        for key, size in rows:
            gone.append((key,))
            freed += size
            if freed >= excess + self.most * _ROOM:
                break
        rows.close()
        with self._transaction() as database:
            database.executemany("DELETE FROM kept WHERE key = ?", gone)
        if freed < excess:
            self._writes = False  # all that is there is of this run

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        assert self._database is not None
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
            self._database.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Write what is left, and let go of the files."""
        self.write()
        if self.is_open:
            self._let_go()

    def _let_go(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with suppress(sqlite3.Error):
                database.close()

    @contextmanager
    def _going_on_without(self, *, reads: bool = False) -> Iterator[None]:
        """See Note [A cache may be lost]; what cannot be written, but is whole, can still be read."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self.trouble = f"{self.folder}: {error}"
            damaged = any(words in str(error) for words in _DAMAGED)
            if reads and not damaged:
                self._writes = False
                return
            self._let_go()
            if damaged:
                self.trouble += "; it begins anew with the next run"
                for suffix in ("", "-wal", "-shm"):
                    with suppress(OSError):
                        (self.folder / f"{FILE}{suffix}").unlink()


def _now() -> int:
    return time.time_ns() // 10**6


def _number(key: bytes) -> int:
    """By which the database finds an entry: the first half of its key."""
    return int.from_bytes(key[:8], "little", signed=True)


def _check(key: bytes, entry: bytes) -> bytes:
    """What stands before an entry: the rest of its key, and a checksum."""
    return key[8:] + crc32(entry).to_bytes(_CHECK, "little")


_current: list[DiskCache] = []


def current() -> DiskCache | None:
    """The one that this process uses, if any."""
    return _current[-1] if _current else None


def use(cache: DiskCache | None) -> None:
    """Use a cache, or none, from now on."""
    _current[:] = [] if cache is None else [cache]


def kept(value: str, make: Callable[[], Any]) -> Any:
    """What ``make`` returns, which JSON can hold and which follows from ``value``: from the cache that is in
    use, if it is there.
    """
    cache = current()
    if cache is None or not cache.is_open:
        return make()
    key = blake2b(value.encode(), digest_size=32, key=cache.state).digest()
    if (entry := cache.get(key)) is None:
        cache.put(key, entry := json.dumps(make()).encode())
    return json.loads(entry)
