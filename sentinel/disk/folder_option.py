"""``--data-dir`` of the commands that read: a folder of this machine, or the URL of one in an object store."""

from __future__ import annotations

from typing import Any

import click

from sentinel.disk.object_store import Folder, folder_at
from sentinel.errors import UsageError


class FolderType(click.ParamType):  # type: ignore[type-arg]  # click before 8.4 knows no ParamType[…]
    """What ``folder_at`` takes."""

    name = "folder"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Folder:
        try:
            return folder_at(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


FOLDER = FolderType()
