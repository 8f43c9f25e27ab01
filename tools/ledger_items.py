"""The paper's claims, what was run here for each, and what came out."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from experiments.intervals import compare, summarise
from experiments.study import Study, results

__all__ = ["ITEMS", "Item"]

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Item:
    """One claim, equation, table or figure of the paper.

    Attributes:
        name: As the paper numbers it; marks on tests name it so, too.
        says: What the paper says.
        here: What was run.
        expected: What that should give, if the paper holds at this size.
        measured: What it gave, in words, out of a table of results; marked tests add
            what they assert.
        commands: That run it again, beside the tests.
    """

    name: str
    says: str
    here: str
    expected: str
    measured: Callable[[], str] | None = None
    commands: tuple[str, ...] = ()


def study_of(name: str) -> Study:
    return import_module(f"experiments.{name}").STUDY


def points(mean: float, half: float) -> str:
    """A difference of shares, in points, with its interval."""
    shown = f"{100 * mean:+.1f}"
    if not float(shown):
        shown = "0.0"  # a difference of nothing has no sign
    return f"{shown.replace('-', '−')} ± {100 * half:.1f}"  # noqa: RUF001


def beside(study: str, base: str, *names: str, figure: str = "accuracy") -> str:
    """How settings differ from one of them, seed by seed."""
    table = compare(results(study_of(study)), base, figure)
    found = "; ".join(f"{name} {points(*table.loc[name])}" for name in names)
    return f"beside {base}: {found}"


def means(study: str, *names: str, figure: str = "accuracy") -> str:
    """Means of settings with their intervals, in per cent."""
    table = summarise(results(study_of(study)), figure)
    rows = table.loc[list(names), ["mean", "half_width"]]
    return "; ".join(
        f"{name}: {100 * mean:.1f} ± {100 * half:.1f} %"
        for name, (mean, half) in zip(names, rows.to_numpy(), strict=True)
    )


def joined(*parts: Callable[[], str]) -> str:
    return ". ".join(part() for part in parts)


def against_resnet(figure: str = "accuracy") -> str:
    """How far a pure Transformer is from the ResNet, for each number of images."""
    from experiments.inductive_bias import SIZES

    found = []
    for count in SIZES:
        base = f"ResNet, {count:,} images"
        table = compare(results(study_of("inductive_bias")), base, figure)
        row = table.loc[f"ViT/4, {count:,} images"]
        found.append(f"{points(*row)} with {count:,} images")
    return "ViT/4 beside the ResNet: " + ", ".join(found)


def growth() -> str:
    """What larger images cost, from the table of the benchmark."""
    text = (ROOT / "benchmarks/results/growth_cpu.json").read_text(encoding="utf-8")
    rows = {
        row["value"]: row
        for row in json.loads(text)["rows"]
        if row["dimension"] == "image size"
    }
    small, large = rows[192], rows[768]
    median = [sorted(row["images_per_second"])[1] for row in (small, large)]
    work = large["multiply_adds"] / small["multiply_adds"]
    return (
        f"from 192 to 768 px a pass takes {median[0] / median[1]:.0f} times as long, "
        f"{work:.0f} by the multiplications, and "
        f"{large['peak_mib'] / small['peak_mib']:.0f} times the memory"
    )


def transfer() -> str:
    """What weights are worth for few digits, from the table of the benchmark."""
    text = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    found = re.search(r"^\| 25 \| \S+ \(\S+\) \| (.+?) \| (.+?) \|", text, re.M)
    return f"25 of each digit: {found[1]} % from weights, {found[2]} % from scratch"


def trust(*names: str) -> str:
    """How well maps tell what the model cannot do without: lowest and highest."""
    text = (ROOT / "benchmarks/results/trust.json").read_text(encoding="utf-8")
    areas = json.loads(text)["Area between lowest first and highest first"]
    found = ((name, areas["tokens left out"][name]) for name in names)
    return "area between the curves with tokens left out, three draws: " + ", ".join(
        f"{name} {min(values):.2f} to {max(values):.2f}" for name, values in found
    )


def nearness() -> str:
    """How alike positions of patches that share an edge are, and the rest."""
    runs = results(study_of("position_similarity"))
    touching, others = summarise(runs, "neighbours"), summarise(runs, "others")
    found = []
    for name in touching.index:
        near, rest = (
            f"{table.loc[name, 'mean']:.2f} ± {table.loc[name, 'half_width']:.2f}"
            for table in (touching, others)
        )
        found.append(f"{name}: {near} and {rest}")
    return "Mean cosine of positions that share an edge and of the rest, " + "; ".join(
        found
    )


def by_shape() -> str:
    """What each way to grow gains, for how many times the multiplications."""
    rows = results(study_of("shape"))
    work = rows.groupby("setting")["multiplications"].first()
    table = compare(rows, "base")
    return "; ".join(
        f"{name} ({work[name] / work['base']:.1f} x the work): "
        f"{points(*table.loc[name])}"
        for name in ("depth 8", "width 128", "MLP 256", "patch 4", "all larger")
    )


def by_work() -> str:
    """Accuracy and multiplications of each contender, with all images."""
    rows = results(study_of("inductive_bias"))
    rows = rows[rows["setting"].str.endswith(", 55,000 images")]
    work = rows.groupby("setting")["multiplications"].first() / 1e6
    table = summarise(rows)
    return "; ".join(
        f"{name.split(',')[0]} ({work[name]:.2f} M): {100 * row['mean']:.1f} ± "
        f"{100 * row['half_width']:.1f} %"
        for name, row in table.iterrows()
    )


PARITY = "the same numbers as an independent implementation"
ITEMS = (
    Item(
        "Equation 1",
        "section 3.1: z_0 is the class token and the patches times E, plus positions",
        "`PatchEmbedding` beside a convolution and torchvision's embedding",
        PARITY,
    ),
    Item(
        "Equation 2",
        "section 3.1: z' = MSA(LN(z)) + z",
        "`MSABlock` beside the formula and torch's encoder layer",
        PARITY,
    ),
    Item(
        "Equation 3",
        "section 3.1: z = MLP(LN(z')) + z'",
        "`MLPBlock` beside the formula and torch's encoder layer",
        PARITY,
    ),
    Item(
        "Equation 4",
        "section 3.1: y = LN(z_L^0); the head is no part of it",
        "`ViT` beside the formula, torchvision, timm, transformers and the official "
        "code",
        PARITY,
    ),
    Item(
        "Equations 5-8",
        "appendix A: q, k, v; the softmax of their products; heads joined by U_msa",
        "`MultiheadSelfAttention` beside a loop and `torch.nn.MultiheadAttention`",
        PARITY,
    ),
    Item(
        "Table 1",
        "Base, Large and Huge: layers, D, MLP size, heads; 86 M, 307 M and 632 M "
        "parameters",
        "`ViTConfig.from_variant`, counted by formula and by building",
        "86,567,656 (B/16), 304,326,632 (L/16), 632,045,800 (H/14), as the official "
        "tests have; the table rounds in three ways",
    ),
    Item(
        "Figure 1",
        "the whole model: patches, positions, encoder, head",
        "the figure, drawn from a model, its shapes read off the forward pass",
        "every shape in the drawing is one of the model's",
    ),
    Item(
        "Hybrid",
        "section 3.1: patches of 1 x 1 of a ResNet's feature map",
        "`HybridViT`, R50 + ViT, beside timm's and a transcription of the official "
        "code",
        "98,659,112 parameters (R50+B/16), 328,994,856 (R50+L/32); the same logits",
    ),
    Item(
        "Section 3.2",
        "fine-tuning at another resolution: positions interpolated in 2-D, a new head "
        "of zeros",
        "`resize_positions` beside scipy, timm, torchvision and DINOv2; `make_head`",
        PARITY,
    ),
    Item(
        "Table 3",
        "the recipe of pre-training: AdamW, warm-up, decay of the rate, weight decay "
        "0.03 to 0.3, clipping",
        "each part left out or changed, 10,800 images, 4 blocks (`recipe`); 12 blocks "
        "at high rates (`stability`)",
        "no part is tested alone in the paper",
        partial(
            joined,
            partial(
                beside,
                "recipe",
                "the whole recipe",
                "no warm-up",
                "no clipping",
                "constant rate",
                "weight decay 1",
                "coupled decay 0.1",
                "embeddings from N(0, 1)",
            ),
            partial(
                beside,
                "stability",
                "LayerNorm before, with both",
                "LayerNorm before, no warm-up",
                "LayerNorm before, no clipping",
                "LayerNorm before, neither",
            ),
        ),
        ("python -m experiments.recipe", "python -m experiments.stability"),
    ),
    Item(
        "Table 4",
        "the recipe of fine-tuning: SGD, cosine, no weight decay, a rate of four "
        "chosen on validation images",
        "`train_transferlearning.py --recipe paper`; handwritten digits from weights "
        "for clothes",
        "better than from scratch where labels are few",
        transfer,
        ("python -m benchmarks.transfer",),
    ),
    Item(
        "Figures 3 and 4",
        "ViTs are behind ResNets when pre-trained on ImageNet, and ahead with JFT's "
        "303 million images; few-shot accuracy tells the same",
        "six models, 500 to 55,000 pictures of clothes, each with its own rate and "
        "length; then five-shot digits in closed form",
        "behind with few images, the gap closing with more",
        partial(
            joined,
            against_resnet,
            lambda: "Five-shot digits, " + against_resnet("few_shot"),
        ),
        ("python -m experiments.inductive_bias",),
    ),
    Item(
        "Figure 5",
        "at equal compute ViTs transfer better than ResNets; hybrids are ahead at "
        "small compute",
        "the same models with 55,000 images, against multiplications",
        "the hybrid ahead of a ViT of the same tokens",
        by_work,
        ("python -m experiments.inductive_bias",),
    ),
    Item(
        "Figure 6",
        "attention rollout from the class token shows what is relevant",
        "`attention_rollout` beside a loop; patches left out in the order of the map",
        "the same numbers, and a map that is better than chance",
        partial(trust, "rollout", "attention, last layer", "chance"),
        ("python -m benchmarks.trust",),
    ),
    Item(
        "Figure 7, left",
        "principal components of the filters look like a basis of low frequencies",
        "`filter_components` beside scikit-learn; notebook 12 has the picture",
        "the components that filters were made of",
    ),
    Item(
        "Figure 7, centre",
        "positions are alike in rows, in columns and nearby",
        "`position_similarity` beside scipy; notebook 12; after other recipes: "
        "Table 8 and figure 10",
        PARITY,
    ),
    Item(
        "Figure 7, right",
        "in low layers some heads look far and some near; in high ones all look far",
        "`mean_attention_distance` beside a loop; notebook 12 has the picture",
        PARITY,
    ),
    Item(
        "Section 4.6",
        "masked patch prediction (B.1.2): 79.9 % on ImageNet, 2 points above scratch, "
        "4 below supervised pre-training",
        "half of the patches corrupted 80/10/10, 8 levels; then five other kinds of "
        "clothes from few labels",
        "better than guesses without learning; between scratch and supervised",
        partial(
            joined,
            partial(
                means,
                "masked_patches",
                "most common level",
                "most common level of the place",
                "mean of the neighbours",
                "model, 12 epochs",
            ),
            *(
                partial(
                    beside,
                    "few_labels",
                    f"scratch, {shots} of each",
                    f"masked, {shots} of each",
                    f"supervised, {shots} of each",
                )
                for shots in (5, 50)
            ),
        ),
        ("python -m experiments.masked_patches", "python -m experiments.few_labels"),
    ),
    Item(
        "Table 7",
        "ResNets pre-trained with Adam transfer better than with SGD",
        "a small ResNet on clothes, each with its own rate, then ten of each digit",
        "Adam ahead",
        partial(beside, "optimizers", "SGD", "Adam"),
        ("python -m experiments.optimizers",),
    ),
    Item(
        "Figure 8",
        "depth helps most, width least; smaller patches help without parameters",
        "one size at a time, each model with its own rate",
        "depth and smaller patches ahead of width",
        by_shape,
        ("python -m experiments.shape",),
    ),
    Item(
        "Figure 9",
        "the class token and the average do equally well, each at its own rate",
        "both with six rates, chosen on validation images",
        "no difference at their own rates",
        partial(beside, "readout", "class token", "average"),
        ("python -m experiments.readout",),
    ),
    Item(
        "Table 8 and figure 10",
        "none 61.4, 1-D 64.2, 2-D 64.0, relative 64.0: positions matter, their kind "
        "hardly; learned ones know rows and columns under any hyper-parameters",
        "none, 1-D and 2-D at the stem, in every layer and shared, and relative; "
        "similarity before and after three recipes",
        "none behind, all others alike; trained positions that share an edge are alike",
        partial(
            joined,
            partial(
                beside,
                "positions",
                "1-D, stem",
                "none",
                "1-D, every layer",
                "1-D, shared",
                "2-D, stem",
                "2-D, every layer",
                "2-D, shared",
                "relative",
            ),
            nearness,
        ),
        (
            "python -m experiments.positions",
            "python -m experiments.position_similarity",
        ),
    ),
    Item(
        "Figure 12",
        "ViTs are as fast as ResNets of like compute and take less memory; cost grows "
        "with the square of the tokens only at the largest sizes",
        "images per second and peak memory of the forward pass, one size changed at "
        "a time",
        "time by the multiplications",
        growth,
        ("python -m benchmarks.growth",),
    ),
    Item(
        "Figure 13",
        "axial ViTs are better than plain ones at equal tokens, and cost more",
        "`AxialBlock` as an exercise in shapes, counted, in notebook 13",
        "each block attends along rows, then along columns; twice the parameters",
    ),
    Item(
        "Figure 11",
        "attention distance by head and depth, over 128 images",
        "`mean_attention_distance` of the built-in and of untrained models, in "
        "notebook 12",
        "short and long distances in low layers",
    ),
    Item(
        "Figure 14",
        "rollout of more images, drawn at random",
        "`relevance` and rollout beside what the model does without the patches "
        "(notebook 11)",
        "maps that name the patches without which the class is lost",
        partial(trust, "relevance", "rollout", "nearness to the centre"),
        ("python -m benchmarks.trust",),
    ),
)
