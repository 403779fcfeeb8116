"""Read the configuration: names of repositories, and what answers must be. A site has a file, and a user another one.

A file has up to two tables::

    [repositories]
    real = "/path/of/the/real/repository"
    other = "s3://bucket/path/of/another"

    [answers]
    max_age = "2d"             # older pedestals are not an answer
    same_experiment = true     # nor are those of another experiment
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from jfstore.core.ages import parse_age
from jfstore.errors import BadValue, Failed

CONFIG = "config.toml"


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the files say.

    Attributes
    ----------
    repositories : mapping of str to str
        Path or URL of each named repository.
    max_age : int or None
        Greatest age in nanoseconds of an answer whose type changes by run; None if every age will do.
    same_experiment : bool
        Whether such an answer must be of the experiment of the run.
    """

    repositories: Mapping[str, str] = field(default_factory=dict)
    max_age: int | None = None
    same_experiment: bool = False


def read_configuration() -> Configuration:
    """Return the configuration of the site, changed by that of the user.

    Raises
    ------
    Failed
        If a file cannot be read or is not as it should be.
    """
    names: dict[str, str] = {}
    answers: dict[str, Any] = {}
    for directory in (platformdirs.site_config_dir("jfstore"), platformdirs.user_config_dir("jfstore")):
        path = Path(directory) / CONFIG
        config = _read_file(path)
        names.update(_read_names(config.pop("repositories", {}), path))
        answers.update(_read_answers(config.pop("answers", {}), path))
        if config:
            raise _odd(path)
    return Configuration(names, answers.get("max_age"), answers.get("same_experiment", False))


def _read_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise Failed(f"{path}: {error}") from None
    import tomllib  # slow to load, and seldom needed

    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise Failed(f"{path}: {error}") from None


def _read_names(names: Any, path: Path) -> dict[str, str]:
    if not isinstance(names, dict) or not all(isinstance(place, str) for place in names.values()):
        raise _odd(path)
    return names


def _read_answers(answers: Any, path: Path) -> dict[str, Any]:
    if not isinstance(answers, dict) or not answers.keys() <= {"max_age", "same_experiment"}:
        raise _odd(path)
    found = dict(answers)
    if type(found.get("same_experiment", False)) is not bool:
        raise Failed(f"{path}: same_experiment is true or false")
    if "max_age" in found:
        try:
            found["max_age"] = parse_age(found["max_age"])
        except BadValue as error:
            raise Failed(f"{path}: {error.message}") from None
    return found


def _odd(path: Path) -> Failed:
    return Failed(
        f'{path}: expected one table [repositories] of names and paths, such as other = "/data/jf", '
        "and perhaps one [answers] with max_age and same_experiment"
    )
