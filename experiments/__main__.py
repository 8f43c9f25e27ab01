"""Run every study that is not complete: hours in all.

python -m experiments --list
python -m experiments
"""

import importlib
import os
import sys

from experiments.study import Study, count_ahead, study_main
from going_modular.command_line.flags import one_line_parser

STUDIES = (
    "recipe",
    "stability",
    "inductive_bias",
    "positions",
    "readout",
    "shape",
    "position_similarity",
    "optimizers",
    "masked_patches",
    "few_labels",
)


def load(name: str) -> Study:
    """The study of a module."""
    return importlib.import_module(f"experiments.{name}").STUDY


def main(argv: list[str] | None = None) -> int:
    parser = one_line_parser(__doc__)
    parser.add_argument("--list", action="store_true", help="say what there is to run")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="runs at once (all cores)"
    )
    args = parser.parse_args(argv)
    for study in map(load, STUDIES):
        left = count_ahead(study, list(study.settings))
        print(f"{study.name}: {study.question} {left} runs left")
        if args.list or not left:
            continue
        if status := study_main(study, ["--processes", str(args.processes)]):
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
