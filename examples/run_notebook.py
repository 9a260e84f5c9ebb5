"""Run research.ipynb on a minute and a half of a simulated market with faults, and keep its outputs:
``python examples/run_notebook.py``. It needs no internet, but ``sentinel-ws[plot,pandas]``, nbclient and ipykernel.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

from sentinel.testing import Fault, SimulatedExchange

NOTEBOOK = Path(__file__).with_name("research.ipynb")
PRODUCTS = ["BTC-USD", "ETH-USD"]
COLLECTED_S = 90.0


def main() -> None:
    faults = [
        Fault(kind="drop", at_s=30, channel="l2_data", product="BTC-USD"),
        Fault(kind="hide", at_s=45, count=4, product="BTC-USD"),
    ]
    with (
        TemporaryDirectory() as folder,
        SimulatedExchange(*PRODUCTS, faults=faults, rate=40, trade_rate=8) as exchange,
    ):
        command = [sys.executable, "-m", "sentinel", "collect", *PRODUCTS, "--data-dir", "data"]
        with subprocess.Popen(command, cwd=folder, env=os.environ | exchange.environment) as collector:
            time.sleep(COLLECTED_S)
            collector.send_signal(signal.SIGINT)
        os.environ["SENTINEL_DATA_DIR"] = "data"
        notebook = nbformat.read(NOTEBOOK, 4)
        NotebookClient(notebook, record_timing=False, resources={"metadata": {"path": folder}}).execute()
    notebook.metadata.pop("language_info")
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
