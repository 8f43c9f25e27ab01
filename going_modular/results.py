"""Training results on disk: one row an epoch, as a pandas pickle.

    python -m going_modular.results runs/built-in/results.pkl

prints the table and draws the loss curves beside the file. A pickle can run code when
it is opened with `pd.read_pickle`: do that with your own files only. `read_results`
opens any file safely, since it allows nothing but the parts of a plain table.
"""

import pickle
import sys
from pathlib import Path

import pandas as pd

from going_modular.checkpoint import write_file
from going_modular.utils import InputError

__all__ = ["read_results", "write_results"]

# All that a pickled table of numbers is made of.
TABLE_PARTS = {
    ("builtins", "slice"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.numeric", "_frombuffer"),
    ("pandas", "DataFrame"),
    ("pandas", "Index"),
    ("pandas", "RangeIndex"),
    ("pandas", "StringDtype"),
    ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"),
    ("pandas._libs.internals", "_unpickle_block"),
    ("pandas.arrays", "StringArray"),
    ("pandas.core.indexes.base", "_new_Index"),
    ("pandas.core.internals.managers", "BlockManager"),
}


class TableUnpickler(pickle.Unpickler):
    """Reads a pickled table; refuses a pickle that names anything else."""

    def find_class(self, module: str, name: str):
        if (module, name) not in TABLE_PARTS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def write_results(path: Path, results: dict[str, list[float]]) -> None:
    """Write one row an epoch, so that `pd.read_pickle` reads it back."""
    table = pd.DataFrame(results)
    write_file(path, lambda beside: table.to_pickle(beside.absolute()))


def read_results(path: str | Path) -> pd.DataFrame:
    """Read a results file without ever running code from it.

    Raises:
        InputError: The file is missing or holds no training results.
    """
    try:
        with open(path, "rb") as file:
            results = TableUnpickler(file).load()
    except FileNotFoundError:
        raise InputError(f"no results file {path}") from None
    except Exception as error:  # a damaged pickle raises many kinds
        raise InputError(
            f"{path} is no results file ({type(error).__name__}: {error}): give the "
            "results.pkl that train.py wrote"
        ) from None
    if not isinstance(results, pd.DataFrame):
        raise InputError(
            f"{path} holds a {type(results).__name__}, no training results"
        )
    return results


def main(argv: list[str] | None = None) -> int:
    # Slow to import, and only this command needs them.
    from going_modular.helper_functions import plot_loss_curves, use_style
    from going_modular.outputs import check_file, is_drawn, write_files
    from going_modular.settings import one_line_parser, user_path

    parser = one_line_parser("Print a results file and draw its loss curves beside it.")
    parser.prog = "results"
    about = "results.pkl of a training run"
    parser.add_argument("file", type=user_path, help=about)
    about = "picture to write, .png, .pdf or .svg (beside the file, .png)"
    parser.add_argument("--output", type=user_path, help=about)
    about = "replace a picture that is none of ours"
    parser.add_argument("--overwrite", action="store_true", help=about)
    args = parser.parse_args(argv)
    use_style()
    try:
        results = read_results(args.file)
        figure = plot_loss_curves(results)
        picture = args.output or args.file.with_suffix(".png")
        replace = args.overwrite or is_drawn(picture)
        check_file("--output", picture, {args.file.resolve()}, replace)
        rows = results.rename_axis("epoch").rename(index=lambda i: i + 1)
        print(rows.round(4).to_string())
        write_files({picture: figure.savefig})
        print(f"curves: {picture}")
    except (ValueError, OSError) as error:
        print(f"results: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
