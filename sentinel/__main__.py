"""``python -m sentinel`` is ``sentinel-ws``, and this is where both begin: Ctrl-C is quiet from the first import on."""

import os


def main() -> None:
    """The console script."""
    try:
        from sentinel.cli import main as run

        run()
    except KeyboardInterrupt:
        os.write(2, b"Aborted!\n")
        os._exit(130)  # nothing is open yet, and what is half imported had better not be ended in order


if __name__ == "__main__":
    main()
