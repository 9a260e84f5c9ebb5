"""A folder of an object store, read as a folder of this machine is: ``s3://bucket/prefix``, ``file:///a/folder``.

What a store needs to be found is in the query of its URL: ``endpoint`` (``localhost:9000``), ``scheme`` (``http``),
``region``, and ``anonymous=true`` for a bucket that is open to all. Who is asking is in the environment, as every tool
for S3 has it: ``AWS_ACCESS_KEY_ID`` and so on, a profile, or the role of the machine. Nothing secret is in a URL, so
that it can be shown.

Stores at an ``endpoint`` are asked by path (``endpoint/bucket``), those of AWS by host.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache, total_ordering
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from uuid import uuid4

from sentinel.disk.files import make_folder, sync_folder
from sentinel.errors import UsageError

if TYPE_CHECKING:
    from pyarrow import fs

SCHEMES = ("s3", "file")
OPTIONS = frozenset({"endpoint", "scheme", "region", "anonymous"})
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
CONNECT_TIMEOUT_S = 10
REQUEST_TIMEOUT_S = 30
ATTEMPTS = 3
"""Of one request; who uploads has patience of its own."""


class Size(NamedTuple):
    """What ``ObjectPath.stat`` knows."""

    st_size: int


@total_ordering
class ObjectPath:
    """A path in an object store, with those of ``Path``'s methods that reading needs. Files are written by ``put``.

    Raises, in whatever asks the store:
        OSError: if the store cannot be reached, or refuses.
    """

    def __init__(self, files: fs.FileSystem, path: PurePosixPath, root_url: str, query: str = "") -> None:
        self.files = files
        self.path = path
        """With the bucket in front: as Arrow spells it."""
        self._root_url = root_url
        self._query = query

    @classmethod
    def of(cls, url: str) -> ObjectPath:
        """The folder at a URL.

        Raises:
            UsageError: for a URL that is none, or of a kind that is not known.
        """
        check_url(url)
        parts = urlsplit(url)
        path = unquote(parts.path)
        if parts.scheme == "file":
            return cls(_local(), PurePosixPath(path), "file://")
        options = dict(parse_qsl(parts.query))
        return cls(
            _s3(tuple(sorted(options.items()))), PurePosixPath(parts.netloc, path.strip("/")), "s3://", parts.query
        )

    # where it is

    def __str__(self) -> str:
        return self._root_url + quote(str(self.path), safe="/=:") + (f"?{self._query}" if self._query else "")

    def __repr__(self) -> str:
        return f"ObjectPath({str(self)!r})"

    def __truediv__(self, other: str | PurePath) -> ObjectPath:
        return self._at(self.path / other)

    def _at(self, path: PurePosixPath) -> ObjectPath:
        return ObjectPath(self.files, path, self._root_url, self._query)

    def _key(self) -> tuple[str, str, PurePosixPath]:
        return self._root_url, self._query, self.path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and self._key() == other._key()

    def __lt__(self, other: ObjectPath) -> bool:
        return self._key() < other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def stem(self) -> str:
        return self.path.stem

    @property
    def parent(self) -> ObjectPath:
        return self._at(self.path.parent)

    def relative_to(self, other: ObjectPath) -> PurePosixPath:
        return self.path.relative_to(other.path)

    def absolute(self) -> ObjectPath:
        return self

    # what is there

    def _info(self) -> fs.FileInfo:
        return self.files.get_file_info(str(self.path))

    def exists(self) -> bool:
        from pyarrow import fs

        return bool(self._info().type != fs.FileType.NotFound)

    def is_file(self) -> bool:
        return bool(self._info().is_file)

    def is_dir(self) -> bool:
        from pyarrow import fs

        return bool(self._info().type == fs.FileType.Directory)

    def stat(self) -> Size:
        """
        Raises:
            FileNotFoundError: if there is no such file.
        """
        info = self._info()
        if not info.is_file:
            raise FileNotFoundError(f"{self} is missing")
        return Size(info.size)

    def _list(self, folder: PurePosixPath, *, recursive: bool = False) -> list[fs.FileInfo]:
        from pyarrow import fs

        selector = fs.FileSelector(str(folder), allow_not_found=True, recursive=recursive)
        try:
            return sorted(self.files.get_file_info(selector), key=lambda info: str(info.path))
        except NotADirectoryError:
            return []

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """Everything of that pattern, whose names may have ``*`` in them. A folder is listed once, as it is reached."""
        found = [self.path]
        *folders, last = PurePosixPath(pattern).parts
        for part in folders:
            found = [below for path in found for below in self._matching(path, part)]
        for path in found:
            for below in self._matching(path, last):
                if "*" in last or self._at(below).exists():
                    yield self._at(below)

    def _matching(self, folder: PurePosixPath, part: str) -> list[PurePosixPath]:
        if "*" not in part:
            return [folder / part]
        return [PurePosixPath(info.path) for info in self._list(folder) if fnmatchcase(info.base_name, part)]

    def rglob(self, pattern: str) -> Iterator[ObjectPath]:
        """Every file and folder below whose name is of that pattern."""
        for info in self._list(self.path, recursive=True):
            if fnmatchcase(info.base_name, pattern):
                yield self._at(PurePosixPath(info.path))

    def sizes(self) -> dict[str, int]:
        """The files in this folder, and how large they are."""
        return {info.base_name: info.size for info in self._list(self.path) if info.is_file}

    # what is in it

    def open(self, mode: str = "rb") -> Any:
        """A file to be read."""
        assert mode == "rb"
        return self.files.open_input_file(str(self.path))

    def read_bytes(self) -> bytes:
        with self.files.open_input_stream(str(self.path)) as file:
            content: bytes = file.read()
            return content

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def put(self, content: Iterator[bytes]) -> None:
        """Makes it a file, which is there whole or not at all."""
        from pyarrow import fs

        if isinstance(self.files, fs.LocalFileSystem):
            _put_here(Path(self.path), content)
            return
        # an object store has no folders, and shows no object before it is whole
        with self.files.open_output_stream(str(self.path)) as file:
            for part in content:
                file.write(part)


def _put_here(path: Path, content: Iterator[bytes]) -> None:
    """What another writer of the same file has left half done is removed, be it still at it: then it fails."""
    make_folder(path.parent)
    for part in path.parent.glob(f".{path.name}.*.part"):
        part.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.part")
    with temporary.open("wb") as file:
        for piece in content:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


Folder: TypeAlias = Path | ObjectPath
"""Where data are read from."""

AnyFolder = TypeVar("AnyFolder", Path, ObjectPath, Path | ObjectPath)


def check_url(url: str) -> None:
    """
    Raises:
        UsageError: for a URL that is none, or of a kind that is not known.
    """
    parts = urlsplit(url)
    options = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if parts.scheme not in SCHEMES:
        raise UsageError(f"{_shown(url)}: an object store is {' or '.join(f'{name}://…' for name in SCHEMES)}")
    if "@" in parts.netloc:
        raise UsageError(f"{_shown(url)}: keys do not belong in a URL: set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY")
    unknown = sorted(options - (OPTIONS if parts.scheme == "s3" else set()))
    if unknown or parts.fragment:
        raise UsageError(f"{_shown(url)}: unknown option {', '.join(unknown) or parts.fragment}")
    if parts.scheme == "file" and (parts.netloc or not parts.path):
        raise UsageError(f"{_shown(url)}: give file:///a/folder")
    if parts.scheme == "s3" and not parts.netloc:
        raise UsageError(f"{_shown(url)}: which bucket?")


def folder_at(where: str | os.PathLike[str] | ObjectPath) -> Folder:
    """The folder that a path or a URL names.

    Raises:
        UsageError: for a URL that is none, or of a kind that is not known.
    """
    if isinstance(where, ObjectPath):
        return where
    if isinstance(where, str) and URL.match(where):
        return ObjectPath.of(where)
    return Path(where)


def found(folder: Folder, pattern: str) -> list[Folder]:
    """Everything of that pattern, sorted."""
    paths: list[Folder] = list(folder.glob(pattern))
    paths.sort()
    return paths


def below(file: Folder, root: Folder) -> str:
    """The path of a file, from ``root`` on."""
    return str(PurePosixPath(inside(file)).relative_to(inside(root)))


def inside(file: Folder) -> str:
    """A path as Arrow takes it, together with ``files_of`` it."""
    return str(file.path) if isinstance(file, ObjectPath) else str(file)


def files_of(folder: Folder) -> fs.FileSystem:
    """The file system a path is of."""
    return folder.files if isinstance(folder, ObjectPath) else _local()


@cache
def _local() -> fs.FileSystem:
    from pyarrow import fs

    return fs.LocalFileSystem()


@cache
def _s3(options: tuple[tuple[str, str], ...]) -> fs.FileSystem:
    from pyarrow import fs

    given = dict(options)
    if (endpoint := given.pop("endpoint", None)) is not None:
        given["endpoint_override"] = endpoint
    return fs.S3FileSystem(
        anonymous=given.pop("anonymous", "") == "true",
        connect_timeout=CONNECT_TIMEOUT_S,
        request_timeout=REQUEST_TIMEOUT_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        **given,
    )


def _shown(url: str) -> str:
    """Without what may be a secret."""
    return re.sub(r"//[^/@]*@", "//…@", url.partition("?")[0])
