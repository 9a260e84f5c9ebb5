"""What tests stand on: ports of one's own, processes that stand still, waiting that ends when nothing can come."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.servers.collector import collecting
from tests.servers.frozen import freeze, is_frozen, thaw
from tests.servers.ports import BLOCK, CHOSEN_FROM, LOWEST, free_port, free_ports
from tests.servers.waiting import until


def test_no_port_is_given_twice_nor_chosen_by_the_kernel() -> None:
    near = free_ports(3)
    assert near == list(range(near[0], near[0] + 3))
    ports = [*near, free_port(), *free_ports(2)]
    assert len(set(ports)) == 6
    chosen_from = int(CHOSEN_FROM.read_text().split()[0])
    assert max(ports) < chosen_from or chosen_from < 10_200


def test_a_port_that_a_stranger_has_is_left_out() -> None:
    first = free_port()
    while (first - LOWEST) % BLOCK != 50:
        first = free_port()
    with socket.create_server(("127.0.0.1", first)):
        assert first not in {free_port() for _ in range(BLOCK)}


def test_another_process_has_other_ports() -> None:
    mine = {free_port() for _ in range(BLOCK)}
    asked = "from tests.servers.ports import *; print(*{free_port() for _ in range(BLOCK)})"
    told = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not mine & set(map(int, told.split()))


THREADS = """
import threading
def run():
    while True: pass
for _ in range(3): threading.Thread(target=run, daemon=True).start()
print(flush=True)
run()
"""


def test_what_is_frozen_stands_still_with_all_its_threads() -> None:
    with subprocess.Popen([sys.executable, "-c", THREADS], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(20):
            freeze(process.pid)
            assert is_frozen(process.pid)
            thaw(process.pid)
        process.kill()


async def test_waiting_ends_with_its_words_when_a_collector_has_ended(tmp_path: Path) -> None:
    async with collecting({"rest": "http://127.0.0.1:1"}, tmp_path, "no-such-product") as collector:
        with pytest.raises(AssertionError, match="is not a product"):
            await until(lambda: False)
        assert collector.has_ended
