"""The modules of a page in one text: nothing is built, only put one behind the other.

Each script imports what it needs by name from its neighbours, as scripts do that a
server hands out. A file opened from the disk may import nothing, so there they stand
in one script, and the import lines are left out. Their names therefore all differ.
"""

import re
from importlib.resources import files
from posixpath import normpath

__all__ = ["bundle", "read_part"]

IMPORT = re.compile(r'^import [^;]*? from "(\.[\w/.-]+)";\n', re.MULTILINE)


def read_part(name: str) -> str:
    """A script or style that stands beside this module, or in a folder here."""
    file = files("going_modular.explorer").joinpath(*name.split("/"))
    return file.read_text(encoding="utf-8")


def bundle(entry: str) -> str:
    """A script with all that it imports before it, each once.

    Args:
        entry: Its name in this folder, such as "explorer.js".
    """
    texts: dict[str, str] = {}

    def add(name: str) -> None:
        if name in texts:
            return
        text, folder = read_part(name), name.rpartition("/")[0]
        for needed in IMPORT.findall(text):
            add(normpath(f"{folder}/{needed}").lstrip("/"))
        texts[name] = IMPORT.sub("", text)

    add(entry)
    return "\n".join(texts.values())
