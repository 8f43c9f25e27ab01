"""The runner of the paper's studies, and what the studies compare."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from experiments import study as study_module
from experiments.__main__ import STUDIES, load, main
from experiments.axial import AxialBlock, AxialViT
from experiments.clothes import SMALL, Recipe, train_and_judge
from experiments.contenders import CONTENDERS, ResidualBlock, multiplications
from experiments.few_labels import AFTER, BEFORE, only
from experiments.intervals import compare, half_width, next_run, summarise
from experiments.masked import (
    MaskedViT,
    corruption,
    grey_levels,
    levels_of_neighbours,
    masked_loss,
    predict_masked,
    train_masked,
)
from experiments.masked_patches import commonest_level, commonest_levels
from experiments.position_similarity import position_figures
from experiments.positions import CONFIG, KINDS, PositionedViT, RelativeAttention
from experiments.readout import AveragingViT
from experiments.recipe import RATE, WHOLE
from experiments.recipe import STUDY as RECIPE
from experiments.stability import PostNormBlock, PostNormViT
from experiments.study import (
    Study,
    Tried,
    arguments_of,
    chosen,
    read_rows,
    results,
    run_study,
    study_main,
)
from going_modular.data_setup import ImageSet
from going_modular.errors import InputError
from going_modular.vit import ViT

RATES = Tried(0.1, 0.2, 0.3)


def guess(seed: int, judge: str, rate: float, bonus: float = 0.0) -> dict[str, float]:
    """A run that is over at once: best at 0.2; test images are harder."""
    accuracy = 0.9 - abs(rate - 0.2) + bonus - 0.1 * (judge == "test") + seed / 1000
    return {"accuracy": accuracy, "loss": 1 - accuracy}


@pytest.fixture
def toy_study(tmp_path, monkeypatch) -> Study:
    monkeypatch.setattr(study_module, "RESULTS", tmp_path)
    settings = {"plain": dict(rate=RATES), "better": dict(rate=0.2, bonus=0.05)}
    return Study("guessing", "Which guess is best?", "nowhere", guess, settings, 3)


def run_all(
    study: Study, names: list[str] | None = None, processes: int = 1
) -> pd.DataFrame:
    run_study(study, names or list(study.settings), processes)
    return read_rows(study)


def test_validation_images_choose_and_test_images_see_only_what_was_chosen(toy_study):
    rows = run_all(toy_study, processes=2)
    assert len(rows) == 3 + 3 + 3
    assert chosen(toy_study, "plain", rows)["rate"] == 0.2
    assert arguments_of(toy_study, "plain") == {"rate": 0.2}
    final = results(toy_study)
    assert sorted(final["seed"]) == [0, 0, 1, 1, 2, 2]
    assert all('"rate": 0.2' in text for text in final["arguments"])
    plain = final[final["setting"] == "plain"]["accuracy"]
    assert sorted(plain) == [0.8, 0.801, 0.802], "judged by test images"
    text = toy_study.table.read_text(encoding="utf-8")
    assert text.startswith("# Which guess is best? (nowhere)\n")
    assert "# python -m experiments.guessing\n" in text and "threads 1" in text


def test_arguments_that_are_not_chosen_yet_are_not_made_up(toy_study):
    assert arguments_of(toy_study, "better") == {"rate": 0.2, "bonus": 0.05}
    with pytest.raises(InputError, match="all choices of 'plain': run python -m exp"):
        arguments_of(toy_study, "plain")


def test_rows_that_are_there_are_not_run_again(toy_study, monkeypatch, capsys):
    run_all(toy_study, ["better"])
    before = toy_study.table.read_text(encoding="utf-8")
    rows = run_all(toy_study)
    assert toy_study.table.read_text(encoding="utf-8").startswith(before)
    assert len(rows) == 9
    capsys.readouterr()
    run_all(toy_study)
    assert capsys.readouterr().out == ""


def test_rows_of_settings_that_changed_are_stale(toy_study):
    run_all(toy_study)
    changed = toy_study.settings | {"better": dict(rate=0.2, bonus=0.06)}
    changed = replace(toy_study, settings=changed)
    assert len(read_rows(changed)) == 6
    run_all(changed)
    text = changed.table.read_text(encoding="utf-8")
    assert '""bonus"": 0.05' not in text and '""bonus"": 0.06' in text
    assert text.startswith("# Which guess")


def test_a_study_is_listed_and_run_from_the_command_line(toy_study, capsys):
    assert study_main(toy_study, ["--list"]) == 0
    said = capsys.readouterr().out
    assert "plain: 0 rows, 6 to run" in said and "better: 0 rows, 3 to run" in said
    assert study_main(toy_study, ["--only", "better", "--processes", "1"]) == 0
    said = capsys.readouterr().out
    assert "3 of 3, 0 min left: better, result" in said
    assert "0.8510" in said, "the mean"
    with pytest.raises(SystemExit):
        study_main(toy_study, ["--only", "worse"])
    assert "invalid choice: 'worse'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ("setting,purpose,seed,arguments,share", "has no column accuracy, seconds"),
        ("setting,purpose,seed,arguments,accuracy,seconds", "other columns (loss)"),
    ],
)
def test_another_table_is_not_written_over(toy_study, capsys, columns, complaint):
    toy_study.table.write_text(f"{columns}\n")
    assert study_main(toy_study, ["--processes", "1"]) == 2
    assert complaint in capsys.readouterr().err
    assert toy_study.table.read_text() == f"{columns}\n"


def test_an_interval_is_that_of_students_t():
    values = pd.Series([1.0, 2.0, 3.0, 4.0, 5.0])
    assert half_width(values) == pytest.approx(2.776445 * math.sqrt(2.5 / 5), rel=1e-6)
    assert math.isnan(half_width(values[:1]))


def test_the_next_run_falls_where_it_should_as_often_as_it_should():
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(4000):
        *known, new = random.normal(0.8, 0.01, size=6)
        low, high = next_run(pd.Series(known), sure=0.9)
        hits += low < new < high
    assert hits / 4000 == pytest.approx(0.9, abs=0.015)


def test_differences_are_taken_seed_by_seed():
    rows = pd.DataFrame(
        [
            dict(setting=name, seed=seed, accuracy=seed * 0.1 + shift)
            for name, shift in (("base", 0.0), ("more", 0.02))
            for seed in (2, 0, 1)
        ]
    )
    found = compare(rows, "base").loc["more"]
    assert found["mean"] == pytest.approx(0.02)
    assert found["half_width"] == pytest.approx(0.0, abs=1e-12)
    means = summarise(rows)
    assert list(means.index) == ["base", "more"]
    assert means.loc["base", "mean"] == pytest.approx(0.1)
    assert means.loc["base", "half_width"] > 0.2


@pytest.mark.parametrize("name", STUDIES)
def test_a_table_has_no_stale_rows_and_no_setting_is_half_done(name):
    study = load(name)
    assert study.name == name
    if not study.table.exists():
        pytest.skip("not run yet")
    everything = pd.read_csv(study.table, comment="#")
    rows = read_rows(study)
    assert len(everything) == len(rows), "stale rows: run the study again"
    counts = results(study).groupby("setting")["seed"].nunique()
    assert set(counts.index) == set(study.settings)
    assert (counts == study.seeds).all()


def test_every_study_is_known_and_described():
    text = (study_module.RESULTS.parent / "README.md").read_text(encoding="utf-8")
    for path in study_module.RESULTS.parent.glob("*.py"):
        if "STUDY = Study(" in path.read_text(encoding="utf-8"):
            assert path.stem in STUDIES
            assert f"| {path.stem} | {load(path.stem).question} |" in text
    assert {path.stem for path in study_module.RESULTS.glob("*.csv")} <= set(STUDIES)


def test_all_studies_are_listed(capsys):
    assert main(["--list"]) == 0
    said = capsys.readouterr().out
    assert all(f"{name}: {load(name).question} " in said for name in STUDIES)


def few_images() -> dict[str, ImageSet]:
    stream = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 10
    noise = torch.randint(0, 100, (60, 1, 28, 28), generator=stream, dtype=torch.uint8)
    images = noise + (15 * labels[:, None, None, None]).to(torch.uint8)
    data = ImageSet(images, labels, tuple("abcdefghij"))
    return {"train": data, "val": data.subset(torch.arange(20)), "test": data}


def test_a_run_follows_from_its_seed_and_says_what_judges():
    images = few_images()
    recipe = Recipe(epochs=2, batch_size=20)

    def figures(seed: int, judge: str) -> dict[str, float]:
        return train_and_judge(lambda: ViT(SMALL), recipe, seed, judge, images)[1]

    assert figures(0, "test") == figures(0, "test")
    assert figures(0, "test") != figures(1, "test")
    assert figures(0, "val")["loss"] != figures(0, "test")["loss"]


def test_a_run_that_diverges_has_accuracy_0():
    recipe = Recipe(epochs=2, batch_size=20, learning_rate=1e30, clip_norm=None)
    _, figures = train_and_judge(lambda: ViT(SMALL), recipe, 0, "test", few_images())
    assert figures["accuracy"] == 0 and math.isnan(figures["loss"])


def test_the_recipes_rate_is_the_one_that_validation_images_chose():
    rows = read_rows(RECIPE)
    if rows.empty:
        pytest.skip("not run yet")
    assert chosen(RECIPE, WHOLE, rows)["learning_rate"] == RATE


# The models that the studies compare.


def images_of(config, count: int = 3) -> torch.Tensor:
    stream = torch.Generator().manual_seed(1)
    return torch.randn(count, 1, *config.image_shape, generator=stream)


def shuffled_patches(x: torch.Tensor, P: int) -> torch.Tensor:
    """The same patches in another order, the same for all images."""
    from going_modular.patch_embedding import patchify, unpatchify

    patches = patchify(x, P)
    order = torch.randperm(patches.shape[1], generator=torch.Generator().manual_seed(2))
    side = x.shape[-1] // P
    return unpatchify(patches[:, order], P, (side, side))


@pytest.mark.ledger(
    "Table 8 and figure 10", "without positions shuffled patches change nothing"
)
@pytest.mark.parametrize("given", ["stem", "every layer", "shared"])
@pytest.mark.parametrize("kind", ["none", *KINDS, "relative"])
def test_only_without_positions_a_shuffled_image_is_the_same(kind, given):
    torch.manual_seed(0)
    model = PositionedViT(CONFIG, kind, given).eval()
    torch.nn.init.normal_(model.head.weight)
    for name, parameter in model.named_parameters():
        if "positions" in name or "distances" in name:
            torch.nn.init.normal_(parameter)
    x = images_of(CONFIG)
    with torch.no_grad():
        before, after = model(x), model(shuffled_patches(x, CONFIG.patch_size))
    assert torch.allclose(before, after, atol=1e-4) == (kind == "none")


@pytest.mark.ledger(
    "Table 8 and figure 10", "each kind has the parameters that the paper gives it"
)
@pytest.mark.parametrize(
    ("kind", "given", "more"),
    [
        ("none", "stem", 0),
        ("1-D", "stem", 50 * 64),
        ("1-D", "shared", 50 * 64),
        ("1-D", "every layer", 4 * 50 * 64),
        ("2-D", "stem", 64 + 2 * 7 * 32),
        ("2-D", "every layer", 4 * (64 + 2 * 7 * 32)),
        ("relative", "stem", 4 * 2 * 49 * 16),
    ],
)
def test_positions_have_as_many_parameters_as_the_paper_gives_them(kind, given, more):
    def count(model) -> int:
        return sum(p.numel() for p in model.parameters())

    bare = count(ViT(CONFIG)) - 50 * 64
    assert count(PositionedViT(CONFIG, kind, given)) == bare + more


def test_positions_at_the_stem_are_those_of_equation_1():
    torch.manual_seed(0)
    vit, model = ViT(CONFIG), PositionedViT(CONFIG, "1-D")
    own = vit.state_dict()
    places = own.pop("patch_embedding.position_embedding")
    left = model.load_state_dict(own, strict=False)
    assert not left.unexpected_keys
    with torch.no_grad():
        model.positions[0].places.copy_(places)
        x = images_of(CONFIG)
        features = model.forward_features(x), vit.forward_features(x)
    assert torch.allclose(*features, atol=1e-6)


def test_the_relative_bias_is_that_of_each_pair():
    """By hand, pair by pair."""
    torch.manual_seed(0)
    attention = RelativeAttention(CONFIG)
    N, T, dh = 49, 50, 16
    z = torch.randn(1, T, 64)
    qkv = attention.qkv(z).reshape(1, T, 3, 4, dh)
    q, k, v = (qkv[0, :, i, 2] for i in range(3))  # of the third head, (T, dh)
    scores = q @ k.T
    for i in range(T):
        for j in range(T):
            place = i - j + N if i and j else 0
            scores[i, j] += q[i] @ attention.distances[place]
    expected = (scores / dh**0.5).softmax(dim=1) @ v  # (T, dh)
    heads = []
    attention.out.register_forward_pre_hook(lambda _, x: heads.append(x[0]))
    attention(z)
    assert torch.allclose(heads[0][0, :, 32:48], expected, atol=1e-5)


def test_the_average_reads_all_patches_and_no_class_token():
    torch.manual_seed(0)
    model = AveragingViT(SMALL).eval()
    names = dict(model.named_parameters())
    assert "patch_embedding.class_token" not in names
    x = images_of(SMALL)
    tokens = model.patch_embedding(x)
    assert tokens.shape == (3, 16, 64)
    y = model.forward_features(x)
    by_hand = model.layer_norm(model.encoder(tokens)).mean(dim=1)
    assert torch.equal(y, by_hand)


@pytest.mark.parametrize(
    ("name", "parameters", "features"),
    [
        ("linear", 784 * 10 + 10, 784),
        ("CNN", 9 * (16 + 16 * 32 + 32 * 64 + 64 * 128) + 2 * 240 + 1290, 128),
        ("hybrid", None, 64),
        ("ViT/7", None, 64),
    ],
)
def test_contenders_are_what_they_are_called(name, parameters, features):
    torch.manual_seed(0)
    model = CONTENDERS[name]().eval()
    if parameters:
        assert sum(p.numel() for p in model.parameters()) == parameters
    x = images_of(SMALL)
    with torch.no_grad():
        y = model.forward_features(x)
        assert y.shape == (3, features)
        assert torch.allclose(model(x), model.head(y), atol=1e-6)


def test_a_residual_block_passes_on_what_went_in():
    block = ResidualBlock(16, 16, 1).eval()
    for parameter in block.branch.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.rand(2, 16, 7, 7)
    assert torch.equal(block(x), x)
    assert ResidualBlock(16, 32, 2)(x).shape == (2, 32, 4, 4)


def test_multiplications_are_those_of_the_shapes():
    assert multiplications(CONTENDERS["linear"]()) == 784 * 10
    T, D, F, L = 17, 64, 256, 4
    block = T * 4 * D**2 + 2 * T**2 * D + 2 * T * D * F
    assert multiplications(CONTENDERS["ViT/7"]()) == 16 * 49 * D + L * block + 10 * D


def test_similarity_of_positions_follows_nearness_only_where_there_is_some():
    stream = torch.Generator().manual_seed(0)
    noise = torch.randn(49, 64, generator=stream)
    figures = position_figures(noise, (7, 7))
    assert abs(figures["nearness"]) < 0.1
    y, x = torch.meshgrid(torch.arange(7.0), torch.arange(7.0), indexing="ij")
    near = torch.stack(
        [f(0.3 * t.flatten()) for t in (y, x) for f in (torch.sin, torch.cos)], dim=1
    )
    figures = position_figures(near, (7, 7))
    assert figures["nearness"] > 0.9
    assert figures["neighbours"] > figures["line"] > figures["others"]
    rows = torch.eye(7).repeat_interleave(7, dim=0)  # each row has one of its own
    figures = position_figures(rows, (7, 7))
    assert figures["others"] == 0
    assert figures["neighbours"] == pytest.approx(0.5)
    assert figures["line"] == pytest.approx(0.5)


def test_post_norm_normalises_each_sum():
    torch.manual_seed(0)
    model = PostNormViT(replace(SMALL, depth=2))
    assert all(type(block) is PostNormBlock for block in model.encoder.blocks)
    z = model.encoder(torch.randn(2, 17, 64))
    assert torch.allclose(z.mean(dim=-1), torch.zeros(2, 17), atol=1e-5)
    assert torch.allclose(z.std(dim=-1, correction=0), torch.ones(2, 17), atol=1e-2)


@pytest.mark.ledger("Figure 13", "a patch reaches its row, then its column, then all")
def test_axial_attention_looks_along_rows_and_columns_alone():
    torch.manual_seed(0)
    block = AxialBlock(CONFIG).eval()
    z = torch.randn(1, 49, 64)
    changed = z.clone()
    changed[0, 3 * 7 + 2] = torch.randn(64)  # row 3, column 2

    def reached() -> set[int]:
        differs = ~torch.isclose(block(z), block(changed), atol=1e-6).all(dim=-1)
        return set(torch.nonzero(differs[0]).flatten().tolist())

    row, column = ({3 * 7 + i for i in range(7)}, {i * 7 + 2 for i in range(7)})
    with torch.no_grad():
        assert reached() == set(range(49)), "after rows and columns everything"
        column_block, block.column_block = block.column_block, torch.nn.Identity()
        assert reached() == row
        block.row_block, block.column_block = torch.nn.Identity(), column_block
        assert reached() == column


@pytest.mark.ledger("Figure 13", "an axial block has the parameters of two")
def test_an_axial_block_has_the_parameters_of_two():
    def count(model) -> int:
        return sum(p.numel() for p in model.parameters())

    block = 12 * 64**2 + 13 * 64
    assert count(AxialBlock(CONFIG)) == 2 * block
    assert count(AxialViT(CONFIG)) == count(AveragingViT(CONFIG)) + 4 * block
    assert AxialViT(CONFIG)(images_of(CONFIG)).shape == (3, 10)


@pytest.mark.ledger("Section 4.6", "half of the patches are corrupted, 80/10/10")
def test_half_of_the_patches_are_corrupted_in_three_ways():
    stream = torch.Generator().manual_seed(0)
    corrupted, masked, source = corruption(2000, 49, stream)
    assert (corrupted.sum(dim=1) == 24).all()
    assert not (masked & ~corrupted).any()
    swapped = source != torch.arange(49)
    assert not (swapped & ~corrupted).any() and not (swapped & masked).any()
    share = masked.sum() / corrupted.sum()
    assert abs(share - 0.8) < 0.01
    assert abs(swapped.sum() / corrupted.sum() - 0.1 * 48 / 49) < 0.01
    assert len(source[swapped].unique()) == 49


def test_levels_are_means_in_three_bits():
    images = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    images[..., :4, :4] = 255
    images[..., :4, 4:8] = 32
    images[..., :4, 8:12] = torch.tensor([0, 62]).repeat(2).to(torch.uint8)  # mean 31
    levels = grey_levels(images, 4)
    assert levels.shape == (1, 49)
    assert levels[0, :4].tolist() == [7, 1, 0, 0]


def test_the_commonest_level_of_a_place_may_be_another_than_that_of_all():
    images = torch.zeros(3, 1, 28, 28, dtype=torch.uint8)
    images[:2, :, :4, :4] = 255  # the first patch of two of three
    data = ImageSet(images, torch.zeros(3, dtype=torch.long), ("nothing",))
    assert commonest_level(data) == 0
    levels = commonest_levels(data)
    assert levels.shape == (49,) and levels[0] == 7 and not levels[1:].any()


def test_neighbours_that_can_be_seen_make_a_guess():
    images = torch.zeros(1, 1, 12, 12, dtype=torch.uint8)
    images[..., :4, :] = 200  # the upper three of nine patches
    hidden = torch.zeros(1, 9, dtype=torch.bool)
    hidden[0, [1, 4]] = True
    guesses = levels_of_neighbours(images, 4, hidden)
    # The patch in the middle sees two of 200 and five of 0; the upper one two and two.
    assert guesses[0, 4] == int(2 * 200 / 7 * 8 / 256)
    assert guesses[0, 1] == int(2 * 200 / 4 * 8 / 256)
    assert (levels_of_neighbours(images, 4, torch.ones_like(hidden)) == -1).all()


def test_a_mask_hides_what_a_patch_shows():
    torch.manual_seed(0)
    model = MaskedViT(CONFIG).eval()
    torch.nn.init.normal_(model.levels.weight)
    x = images_of(CONFIG, 1)
    other = x.clone()
    other[..., :4, :4] += 1  # the first patch
    source = torch.arange(49)[None]
    masked = torch.zeros(1, 49, dtype=torch.bool)
    with torch.no_grad():
        open_eyes = model(x, masked, source), model(other, masked, source)
        masked[0, 0] = True
        hidden = model(x, masked, source), model(other, masked, source)
        masked[0, 0] = False
        source[0, 0] = 48  # shows the last patch in the place of the first
        swapped = model(x, masked, source), model(other, masked, source)
    assert hidden[0].shape == (1, 49, 8)
    assert not torch.allclose(*open_eyes, atol=1e-4)
    assert torch.equal(*hidden) and torch.equal(*swapped)
    assert not torch.allclose(hidden[0], swapped[0], atol=1e-4)


def test_only_corrupted_patches_are_asked_for():
    logits = torch.zeros(1, 3, 8)
    logits[0, 1, 5] = 3.0
    levels, corrupted = torch.tensor([[2, 5, 7]]), torch.tensor([[False, True, False]])
    expected = math.log(math.exp(3) + 7) - 3
    assert masked_loss(logits, levels, corrupted).item() == pytest.approx(expected)


def test_a_masked_model_learns_to_tell_brightness():
    images = few_images()["train"]
    recipe = Recipe(epochs=12, batch_size=20, learning_rate=3e-3)
    before = train_masked(CONFIG, images, replace(recipe, epochs=0), seed=0)
    after = train_masked(CONFIG, images, recipe, seed=0)

    def accuracy(model: MaskedViT) -> float:
        logits, levels, corrupted = predict_masked(model, images, seed=1)
        return (logits.argmax(dim=-1) == levels)[corrupted].float().mean().item()

    assert accuracy(after) > accuracy(before) + 0.2


def test_five_kinds_are_counted_anew():
    labels = torch.arange(20) % 10
    data = ImageSet(torch.zeros(20, 1, 2, 2), labels, tuple("abcdefghij"))
    five = only(data, AFTER)
    assert five.class_names == ("a", "c", "e", "g", "i")
    assert five.labels.tolist() == [0, 1, 2, 3, 4] * 2
    assert set(AFTER) | set(BEFORE) == set(range(10))
