"""The cache on disk: what is found is what was put there, and whatever is wrong with it, a run goes on."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from torch_loss_parity.processes import disk_cache
from torch_loss_parity.processes.disk_cache import FILE, NAME, DiskCache, folder_of_the_user

KEYS = [bytes([number]) * 32 for number in range(64)]
ANOTHER = """
import sys
from pathlib import Path
from torch_loss_parity.processes.disk_cache import DiskCache
cache = DiskCache(Path(sys.argv[1]))
for number in range(64):
    cache.put(bytes([number]) * 32, bytes([number]) * 1000)
    cache.write()
assert not cache.trouble, cache.trouble
"""


def filled(folder: Path, size: int = 100, most: int = disk_cache.MOST) -> DiskCache:
    """With an entry for each key, written and closed, and opened again."""
    cache = DiskCache(folder, most=most)
    for key in KEYS:
        cache.put(key, key[:1] * size)
    cache.close()
    assert not cache.trouble
    return DiskCache(folder, most=most)


def there(cache: DiskCache) -> list[int]:
    return [key[0] for key in KEYS if cache.get(key) is not None]


def test_what_is_found_is_what_was_put_there(tmp_path: Path) -> None:
    cache = filled(tmp_path / "a" / "b")
    assert [cache.get(key) for key in KEYS] == [key[:1] * 100 for key in KEYS]
    assert cache.get(b"\xff" * 32) is None
    assert (cache.found, cache.missed) == (64, 1)
    # The database finds it by the first eight bytes of the key: all of them count.
    assert cache.get(KEYS[1][:8] + KEYS[2][:24]) is None
    cache.put(KEYS[0], b"")
    assert cache.get(KEYS[0]) == b"", "what is not written yet is there"
    cache.close()
    assert cache.get(KEYS[0]) is None
    cache.put(KEYS[0], b"closed")
    cache.write()


def test_the_oldest_go_first_and_the_file_stays_below_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, now = 2**21, [0]
    monkeypatch.setattr(disk_cache, "_now", lambda: now[0])
    filled(tmp_path, 16_000, most).close()  # half of it
    now[0] += 2 * disk_cache.AGES
    cache = DiskCache(tmp_path, most=most)
    assert there(cache)[:10] == list(range(64))[:10]
    cache.close()
    for key in KEYS[:10]:
        cache.get(key)
    for begins in (64, 128, 192):
        now[0] += 2 * disk_cache.AGES
        cache = DiskCache(tmp_path, most=most)
        used = [cache.get(key) for key in KEYS[:10]]
        assert None not in used, "what is asked for again and again stays"
        cache.write()
        for number in range(begins, begins + 48):
            cache.put(bytes([number]) * 32, b"x" * 16_000)
        cache.close()
        assert not cache.trouble
        assert (tmp_path / FILE).stat().st_size <= most
    cache = DiskCache(tmp_path, most=most)
    assert there(cache) == list(range(10))


def test_a_run_that_needs_more_than_there_is_room_for_keeps_the_first_part(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, most=2**20)
    for number in range(100):
        cache.put(bytes([number]) * 32, b"x" * 16_000)
        cache.write()
    assert not cache.trouble
    cache.close()
    kept = there(DiskCache(tmp_path, most=2**20))
    assert kept == list(range(len(kept)))
    assert 30 < len(kept) < 64
    assert (tmp_path / FILE).stat().st_size <= 2**20


def test_an_entry_that_is_too_large_is_not_kept(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, most=2**20)
    cache.put(KEYS[0], b"x" * 2**18)
    assert cache.get(KEYS[0]) is None


@pytest.mark.parametrize("damage", ["a byte of an entry", "the middle", "everything", "a folder"])
def test_a_damaged_database_is_as_if_nothing_had_been_kept(tmp_path: Path, damage: str) -> None:
    filled(tmp_path, 5_000).close()
    path = tmp_path / FILE
    data = bytearray(path.read_bytes())
    if damage == "a byte of an entry":
        data[data.index(KEYS[7][:1] * 5_000) + 3_000] ^= 1
    elif damage == "the middle":
        data[2**14 : -(2**14)] = b"\x5a" * (len(data) - 2**15)
    else:
        data[:] = b"no database" * 1000
    path.unlink()
    path.mkdir() if damage == "a folder" else path.write_bytes(data)
    cache = DiskCache(tmp_path)
    for key in KEYS:
        assert cache.get(key) in (None, key[:1] * 5_000)
    assert cache.get(KEYS[7]) is None
    cache.put(KEYS[7], b"anew")
    cache.close()
    assert bool(cache.trouble) == (damage != "a byte of an entry")
    assert "\n" not in cache.trouble
    if damage != "a folder":
        assert there(filled(tmp_path)) == list(range(64)), "it begins anew"


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file" / "folder", Path("/proc/nowhere")):
        cache = DiskCache(folder)
        cache.put(KEYS[0], b"x")
        cache.close()
        assert str(folder) in cache.trouble


def test_what_cannot_be_written_any_more_can_still_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_cache, "PATIENCE", 0.01)
    filled(tmp_path).close()
    holder = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    cache = DiskCache(tmp_path)
    holder.execute("BEGIN IMMEDIATE")
    cache.put(b"\xff" * 32, b"x")
    cache.write()
    assert "locked" in cache.trouble
    assert there(cache) == list(range(64))
    holder.execute("ROLLBACK")
    holder.close()
    full = DiskCache(tmp_path)
    assert full._database is not None
    full._database.execute("PRAGMA max_page_count = 1")  # as large as it is
    for number in range(64, 128):
        full.put(bytes([number]) * 32, b"x" * 10_000)
    full.close()
    assert "full" in full.trouble
    assert there(DiskCache(tmp_path)) == list(range(64))


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ANOTHER, str(tmp_path)]
    with subprocess.Popen(command) as other:
        cache = DiskCache(tmp_path)
        for key in reversed(KEYS):
            cache.put(key, key[:1] * 1000)
            cache.write()
        assert other.wait(60) == 0
    assert not cache.trouble
    assert [DiskCache(tmp_path).get(key) for key in KEYS] == [key[:1] * 1000 for key in KEYS]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
def test_a_process_that_is_forked_leaves_it_alone(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    child = os.fork()
    if not child:
        cache.put(b"\xff" * 32, b"x")
        cache.write()
        os._exit(cache.get(KEYS[0]) is not None)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert there(cache) == list(range(64))


def test_where_the_platform_keeps_such_things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    absolute = str(tmp_path / "elsewhere")
    assert folder_of_the_user({}, "linux") == tmp_path / ".cache" / NAME
    assert folder_of_the_user({"XDG_CACHE_HOME": "relative"}, "linux") == tmp_path / ".cache" / NAME
    assert folder_of_the_user({"XDG_CACHE_HOME": absolute}, "linux") == Path(absolute) / NAME
    assert folder_of_the_user({}, "darwin") == tmp_path / "Library" / "Caches" / NAME
    assert folder_of_the_user({"LOCALAPPDATA": absolute}, "win32") == Path(absolute) / NAME / "Cache"
