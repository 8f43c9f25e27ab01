"""Relevance: gradients by finite differences, the rule by a transcription in NumPy."""

import numpy as np
import pytest
import torch
from test_vit import noisy_vit
from torch import Tensor

from going_modular.config import ViTConfig
from going_modular.relevance import attention_gradients, relevance
from going_modular.teaching.toy import toy_config, toy_images
from going_modular.vit import ViT

WIDE = toy_config(image_size=(24, 40), depth=3)


def images_for(config: ViTConfig, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, *config.image_shape, generator=generator).double()


@pytest.fixture
def model() -> ViT:
    return noisy_vit(WIDE).double()


@pytest.fixture
def x() -> Tensor:
    return images_for(WIDE)


@torch.no_grad()
def logits_with(
    model: ViT, x: Tensor, place: tuple[int, ...] = (), change: float = 0.0
) -> Tensor:
    """The explicit path step by step, with one attention weight changed.

    Args:
        place: Layer from 0, image, head, row and column of the weight.
    """
    z = model.patch_embedding(x)
    nh = model.config.num_heads
    for layer, block in enumerate(model.encoder.blocks):
        part, msa = block.msa_block, block.msa_block.msa
        q, k, v = msa.qkv(part.layer_norm(z)).chunk(3, dim=-1)
        q, k, v = (torch.stack(t.chunk(nh, dim=-1), dim=1) for t in (q, k, v))
        scores = torch.einsum("bhid,bhjd->bhij", q, k) / q.shape[-1] ** 0.5
        attention = torch.softmax(scores, dim=-1)
        if place and place[0] == layer:
            attention[place[1:]] += change
        sa = torch.einsum("bhij,bhjd->bhid", attention, v)
        z = z + msa.out(torch.cat(list(sa.unbind(1)), dim=-1))
        z = z + block.mlp_block.mlp(block.mlp_block.layer_norm(z))
    return model.head(model.layer_norm(z)[:, 0])


def test_path_replayed_by_hand_is_the_model_s(model, x):
    torch.testing.assert_close(logits_with(model, x), model(x).detach())


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_gradients_agree_with_finite_differences(model, x, layer):
    classes = torch.tensor([7, 2])
    _, gradients = attention_gradients(model, x, classes)
    rng, step = np.random.default_rng(layer), 1e-5
    places = [(layer, 0, 1, 0, 3), (layer, 1, 3, 0, 0)]  # the class token's row
    sizes = gradients.shape[1:]
    places += [(layer, *(int(rng.integers(n)) for n in sizes)) for _ in range(6)]
    for place in places:
        image = place[1]
        up = logits_with(model, x, place, step)[image, classes[image]]
        down = logits_with(model, x, place, -step)[image, classes[image]]
        slope = ((up - down) / (2 * step)).item()
        assert gradients[place].item() == pytest.approx(slope, rel=1e-5, abs=1e-8)
    assert gradients[layer].abs().max() > 1e-3


def test_attention_of_the_gradients_is_that_of_the_pass(model, x):
    with torch.no_grad():
        _, seen = model(x, return_intermediates=True)
    attention, gradients = attention_gradients(model, x)
    assert attention.shape == gradients.shape == (3, 2, 4, 16, 16)
    for layer in range(3):
        assert torch.equal(attention[layer], seen[f"attention_{layer + 1}"])


def test_last_layer_matters_through_the_class_token_s_row_alone(model, x):
    _, gradients = attention_gradients(model, x)
    assert (gradients[-1][..., 0, :] != 0).all()
    assert (gradients[-1][..., 1:, :] == 0).all()
    assert (gradients[0] != 0).all()


def test_images_of_a_batch_do_not_mix(model, x):
    classes = torch.tensor([4, 9])
    together = attention_gradients(model, x, classes)
    for image in range(2):
        pick = slice(image, image + 1)
        alone = attention_gradients(model, x[pick], classes[pick])
        for one, both in zip(alone, together, strict=True):
            torch.testing.assert_close(one, both[:, pick])


# The rule.


