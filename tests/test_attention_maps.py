"""Maps of attention, each against a second calculation: loops, max-flow, entropy."""

import math

import networkx as nx
import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
import torch
from torch import Tensor

from going_modular.attention_maps import (
    attention_entropy,
    attention_flow,
    attention_from,
    attention_rollout,
    attention_to,
    mean_attention_distance,
    to_grid,
    token_index,
)
from going_modular.errors import InputError
from going_modular.teaching.toy import toy_config

SQUARE = toy_config()
WIDE = toy_config(image_size=(24, 40))
CONFIGS = pytest.mark.parametrize("config", [SQUARE, WIDE], ids=["square", "wide"])


def random_attention(*shape: int, seed: int = 0, sharpness: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(shape, generator=generator)).softmax(-1)


def attention_of(config, layers: int = 3, images: int = 2) -> Tensor:
    T = config.num_tokens
    return random_attention(layers, images, config.num_heads, T, T)


def one_hot(targets: list[int], T: int) -> Tensor:
    """(1, T, T) attention of a head whose token i looks only at targets[i]."""
    return torch.eye(T)[targets][None]


# Rollout.


def fused_by_loop(A: np.ndarray, fusion: str, discard: float) -> np.ndarray:
    """(nh, T, T) weights to (T, T), the smallest set to zero one after the other."""
    nh, T, _ = A.shape
    fused = np.zeros((T, T))
    for i in range(T):
        for j in range(T):
            heads = [float(A[h, i, j]) for h in range(nh)]
            fused[i, j] = {"mean": sum(heads) / nh, "max": max(heads)}.get(
                fusion, min(heads)
            )
    places = sorted(np.ndindex(T, T), key=lambda place: fused[place])
    for place in places[: int(discard * T * T)]:
        fused[place] = 0.0
    return fused


def rollout_by_loop(A: np.ndarray, fusion: str, discard: float) -> np.ndarray:
    L, _, T, _ = A.shape
    rollout, found = np.eye(T), []
    for layer in range(L):
        step = fused_by_loop(A[layer], fusion, discard)
        for i in range(T):
            step[i, i] += 1
            step[i] /= step[i].sum()
        product = np.zeros((T, T))
        for i in range(T):
            for middle in range(T):
                product[i] += step[i, middle] * rollout[middle]
        rollout = product
        found.append(rollout)
    return np.array(found)


@pytest.mark.ledger("Figure 6", "a loop, within 1e-6")
@CONFIGS
@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
@pytest.mark.parametrize("discard", [0.0, 0.3, 0.9])
def test_rollout_agrees_with_a_loop(config, fusion, discard):
    attention = attention_of(config)
    found = attention_rollout(attention, fusion, discard)
    assert found.shape == (3, 2, config.num_tokens, config.num_tokens)
    for image in range(2):
        expected = rollout_by_loop(attention[:, image].numpy(), fusion, discard)
        np.testing.assert_allclose(found[:, image], expected, atol=1e-6, rtol=0)


