"""Run notebooks from a fresh kernel and store their outputs.

python tools/run_notebooks.py                 all of them
python tools/run_notebooks.py notebooks/02*   some of them
"""

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
SCREEN = 60  # lines of code that are still read at a glance


def fills_more_than_a_screen(cell: nbformat.NotebookNode) -> bool:
    """Whether a cell goes into the package and is too long to be read at a glance."""
    code = [line for line in cell.source.splitlines() if not line.startswith("#|")]
    return "#| export" in cell.source and len(code) > SCREEN


def is_folded(cell: nbformat.NotebookNode) -> bool:
    return cell.metadata.get("jupyter", {}).get("source_hidden", False)


def clean(notebook: nbformat.NotebookNode) -> None:
    """Keep of the metadata what readers need, so that diffs show real changes.

    Folded cells stay folded (JupyterLab hides their source until a click), and long
    cells of the package are folded in any case.
    """
    notebook.metadata = {
        key: notebook.metadata[key]
        for key in ("kernelspec", "language_info")
        if key in notebook.metadata
    }
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        folded = is_folded(cell) or fills_more_than_a_screen(cell)
        cell.metadata = {"tags": tags} if tags else {}
        if folded:
            cell.metadata["jupyter"] = {"source_hidden": True}


def run(path: Path) -> None:
    """Execute one notebook in place; outputs are stored only if every cell passes."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,  # a busy machine sends a text in pieces
        resources={"metadata": {"path": str(path.parent)}},
    )
    start = time.perf_counter()
    client.execute()
    clean(notebook)
    nbformat.write(notebook, path)
    print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)


def main() -> None:
    chosen = [Path(name).resolve() for name in sys.argv[1:]]
    for path in chosen or sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        run(path)


if __name__ == "__main__":
    main()
