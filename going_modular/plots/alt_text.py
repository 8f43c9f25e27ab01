"""Pictures in a notebook carry the words that stand after `#| fig-alt:` in their cell.

JupyterLab shows an `image/png` without an `alt`, whatever the picture's metadata say.
It keeps the `alt` of an HTML `img`, and so do nbconvert and other viewers: a described
picture is therefore sent as one.
"""

import html
import re
import sys

__all__ = ["alt_text", "describe_pictures"]


def alt_text(source: str) -> str | None:
    """The words after `#| fig-alt:` in a cell's source, if it has that line."""
    found = re.search(r"^#\| fig-alt: (.+)$", source, re.MULTILINE)
    return found.group(1).strip() if found else None


def as_described(message: dict) -> dict:
    """Turn a message's picture into an HTML `img` with the running cell's alt text.

    Args:
        message: What a kernel is about to publish, in Jupyter's form.

    Returns:
        The same message, unchanged where it has no picture or the cell no alt text.
    """
    bundle = message["content"].get("data", {})
    request = sys.modules["IPython"].get_ipython().get_parent()
    words = alt_text(request["content"].get("code", ""))
    if words and "image/png" in bundle:
        source = f"data:image/png;base64,{bundle.pop('image/png').strip()}"
        bundle["text/html"] = f'<img alt="{html.escape(words)}" src="{source}">'
    return message


def describe_pictures() -> None:
    """From now on, send described pictures to the notebook; elsewhere do nothing."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    publisher = getattr(shell, "display_pub", None)
    if hasattr(publisher, "register_hook"):  # a Jupyter kernel, not a terminal
        publisher.unregister_hook(as_described)  # if it is there already
        publisher.register_hook(as_described)
