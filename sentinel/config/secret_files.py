"""Files with secrets in them that more people can read than should."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from sentinel.config import Config, Section, bare_types, is_secret_file

MOUNTED = Path("/run/secrets")
"""Where container platforms put what one container may read: whoever is in there is one user."""


def open_to_all(config: Config, sources: Iterable[tuple[Path, Mapping[str, Any]]]) -> list[Path]:
    """Those of the files that everybody on this machine can read: files that a setting names as those of a secret, and
    of ``sources``, files with settings and what they set, those that set one."""
    named = [*_named(config), *(path for path, given in sources if _sets_a_secret(type(config), given))]
    return [path for path in dict.fromkeys(named) if MOUNTED not in path.absolute().parents and _is_open(path)]


def _named(section: Section) -> Iterator[Path]:
    for name, value in section:
        if isinstance(value, Section):
            yield from _named(value)
        elif isinstance(value, Path) and is_secret_file(type(section), name):
            yield value


def _sets_a_secret(section: type[Section], given: Mapping[str, Any]) -> bool:
    for name, value in given.items():
        field = section.model_fields.get(name)
        if field is None:
            continue
        if isinstance(value, Mapping):
            if isinstance(field.annotation, type) and _sets_a_secret(field.annotation, value):
                return True
        elif SecretStr in bare_types(field.annotation):
            return True
    return False


def _is_open(path: Path) -> bool:
    """Whether its mode lets others read it, and those of its folders let them in."""
    if os.name != "posix":
        return False
    try:
        path = path.resolve(strict=True)
        return bool(path.stat().st_mode & stat.S_IROTH) and all(map(_lets_in, path.parents))
    except OSError:  # it was read a moment ago
        return False


def _lets_in(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)
