"""Entry points of the programs; they load nothing, so that Ctrl-C is handled from the first milliseconds on."""

import os
import sys
from importlib import import_module

TYPE_CHECKING = False  # the one of typing takes milliseconds to load, in which Ctrl-C is a traceback; so does signal
if TYPE_CHECKING:
    import signal as _signal
    from types import FrameType
else:
    import _signal

_INTERRUPTED = 128 + int(_signal.SIGINT)


def _start(program: str, module: str) -> int:
    """Import a program and run its `main` function; Ctrl-C ends it with one line and its exit code."""
    state = "loading"

    def interrupt(_number: int, _frame: "FrameType | None") -> None:
        nonlocal state
        if state == "loading":
            _say_interrupted(program)
            os._exit(_INTERRUPTED)
        state = "interrupted"
        raise KeyboardInterrupt

    # A background job of a shell script ignores Ctrl-C, and must not stop.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, interrupt)
    main = import_module(f"jfstore.cli.{module}").main
    try:
        state = "running"
        return int(main())
    except BaseException:
        # A library that Ctrl-C meets while it loads may raise anything.
        if state != "interrupted":
            raise
        _say_interrupted(program)
        return _INTERRUPTED


def _say_interrupted(program: str) -> None:
    print(f"{program}: interrupted", file=sys.stderr, flush=True)


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
