"""What can happen to a server: to its processes, its stores, its disk, its clock and its callers."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.support.fault_scene import Fault, Scene

_OUTAGE_SECONDS = 3.0
_SHIFT = Path(__file__).with_name("clock_shift.c")
_NUM_LORISES, _NUM_HUGE, _HUGE_BYTES = 300, 16, 100_000_000
_HEAD = b"POST /rank HTTP/1.1\r\nHost: here\r\n"


async def _kill_a_worker(scene: Scene) -> str:
    os.kill(scene.workers.pids()[0], signal.SIGKILL)
    return ""


async def _redis_is_stopped(scene: Scene) -> str:
    await asyncio.to_thread(scene.redis.stop)
    await asyncio.sleep(_OUTAGE_SECONDS)
    await asyncio.to_thread(scene.redis.start)
    return f"away for {_OUTAGE_SECONDS:g} s"


async def _redis_is_restarted(scene: Scene) -> str:
    await asyncio.to_thread(scene.redis.stop)
    await asyncio.to_thread(scene.redis.start)
    return ""


async def _redis_hangs(scene: Scene) -> str:
    scene.redis.pause()
    await asyncio.sleep(_OUTAGE_SECONDS)
    scene.redis.resume()
    return f"for {_OUTAGE_SECONDS:g} s"


async def _lmdb_is_replaced(scene: Scene) -> str:
    features = scene.shop.folder / "features"
    await asyncio.to_thread(shutil.copytree, features, features.with_name("new"))
    features.rename(features.with_name("old"))
    features.with_name("new").rename(features)
    await asyncio.sleep(1.0)
    await asyncio.to_thread(shutil.rmtree, features.with_name("old"))
    return "by a copy"


async def _disk_fills(scene: Scene) -> str:
    log = scene.shop.folder.parent / "log"
    filler = log / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(b"x" * 4096)
            file.flush()
    await asyncio.sleep(_OUTAGE_SECONDS)
    failed = sum(line["message"] == "request log cannot be written" for line in scene.workers.lines())
    filler.unlink()
    return f"{failed} writes of the request log failed and were made up for"


def _small_disk(folder: Path) -> Mapping[str, str]:
    """A disk of two megabytes under the request log."""
    log = folder / "log"
    log.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(log)], check=True)
    return {"RANKER_REQUEST_LOG__PATH": str(log), "RANKER_REQUEST_LOG__FLUSH_SECONDS": "0.5"}


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder / "log")], check=True)


def _no_mount() -> str | None:
    """Whether a small disk can be had here."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
            return "needs root, to mount a small disk"
        subprocess.run(["umount", folder], check=True)
    return None


async def _clock_jumps(scene: Scene) -> str:
    seconds = scene.shop.folder.parent / "shift"
    for shift in (3_600, -3_600, 0):
        seconds.write_text(str(shift))
        await asyncio.sleep(1.5)
    return "an hour forth, two back, one forth"


def _own_clock(folder: Path) -> Mapping[str, str]:
    """A wall clock that the benchmark sets."""
    library = folder / "clock_shift.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(_SHIFT)], check=True)
    (folder / "shift").write_text("0")
    return {"LD_PRELOAD": str(library), "CLOCK_SHIFT_FILE": str(folder / "shift")}


def _no_compiler() -> str | None:
    return None if shutil.which("cc") else "needs a C compiler, for a clock of its own"


async def _bad_bundle(scene: Scene) -> str:
    registry = scene.shop.registry
    good = registry.current()
    bad = next(version for version in scene.shop.versions if version != good)
    model = registry.path(bad) / "model.pt"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    pointer = scene.shop.folder / "registry" / "current.json"
    said = pointer.read_text()
    pointer.write_text(said.replace(f'"version": "{good}"', f'"version": "{bad}"'))  # `activate` would refuse
    await asyncio.sleep(_OUTAGE_SECONDS)
    refused = sum(line["message"] == "bundle refused" for line in scene.workers.lines())
    pointer.write_text(said)
    return f"refused by {refused} workers"


async def _slow_callers(scene: Scene) -> str:
    async def loris() -> bool:
        reader, writer = await _connect(scene)
        for byte in _HEAD * 20:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.2)
            if reader.at_eof() or writer.is_closing():
                return True
        return False

    closed = await asyncio.gather(*(loris() for _ in range(_NUM_LORISES)))
    return f"{sum(closed)} of {_NUM_LORISES} connections were closed"


async def _huge_bodies(scene: Scene) -> str:
    async def huge(announced: bool) -> tuple[bytes, int]:
        reader, writer = await _connect(scene)
        framing = f"Content-Length: {_HUGE_BYTES}\r\n\r\n" if announced else "Transfer-Encoding: chunked\r\n\r\n"
        writer.write(_HEAD + framing.encode())
        sent, piece = 0, b" " * 65_536
        framed = piece if announced else b"%x\r\n%b\r\n" % (len(piece), piece)
        heard = asyncio.create_task(reader.readline())
        with suppress(ConnectionError):
            while sent < _HUGE_BYTES and not heard.done():
                writer.write(framed)
                await writer.drain()
                await asyncio.sleep(0)
                sent += len(piece)
        answers = await asyncio.gather(heard, return_exceptions=True)
        writer.close()
        return (answers[0] if isinstance(answers[0], bytes) else b""), sent

    before = scene.workers.private_megabytes()
    results = await asyncio.gather(*(huge(n % 2 == 0) for n in range(_NUM_HUGE)))
    refused = sum(heard.startswith(b"HTTP/1.1 413") for heard, _ in results)
    taken = max(sent for _, sent in results) / 1e6
    grown = scene.workers.private_megabytes() - before
    return f"{refused} of {_NUM_HUGE} heard 413, after {taken:.1f} MB at most; memory grew by {grown:.0f} MB"


async def _sigterm(scene: Scene) -> str:
    code = await asyncio.to_thread(scene.workers.stop)
    return f"exit code {code}; what is abnormal here was not accepted any more"


async def _connect(scene: Scene) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(scene.workers.url)
    return await asyncio.open_connection(parts.hostname, parts.port)


FAULTS = (
    Fault("worker killed (kill -9)", _kill_a_worker),
    Fault("redis stopped and started", _redis_is_stopped, redis=True),
    Fault("redis restarted", _redis_is_restarted, redis=True),
    Fault("redis hangs (SIGSTOP)", _redis_hangs, redis=True),
    Fault("lmdb files replaced", _lmdb_is_replaced),
    Fault("disk of the request log full", _disk_fills, environment=_small_disk, clean_up=_unmount, obstacle=_no_mount),
    Fault("clock jumps", _clock_jumps, environment=_own_clock, obstacle=_no_compiler),
    Fault("bad bundle made current", _bad_bundle),
    Fault(
        f"{_NUM_LORISES} slow-loris connections",
        _slow_callers,
        environment=lambda _: {"RANKER_LIMITS__HEAD_TIMEOUT_SECONDS": "2"},
    ),
    Fault(f"{_NUM_HUGE} bodies of 100 MB at once", _huge_bodies),
    Fault("SIGTERM", _sigterm, settle_seconds=1.0),
)
