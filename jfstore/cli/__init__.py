"""Entry points of the programs. They load little, so that Ctrl-C is handled from the first milliseconds on."""

import os
import signal
import sys
from importlib import import_module
from types import FrameType


def _start(program: str, module: str) -> int:
    """Import the `main` function of a program and run it; Ctrl-C while modules load ends the program in one line."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        print(f"{program}: interrupted", file=sys.stderr, flush=True)
        os._exit(128 + signal.SIGINT)

    usual = signal.getsignal(signal.SIGINT)
    # A shell script's background job ignores Ctrl-C.
    if usual is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop)
    main = import_module(f"jfstore.cli.{module}").main
    try:
        signal.signal(signal.SIGINT, usual)
        return int(main())
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def run_jfstore() -> int:
    """Run ``jfstore``."""
    return _start("jfstore", "app")


def run_jungfrau_id() -> int:
    """Run ``jungfrau_id``."""
    return _start("jungfrau_id", "programs.jungfrau_id")


def run_event_keys() -> int:
    """Run ``event_keys``."""
    return _start("event_keys", "programs.event_keys")


def run_find_detector_runs() -> int:
    """Run ``find_detector_runs``."""
    return _start("find_detector_runs", "programs.find_detector_runs")


def run_jungfrau_gain_constants() -> int:
    """Run ``jungfrau_gain_constants``."""
    return _start("jungfrau_gain_constants", "programs.jungfrau_gain_constants")


def run_dcs() -> int:
    """Run ``dcs``."""
    return _start("dcs", "programs.dcs")
