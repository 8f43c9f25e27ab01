"""Means over seeds, and how far they may be off."""

import math

import pandas as pd
from scipy.stats import t

__all__ = ["compare", "half_width", "next_run", "summarise"]

SURE = 0.95  # how often such an interval holds the true mean


def half_width(values: pd.Series) -> float:
    """Half the width of the 95 % interval of a mean, by Student's t."""
    count = len(values)
    if count < 2:
        return math.nan
    return t.ppf((1 + SURE) / 2, count - 1) * values.std(ddof=1) / math.sqrt(count)


def next_run(values: pd.Series, sure: float = SURE) -> tuple[float, float]:
    """Between which values one more run of the same kind falls, so often."""
    count = len(values)
    reach = t.ppf((1 + sure) / 2, count - 1) * math.sqrt(1 + 1 / count)
    half = reach * values.std(ddof=1)
    return values.mean() - half, values.mean() + half


def summarise(rows: pd.DataFrame, figure: str = "accuracy") -> pd.DataFrame:
    """For each setting, in its order, the mean of a figure over seeds.

    Returns:
        Columns mean, half_width, lowest, highest and seeds, one row a setting.
    """
    groups = rows.groupby("setting", sort=False)[figure]
    return pd.DataFrame(
        {
            "mean": groups.mean(),
            "half_width": groups.apply(half_width),
            "lowest": groups.min(),
            "highest": groups.max(),
            "seeds": groups.count(),
        }
    )


def compare(rows: pd.DataFrame, base: str, figure: str = "accuracy") -> pd.DataFrame:
    """How much each setting differs from one of them, seed by seed.

    Runs of the same seed share their start and the order of their images, so that the
    difference of two has less noise than either.

    Args:
        rows: Those of a study.
        base: The setting that all are held against.
        figure: Which column.

    Returns:
        Columns mean and half_width of the differences, one row for each other setting.
    """
    table = rows.pivot(index="seed", columns="setting", values=figure)
    names = [name for name in rows["setting"].unique() if name != base]
    differences = table[names].sub(table[base], axis=0)
    return pd.DataFrame(
        {"mean": differences.mean(), "half_width": differences.apply(half_width)}
    ).loc[names]