@pytest.mark.ledger("Figure 14", "rollout of three tokens is what one gets on paper")
def test_rollout_of_three_tokens_agrees_with_a_calculation_on_paper():
    first = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    second = torch.tensor([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    found = attention_rollout(torch.stack([first, second])[:, None])  # one head
    # (A + I) / 2 of each layer, and the second times the first:
    expected = [
        [[1 / 2, 1 / 2, 0], [0, 1 / 2, 1 / 2], [0, 0, 1]],
        [[3 / 8, 1 / 2, 1 / 8], [0, 1 / 2, 1 / 2], [1 / 4, 1 / 4, 1 / 2]],
    ]
    assert found.tolist() == expected


@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
@pytest.mark.parametrize("discard", [0.0, 0.5, 0.99])
def test_rows_of_rollout_sum_to_one(fusion, discard):
    found = attention_rollout(attention_of(SQUARE, layers=7), fusion, discard)
    assert (found >= 0).all()
    assert (found.double().sum(-1) - 1).abs().max() <= 1e-6


def test_rollout_of_identity_attention_is_the_identity():
    attention = torch.eye(26).expand(7, 2, 4, 26, 26)
    for fusion in ("mean", "max", "min"):
        found = attention_rollout(attention, fusion)
        assert torch.equal(found, torch.eye(26).expand(7, 2, 26, 26))


def test_rollout_up_to_a_layer_does_not_depend_on_later_layers():
    attention = attention_of(SQUARE, layers=5)
    for layer in (1, 3):
        expected = attention_rollout(attention[:layer])
        assert torch.equal(attention_rollout(attention)[:layer], expected)
    assert not torch.allclose(
        attention_rollout(attention)[-1], attention_rollout(attention.flip(0))[-1]
    ), "the order of layers matters"


def test_rollout_of_one_image_needs_no_batch():
    attention = attention_of(WIDE)
    torch.testing.assert_close(
        attention_rollout(attention[:, 1]), attention_rollout(attention)[:, 1]
    )


def test_rollout_and_flow_do_not_depend_on_the_order_of_heads():
    attention = attention_of(WIDE)
    mixed = attention[:, :, [2, 0, 3, 1]]
    torch.testing.assert_close(attention_rollout(mixed), attention_rollout(attention))
    torch.testing.assert_close(
        attention_flow(mixed[:, 0]), attention_flow(attention[:, 0])
    )


def test_rollout_follows_tokens_that_change_places():
    attention = attention_of(WIDE)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    mixed = attention[..., order, :][..., order]
    for discard in (0.0, 0.6):
        found = attention_rollout(mixed, "max", discard)
        expected = attention_rollout(attention, "max", discard)
        torch.testing.assert_close(found, expected[..., order, :][..., order])


def test_rollout_leaves_attention_as_it_is():
    attention = attention_of(WIDE)
    copy = attention.clone()
    attention_rollout(attention, "max", 0.5)
    assert torch.equal(attention, copy)


def test_rollout_keeps_float64():
    attention = attention_of(WIDE).double()
    attention = attention / attention.sum(-1, keepdim=True)
    found = attention_rollout(attention)
    assert found.dtype == torch.float64
    assert (found.sum(-1) - 1).abs().max() <= 1e-14


@pytest.mark.parametrize("fusion", ["sum", "", None])
def test_unknown_fusions_are_refused(fusion):
    with pytest.raises(InputError, match='"mean", "max" or "min", not'):
        attention_rollout(attention_of(WIDE), fusion)


@pytest.mark.parametrize("discard", [-0.1, 1, 1.5, math.nan])
def test_shares_that_cannot_be_discarded_are_refused(discard):
    with pytest.raises(InputError, match=f"less than 1, not {discard}"):
        attention_rollout(attention_of(WIDE), discard=discard)


# Flow.


def flow_by_networkx(A: np.ndarray) -> list[float]:
    L, _, T, _ = A.shape
    graph = nx.DiGraph()
    for layer in range(L):
        step = (A[layer].mean(0) + np.eye(T)) / 2
        for i in range(T):
            for j in range(T):
                graph.add_edge((layer + 1, i), (layer, j), capacity=float(step[i, j]))
    return [nx.maximum_flow_value(graph, (L, 0), (0, j)) for j in range(T)]


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_flow_agrees_with_networkx(layers):
    attention = random_attention(layers, 3, 6, 6, seed=layers, sharpness=3).double()
    found = attention_flow(attention)
    assert found.shape == (6,)
    np.testing.assert_allclose(found, flow_by_networkx(attention.numpy()), atol=2e-6)


def test_flow_through_one_layer_is_the_class_token_s_row():
    attention = attention_of(SQUARE, layers=1, images=1)[:, 0]
    expected = (attention[0].mean(0) + torch.eye(26))[0] / 2
    torch.testing.assert_close(attention_flow(attention), expected, atol=1e-6, rtol=0)


def test_flow_of_identity_attention_comes_from_the_class_token_alone():
    flow = attention_flow(torch.eye(16).expand(3, 2, 16, 16))
    assert torch.equal(flow, torch.eye(16)[0])


def test_flow_through_a_hand_made_network():
    # Above: the class token looks at tokens 1 and 2 alike. Below: both at token 2.
    below = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    above = torch.tensor([[0.0, 0.5, 0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    flow = attention_flow(torch.stack([below, above])[:, None])
    # To 0: straight down, 1/2. To 1: by 1, 1/4. To 2: 1/4 by 1 and 1/4 by 2.
    assert flow.tolist() == [0.5, 0.25, 0.5]


def test_flow_is_between_rollout_and_one():
    """Rollout is one way to let attention flow; it loses none, so flow is no less."""
    attention = attention_of(WIDE)[:, 0]
    flow = attention_flow(attention)
    assert (flow >= attention_rollout(attention)[-1, 0] - 1e-5).all()
    assert (flow <= 1 + 1e-6).all()


def test_flow_follows_patches_that_change_places():
    attention = attention_of(WIDE)[:, 0]
    order = torch.randperm(15, generator=torch.Generator().manual_seed(1))
    order = torch.cat([torch.zeros(1, dtype=int), 1 + order])
    found = attention_flow(attention[..., order, :][..., order])
    torch.testing.assert_close(
        found, attention_flow(attention)[order], atol=2e-6, rtol=0
    )


# Distance.


def distance_by_loop(A: np.ndarray, config, renormalise: bool) -> float:
    """(T, T) weights of one head to a mean distance in pixels."""
    (rows, columns), P = config.grid_shape, config.patch_size
    totals = []
    for i in range(rows * columns):
        total = weight = 0.0
        for j in range(rows * columns):
            down = P * (i // columns - j // columns)
            right = P * (i % columns - j % columns)
            total += float(A[1 + i, 1 + j]) * math.hypot(down, right)
            weight += float(A[1 + i, 1 + j])
        totals.append(total / weight if renormalise else total)
    return sum(totals) / len(totals)


@pytest.mark.ledger("Figure 7, right", "a loop, within a millionth")
@CONFIGS
@pytest.mark.parametrize("renormalise", [True, False])
def test_distance_agrees_with_a_loop(config, renormalise):
    attention = attention_of(config)
    found = mean_attention_distance(
        attention, config.grid_shape, config.patch_size, renormalise
    )
    assert found.shape == (3, 2, 4)
    for place in np.ndindex(3, 2, 4):
        expected = distance_by_loop(attention[place].numpy(), config, renormalise)
        # Float32 holds distances of up to 50 pixels to a few millionths.
        assert found[place].item() == pytest.approx(expected, rel=1e-6)
    exact = mean_attention_distance(
        attention.double(), config.grid_shape, config.patch_size, renormalise
    )
    for place in np.ndindex(3, 2, 4):
        expected = distance_by_loop(attention[place].numpy(), config, renormalise)
        assert exact[place].item() == pytest.approx(expected, abs=1e-11)


@pytest.mark.ledger(
    "Figure 11", "uniform attention looks as far as two random patches lie apart"
)
@CONFIGS
def test_distance_of_uniform_attention_is_that_of_two_random_patches(config):
    T, (rows, columns) = config.num_tokens, config.grid_shape
    centres = 8 * np.array(list(np.ndindex(rows, columns)))
    mean = scipy.spatial.distance.cdist(centres, centres).mean()
    uniform = torch.full((4, T, T), 1 / T)
    found = mean_attention_distance(uniform, config.grid_shape, 8)
    np.testing.assert_allclose(found, mean, rtol=1e-6)
    shared = mean_attention_distance(uniform, config.grid_shape, 8, renormalise=False)
    np.testing.assert_allclose(shared, mean * (T - 1) / T, rtol=1e-6)


@pytest.mark.parametrize("grid", [(3, 5), (14, 14), (24, 24)])
def test_distance_of_a_head_that_looks_only_at_itself_is_zero(grid):
    attention = torch.eye(grid[0] * grid[1] + 1)[None]
    for renormalise in (True, False):
        found = mean_attention_distance(attention, grid, 16, renormalise)
        assert found.tolist() == [0.0]


@pytest.mark.parametrize(
    ("down", "right", "pixels"), [(0, 1, 7), (1, 0, 7), (1, 1, 7 * 2**0.5)]
)
def test_distance_of_a_head_that_looks_at_a_neighbour_is_a_patch(down, right, pixels):
    rows, columns = grid = (4, 6)
    targets = [0]
    for row, column in np.ndindex(grid):
        other_row = row + (down if row + 1 < rows else -down)  # the last row looks up
        other_column = column + (right if column + 1 < columns else -right)
        targets.append(token_index(grid, (other_row, other_column)))
    attention = one_hot(targets, rows * columns + 1)
    found = mean_attention_distance(attention, grid, 7)
    assert found.item() == pytest.approx(pixels, rel=1e-6)


def test_distance_takes_what_the_class_token_gets_as_told():
    """Half to the class token, half 3 patches to the right or left of a row of 6."""
    targets = [0, 4, 5, 6, 1, 2, 3]
    attention = (one_hot(targets, 7) + one_hot([0] * 7, 7)) / 2
    assert mean_attention_distance(attention, (1, 6), 10).item() == 30
    assert mean_attention_distance(attention, (1, 6), 10, False).item() == 15


def test_distance_does_not_depend_on_the_class_token_s_row():
    attention = attention_of(WIDE)
    changed = attention.clone()
    changed[..., 0, :] = 1 / 16
    expected = mean_attention_distance(attention, (3, 5), 8)
    assert torch.equal(mean_attention_distance(changed, (3, 5), 8), expected)


def test_distance_is_the_same_for_mirrored_images():
    attention = attention_of(WIDE)
    grid = torch.arange(15).view(3, 5)
    for mirrored in (grid.flip(0), grid.flip(1)):
        order = torch.cat([torch.zeros(1, dtype=int), 1 + mirrored.flatten()])
        torch.testing.assert_close(
            mean_attention_distance(attention[..., order, :][..., order], (3, 5), 8),
            mean_attention_distance(attention, (3, 5), 8),
        )
    turned = mean_attention_distance(attention, (5, 3), 8)
    assert not torch.allclose(turned, mean_attention_distance(attention, (3, 5), 8))


def test_distance_grows_with_the_patch():
    attention = attention_of(WIDE)
    torch.testing.assert_close(
        mean_attention_distance(attention, (3, 5), 24),
        3 * mean_attention_distance(attention, (3, 5), 8),
    )


# Entropy.


@CONFIGS
def test_entropy_agrees_with_scipy(config):
    attention = attention_of(config).double()
    found = attention_entropy(attention)
    assert found.shape == (3, 2, 4)
    expected = scipy.stats.entropy(attention.numpy(), base=2, axis=-1).mean(-1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_entropy_is_zero_for_one_token_and_log2_t_for_all_alike():
    heads = torch.cat([one_hot([3] * 16, 16), torch.full((1, 16, 16), 1 / 16)])
    assert attention_entropy(heads).tolist() == [0.0, 4.0]
    half = (one_hot([3] * 16, 16) + one_hot([5] * 16, 16)) / 2
    assert attention_entropy(half).tolist() == [1.0]


def test_entropy_does_not_depend_on_the_order_of_tokens():
    attention = attention_of(WIDE)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        attention_entropy(attention[..., order, :][..., order]),
        attention_entropy(attention),
    )


# From tokens to the grid.


@CONFIGS
def test_token_index_counts_row_by_row_behind_the_class_token(config):
    assert token_index(config.grid_shape, None) == 0
    places = [token_index(config.grid_shape, p) for p in np.ndindex(config.grid_shape)]
    assert places == list(range(1, config.num_tokens))


@pytest.mark.parametrize("patch", [(3, 0), (0, 5), (-1, 0), (0, -1), (4, 2)])
def test_patches_that_are_not_there_are_refused(patch):
    message = rf"no patch \({patch[0]}, {patch[1]}\).*rows 0 to 2 and columns 0 to 4"
    with pytest.raises(InputError, match=message):
        token_index((3, 5), patch)
    for look in (attention_from, attention_to):
        with pytest.raises(InputError, match=message):
            look(attention_of(WIDE), (3, 5), patch)


@CONFIGS
def test_grid_holds_each_patch_s_token_in_its_place(config):
    rows, columns = config.grid_shape
    tokens = torch.randn(2, 3, config.num_tokens)
    grid = to_grid(tokens, config.grid_shape)
    assert grid.shape == (2, 3, rows, columns)
    for row, column in np.ndindex(rows, columns):
        expected = tokens[..., 1 + columns * row + column]
        assert torch.equal(grid[..., row, column], expected)


@CONFIGS
@pytest.mark.parametrize("patch", [None, (0, 0), (2, 4), (1, 3)])
def test_attention_from_and_to_are_a_row_and_a_column(config, patch):
    attention = attention_of(config)
    rows, columns = config.grid_shape
    token = 0 if patch is None else 1 + columns * patch[0] + patch[1]
    looks = attention_from(attention, config.grid_shape, patch)
    seen = attention_to(attention, config.grid_shape, patch)
    assert looks.shape == seen.shape == (3, 2, 4, rows, columns)
    for row, column in np.ndindex(rows, columns):
        other = 1 + columns * row + column
        assert torch.equal(looks[..., row, column], attention[..., token, other])
        assert torch.equal(seen[..., row, column], attention[..., other, token])


def test_where_a_token_looks_sums_to_one_with_the_class_token_s_share():
    attention = attention_of(WIDE)
    looks = attention_from(attention, (3, 5), (1, 2))
    total = looks.sum((-2, -1)) + attention[..., token_index((3, 5), (1, 2)), 0]
    torch.testing.assert_close(total, torch.ones(3, 2, 4))


def test_maps_of_rollout_go_on_the_grid_too():
    rollout = attention_rollout(attention_of(WIDE))
    assert attention_from(rollout, (3, 5)).shape == (3, 2, 3, 5)


@pytest.mark.parametrize("grid", [(5, 5), (3, 4), (4, 4)])
def test_grids_of_another_size_are_refused(grid):
    attention = attention_of(WIDE)
    message = f"16 tokens are not a class token and {grid[0]} x {grid[1]} patches"
    calls = [
        lambda: to_grid(attention[..., 0], grid),
        lambda: attention_from(attention, grid),
        lambda: attention_to(attention, grid),
        lambda: mean_attention_distance(attention, grid, 8),
    ]
    for call in calls:
        with pytest.raises(InputError, match=message):
            call()