def relevance_in_numpy(attention: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Equations 5 and 6 of Chefer et al., image by image."""
    L, B, nh, T, _ = attention.shape
    found = []
    for image in range(B):
        R = np.eye(T)
        for layer in range(L):
            A_bar = np.zeros((T, T))
            for h in range(nh):
                product = gradients[layer, image, h] * attention[layer, image, h]
                A_bar += np.maximum(product, 0) / nh
            R = R + A_bar @ R
        found.append(R)
    return np.array(found)


@pytest.mark.ledger("Figure 14", "relevance is that of a transcription, within 1e-9")
@pytest.mark.parametrize("image_size", [40, (24, 40)])
@pytest.mark.parametrize("classes", [None, [0, 6]])
def test_relevance_agrees_with_a_transcription(image_size, classes):
    model = noisy_vit(toy_config(image_size=image_size)).double()
    x = images_for(model.config)
    classes = None if classes is None else torch.tensor(classes)
    attention, gradients = attention_gradients(model, x, classes)
    expected = relevance_in_numpy(attention.numpy(), gradients.numpy())
    found = relevance(model, x, classes)
    assert found.shape == (2, model.config.num_tokens, model.config.num_tokens)
    np.testing.assert_allclose(found, expected, atol=1e-12, rtol=1e-9)


def test_predicted_class_is_the_default(model, x):
    predicted = model(x).argmax(1)
    assert torch.equal(relevance(model, x), relevance(model, x, predicted))


def test_relevance_is_zero_without_a_path_and_at_least_one_for_itself(model, x):
    R = relevance(model, x)
    assert (R >= 0).all()
    assert (R.diagonal(dim1=1, dim2=2) >= 1).all()


def test_maps_of_different_classes_differ(model, x):
    maps = [relevance(model, x, torch.tensor([c, c]))[:, 0, 1:] for c in range(10)]
    for first in range(10):
        for second in range(first):
            gap = (maps[first] - maps[second]).abs().amax(1)
            assert (gap > 1e-3 * maps[first].amax(1)).all()


def test_class_that_no_logit_depends_on_has_no_relevance(model, x):
    with torch.no_grad():
        model.head.weight[5] = 0
    R = relevance(model, x, torch.tensor([5, 5]))
    assert torch.equal(R, torch.eye(16).double().expand(2, 16, 16))


def test_relevance_follows_patches_that_change_places(model, x):
    """Without positions, the map of an image cut up anew is the map cut up anew."""
    with torch.no_grad():
        model.patch_embedding.position_embedding.zero_()
    classes = torch.tensor([3, 8])
    found = relevance(model, x, classes)[:, 0, 1:]
    turned = relevance(model, x.roll((8, 16), dims=(2, 3)), classes)[:, 0, 1:]
    expected = found.view(2, 3, 5).roll((1, 2), dims=(1, 2))
    torch.testing.assert_close(turned.view(2, 3, 5), expected)


# What it leaves behind, and what it refuses.


def test_no_gradient_stays_with_model_or_images(model, x):
    x.requires_grad_()
    found = relevance(model, x)
    assert x.grad is None and not found.requires_grad
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    for part in attention_gradients(model, x):
        assert part.grad_fn is None and not part.requires_grad


def test_gradients_that_are_there_stay(model, x):
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    relevance(model, x)
    assert all((p.grad == 1).all() for p in model.parameters())


def test_images_do_not_come_to_need_gradients(model, x):
    relevance(model, x)
    assert not x.requires_grad


def test_frozen_models_have_relevance_too(model, x):
    expected = relevance(model, x)
    assert torch.equal(relevance(model.requires_grad_(False), x), expected)
    assert not any(p.requires_grad for p in model.parameters())


def test_relevance_works_where_gradients_are_off(model, x):
    expected = relevance(model, x)
    with torch.no_grad():
        assert torch.equal(relevance(model, x), expected)
        assert not torch.is_grad_enabled()


def test_relevance_works_in_float32():
    model = noisy_vit(toy_config(depth=3))
    found = relevance(model, toy_images(), torch.tensor([1, 2]))
    assert found.dtype == torch.float32
    exact = relevance(model.double(), toy_images().double(), torch.tensor([1, 2]))
    torch.testing.assert_close(found.double(), exact, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("c", [10, -1, 999])
def test_classes_that_are_not_there_are_refused(model, x, c):
    message = f"no class {c}: this model has classes 0 to 9"
    for ask in (relevance, attention_gradients):
        with pytest.raises(ValueError, match=message):
            ask(model, x, torch.tensor([0, c]))


@pytest.mark.parametrize("classes", [[3], [1, 2, 3]])
def test_fewer_or_more_classes_than_images_are_refused(model, x, classes):
    with pytest.raises((ValueError, RuntimeError)):
        attention_gradients(model, x, torch.tensor(classes))
