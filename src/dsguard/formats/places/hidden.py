"""Hidden files: dsguard passes over them, but whoever uploads a folder may not."""

from __future__ import annotations

from dsguard.formats.images import has_image_suffix
from dsguard.formats.names import is_hidden

_OF_TOOLS = frozenset(
    {".DS_Store", ".directory", ".git", ".gitattributes", ".gitignore", ".gitkeep", ".gitmodules"}
)
"""Of git and of desktops."""

_OF_UPLOADERS = (".metadata", ".lock", "CACHEDIR.TAG")
"""Ends of names in ``.cache``, where the tools of Hugging Face note what they have uploaded."""


def may_be_data(name: str) -> bool:
    """Tell whether a file is hidden, and may be data of somebody: an image, a shard, a key."""
    if not is_hidden(name):
        return False
    *folders, file = name.split("/")
    of_uploader = ".cache" in folders and file.endswith(_OF_UPLOADERS)
    of_tools = ".git" in folders or file in _OF_TOOLS or of_uploader
    return has_image_suffix(name) or not of_tools
