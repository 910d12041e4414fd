"""Several workers are one server: one address, one set of metrics, no request lost when one dies or all stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.serving.conftest import ADMIN, CANDIDATES, CONTEXT, TOKEN, World, eventually
from tests.serving.test_cli import program, where

BODY = {"user_id": "u1", "context": CONTEXT, "candidates": CANDIDATES}
TWO = ("--workers", "2")


async def figures(address: str) -> dict[str, float]:
    """All samples of /metrics by name and label values, asked on a connection of its own."""
    async with httpx.AsyncClient(timeout=60) as client:
        text = (await client.get(f"{address}/metrics")).text
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def started(log: Path) -> dict[int, int]:
    """Pids of the newest worker at each place."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return {line["worker"]: line["pid"] for line in lines if line["message"] == "worker started"}


async def rank_anew(address: str) -> dict[str, Any]:
    """One ranking on a new connection, which any worker may take."""
    async with httpx.AsyncClient(timeout=60) as client:
        response = await client.post(f"{address}/rank", json=BODY)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer


def num_connections(pid: int) -> int:
    """Connections that callers have with a process."""
    found = psutil.Process(pid).net_connections(kind="tcp")
    return sum(connection.status == psutil.CONN_ESTABLISHED for connection in found)


async def test_one_page_of_metrics_counts_for_all_workers(world: World) -> None:
    async with program(world, *where(world), *TWO, RANKER_ADMIN_TOKEN=TOKEN) as (_, address, log):
        answers = await asyncio.gather(*(rank_anew(address) for _ in range(24)))
        assert all(answer["ranking"] == answers[0]["ranking"] for answer in answers)
        before = await figures(address)
        assert before["ranker_rankings_total"] == 24

        async def both_live() -> bool:
            return (await figures(address)).get("ranker_model_info v1") == 2

        await eventually(both_live)
        os.kill(started(log)[0], signal.SIGKILL)

        async def replaced() -> bool:
            return len([line for line in log.read_text().splitlines() if "worker started" in line]) == 3

        await eventually(replaced)
        await asyncio.gather(*(rank_anew(address) for _ in range(6)))
        await eventually(both_live)
        assert (await figures(address))["ranker_rankings_total"] == 30  # what the dead one had counted is not lost


async def test_every_worker_takes_over_a_new_model(world: World) -> None:
    async with program(world, *where(world), *TWO, RANKER_ADMIN_TOKEN=TOKEN) as (_, address, log):
        await asyncio.to_thread(world.publish, "v2", 2, activate=False)
        async with httpx.AsyncClient(timeout=60) as client:
            response = await client.post(f"{address}/admin/models/v2/activate", headers=ADMIN)
            assert response.status_code == 200, response.text

        async def all_swapped() -> bool:
            found = await figures(address)
            return (found.get("ranker_model_info v1"), found.get("ranker_model_info v2")) == (0, 2)

        await eventually(all_swapped)
        os.kill(started(log)[1], signal.SIGKILL)  # what replaces it was forked from a process that only knows v1
        await eventually(all_swapped)
        assert {(await rank_anew(address))["model_version"] for _ in range(12)} == {"v2"}


def told(log: Path, *messages: str) -> list[dict[str, Any]]:
    """Lines of a log, in the order in which they were written; one that is being written is left out."""
    *whole, _ = log.read_text().split("\n")
    return [line for line in map(json.loads, whole) if line["message"] in messages]


async def test_workers_make_a_new_model_ready_one_after_the_other(world: World) -> None:
    async with program(world, *where(world), "--workers", "3", RANKER_POLL_SECONDS="0.05") as (_, address, log):
        await asyncio.to_thread(world.publish, "v2", 2)  # which all of them see at the same moment

        async def all_live() -> bool:
            return (await figures(address)).get("ranker_model_info v2") == 3

        await eventually(all_live)
        steps = told(log, "making a model ready", "model is ready")
        begun, ended = steps[::2], steps[1::2]
        assert {line["message"] for line in begun} == {"making a model ready"}
        assert [line["pid"] for line in begun] == [line["pid"] for line in ended]
        assert {line["pid"] for line in begun} == set(started(log).values())


async def test_a_worker_that_dies_while_it_takes_over_holds_up_no_other(world: World) -> None:
    async with program(world, *where(world), *TWO, RANKER_POLL_SECONDS="0.05") as (_, address, log):
        await asyncio.to_thread(world.publish, "v2", 2)

        async def begun() -> bool:
            return bool(told(log, "making a model ready"))

        await eventually(begun)
        os.kill(told(log, "making a model ready")[0]["pid"], signal.SIGKILL)

        async def both_live() -> bool:
            return (await figures(address)).get("ranker_model_info v2") == 2  # the other, and the one in its place

        await eventually(both_live)
        assert (await rank_anew(address))["model_version"] == "v2"


async def test_nobody_is_left_without_an_answer_when_it_stops(world: World) -> None:
    async with program(world, *where(world), *TWO, "--drain-delay-seconds", "0.3") as (server, address, log):
        outcomes: list[str] = []
        stop = asyncio.Event()

        async def caller() -> None:
            async with httpx.AsyncClient(timeout=60) as client:
                while not stop.is_set():
                    try:
                        response = await client.post(f"{address}/rank", json=BODY)
                    except httpx.ConnectError:
                        outcomes.append("not accepted")
                        await asyncio.sleep(0.02)
                    else:
                        outcomes.append(str(response.status_code))

        callers = [asyncio.create_task(caller()) for _ in range(6)]

        async def busy() -> bool:
            return len(outcomes) > 60

        await eventually(busy)
        for pid in (server.pid, *started(log).values()):  # as a service manager does, which knows all of them
            os.kill(pid, signal.SIGTERM)

        async def draining() -> bool:
            async with httpx.AsyncClient(timeout=60) as client:
                try:
                    return (await client.get(f"{address}/readyz")).status_code == 503
                except httpx.ConnectError:
                    return True

        await eventually(draining)
        assert await asyncio.to_thread(server.wait, 60) == 0
        stop.set()
        await asyncio.gather(*callers)  # any other error of a caller is raised here
        assert set(outcomes) <= {"200", "not accepted"}
        assert not any("traceback" in json.loads(line) for line in log.read_text().splitlines())


async def test_no_worker_takes_all_connections_that_wait(world: World) -> None:
    async with program(world, *where(world), *TWO) as (_, address, log):
        pids = [*started(log).values()]
        host, port = httpx.URL(address).host, httpx.URL(address).port
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        writers = [(await asyncio.open_connection(host, port))[1] for _ in range(60)]
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

        async def all_accepted() -> bool:
            return sum(map(num_connections, pids)) >= len(writers)

        await eventually(all_accepted)
        assert min(map(num_connections, pids)) >= 5
        for writer in writers:
            writer.close()


async def test_a_port_that_is_taken_is_said_once(world: World) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = ["-m", "serving.cli", "run", *where(world), *TWO, "--port", port]
        process = await asyncio.create_subprocess_exec(sys.executable, *command, stderr=asyncio.subprocess.PIPE)
        _, told = await process.communicate()
        assert process.returncode == 2
        assert f"port {port}" in told.decode()
