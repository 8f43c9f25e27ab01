"""The assembled model: Equation 4, the head, the presets, and torchvision as oracle."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from going_modular.config import ViTConfig
from going_modular.patch_embedding import patchify, unpatchify
from going_modular.teaching.toy import toy_config, toy_images
from going_modular.utils import set_seeds
from going_modular.vit import ViT, make_head

# Asserted by the official tests, or by the formula of the shapes (see the notebook).
COUNTS = {
    ("Ti/16", 224): 5_717_416,
    ("S/16", 224): 22_050_664,
    ("S/32", 224): 22_878_952,
    ("B/8", 224): 86_576_872,
    ("B/16", 224): 86_567_656,
    ("B/32", 224): 88_224_232,
    ("L/16", 224): 304_326_632,
    ("L/32", 224): 306_535_400,
    ("H/14", 224): 632_045_800,
    ("B/16", 384): 86_859_496,
    ("L/16", 512): 305_174_504,
    ("H/14", 518): 633_470_440,
}


def noisy_vit(config: ViTConfig) -> ViT:
    """A model in which no parameter is zero or one, so that each can matter."""
    set_seeds(0)
    model = ViT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def count_on_meta(config: ViTConfig) -> int:
    with torch.device("meta"):
        return count(ViT(config))


def torchvision_twin(model: ViT, gelu: str = "none") -> nn.Module:
    """torchvision's Vision Transformer with this model's weights, put in one by one."""
    c = model.config
    twin = torchvision.models.VisionTransformer(
        c.image_size, c.patch_size, c.depth, c.num_heads, c.embedding_dim, c.mlp_size,
        num_classes=c.num_classes,
    )  # fmt: skip
    stem = model.patch_embedding
    E = stem.projection.weight.unflatten(1, (c.patch_size, c.patch_size, -1))
    twin.conv_proj.load_state_dict(
        {"weight": E.permute(0, 3, 1, 2), "bias": stem.projection.bias}
    )
    twin.class_token.data = stem.class_token.data
    twin.encoder.pos_embedding.data = stem.position_embedding.data
    for layer, block in zip(twin.encoder.layers, model.encoder.blocks, strict=True):
        msa, mlp = block.msa_block.msa, block.mlp_block.mlp
        layer.ln_1, layer.ln_2 = block.msa_block.layer_norm, block.mlp_block.layer_norm
        layer.self_attention.in_proj_weight.data = msa.qkv.weight.data
        layer.self_attention.in_proj_bias.data = msa.qkv.bias.data
        layer.self_attention.out_proj.load_state_dict(msa.out.state_dict())
        layer.mlp[0], layer.mlp[3] = mlp.linear_1, mlp.linear_2
        layer.mlp[1] = nn.GELU(gelu)
    twin.encoder.ln, twin.heads.head = model.layer_norm, model.head
    return twin.eval()


def test_forward_gives_logits_and_forward_features_gives_y():
    model = ViT(toy_config())
    logits, y = model(toy_images()), model.forward_features(toy_images())
    assert (logits.shape, logits.dtype) == ((2, 10), torch.float32)
    assert (y.shape, y.dtype) == ((2, 44), torch.float32)


@pytest.mark.ledger("Equation 4", "torchvision's logits, within 1e-5")
@torch.no_grad()
def test_logits_agree_with_torchvision():
    model = noisy_vit(toy_config())
    expected = torchvision_twin(model)(toy_images())
    torch.testing.assert_close(model(toy_images()), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_tanh_gelu_agrees_with_torchvision_given_that_gelu():
    exact = noisy_vit(toy_config())
    tanh = ViT(toy_config(gelu="tanh")).eval()
    tanh.load_state_dict(exact.state_dict())
    expected = torchvision_twin(tanh, gelu="tanh")(toy_images())
    torch.testing.assert_close(tanh(toy_images()), expected, atol=1e-5, rtol=1e-5)
    assert (tanh(toy_images()) - exact(toy_images())).abs().max() > 1e-5


@pytest.mark.ledger("Equation 4", "y is LayerNorm of the class token alone")
@torch.no_grad()
def test_y_is_layer_norm_of_the_class_token_alone():
    model = noisy_vit(toy_config())
    _, seen = model(toy_images(), return_intermediates=True)
    norm = model.layer_norm
    class_token = seen["z_7"][:, 0]
    centred = class_token - class_token.mean(1, keepdim=True)
    scale = (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
    y = centred / scale * norm.weight + norm.bias
    torch.testing.assert_close(seen["y"], y)
    torch.testing.assert_close(model.forward_features(toy_images()), y)


@torch.no_grad()
def test_intermediates_have_their_names_order_and_shapes():
    _, seen = ViT(toy_config())(toy_images(), return_intermediates=True)
    tokens, weights = (2, 26, 44), (2, 4, 26, 26)
    expected = {"patches": (2, 25, 192), "z0": tokens}
    for layer in range(1, 8):
        expected[f"attention_{layer}"] = weights
        expected[f"z_prime_{layer}"] = expected[f"z_{layer}"] = tokens
    expected["y"] = (2, 44)
    assert {name: tuple(value.shape) for name, value in seen.items()} == expected
    assert list(seen) == list(expected)


@pytest.mark.ledger("Figure 1", "each named intermediate follows from the one before")
@torch.no_grad()
def test_intermediates_follow_from_one_another():
    model = noisy_vit(toy_config(depth=2))
    logits, seen = model(toy_images(), return_intermediates=True)
    first, second = model.encoder.blocks
    torch.testing.assert_close(seen["patches"], patchify(toy_images(), 8))
    torch.testing.assert_close(seen["z0"], model.patch_embedding.embed(seen["patches"]))
    torch.testing.assert_close(seen["z_prime_1"], first.msa_block(seen["z0"]))
    torch.testing.assert_close(seen["z_1"], first.mlp_block(seen["z_prime_1"]))
    torch.testing.assert_close(seen["z_2"], second(seen["z_1"]))
    torch.testing.assert_close(logits, model.head(seen["y"]))
    for layer in (1, 2):
        rows = seen[f"attention_{layer}"].sum(dim=-1)
        torch.testing.assert_close(rows, torch.ones(2, 4, 26))


@torch.no_grad()
def test_fast_and_explicit_path_agree():
    model = noisy_vit(toy_config())
    fast = model(toy_images())
    explicit, _ = model(toy_images(), return_intermediates=True)
    assert fast.abs().max() > 0.1
    torch.testing.assert_close(fast, explicit, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_an_image_does_not_notice_its_batch_mates():
    model = noisy_vit(toy_config()).train()
    together = model(toy_images())
    alone = torch.cat([model(image[None]) for image in toy_images()])
    assert (together[0] - together[1]).abs().max() > 1e-3
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_without_positions_permuted_patches_give_the_same_logits():
    model = noisy_vit(toy_config())
    order = torch.randperm(25)
    shuffled = unpatchify(patchify(toy_images(), 8)[:, order], 8, (5, 5))
    assert (model(shuffled) - model(toy_images())).abs().max() > 1e-3
    model.patch_embedding.position_embedding.zero_()
    torch.testing.assert_close(
        model(shuffled), model(toy_images()), atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
def test_non_square_images_work():
    model = noisy_vit(toy_config(image_size=(24, 40)))
    images = toy_images()[:, :, :24]
    logits, seen = model(images, return_intermediates=True)
    assert logits.shape == (2, 10)
    assert seen["z0"].shape == (2, 16, 44)
    with pytest.raises(ValueError, match=r"\(B, 3, 24, 40\).*\(2, 3, 40, 24\)"):
        model(images.transpose(2, 3))


@pytest.mark.parametrize("shape", [(2, 3, 48, 40), (2, 1, 40, 40), (3, 40, 40)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="expected images of shape"):
        ViT(toy_config())(torch.zeros(shape))


@pytest.mark.parametrize("K", [3, 10, 1000])
@pytest.mark.parametrize("representation_size", [None, 52])
def test_first_loss_is_log_of_the_number_of_classes(K, representation_size):
    config = toy_config(num_classes=K, representation_size=representation_size)
    loss = F.cross_entropy(ViT(config)(toy_images()), torch.tensor([0, K - 1]))
    assert loss.item() == pytest.approx(math.log(K), abs=1e-6)


@pytest.mark.ledger("Section 3.2", "a new head is one linear layer of zeros")
def test_fine_tuning_head_is_one_linear_layer_of_zeros():
    head = make_head(toy_config())
    assert isinstance(head, nn.Linear)
    assert head.weight.shape == (10, 44)
    assert not head.weight.any() and not head.bias.any()


@torch.no_grad()
def test_pretraining_head_is_an_mlp_with_tanh():
    set_seeds(0)
    head = make_head(toy_config(representation_size=52))
    (U, c), (W, b) = (layer.parameters() for layer in (head[0], head[2]))
    assert (U.shape, W.shape) == ((52, 44), (10, 52))
    assert not W.any() and not b.any() and not c.any()
    assert U.std().item() == pytest.approx(44**-0.5, rel=0.05)  # LeCun's normal
    for parameter in (c, W, b):
        parameter.normal_()
    y = torch.randn(2, 44)
    torch.testing.assert_close(head(y), (y @ U.T + c).tanh() @ W.T + b)


def test_first_gradient_reaches_the_head_alone_and_the_second_every_parameter():
    set_seeds(0)
    model = ViT(toy_config())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    learning = []
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(toy_images()), torch.tensor([3, 8])).backward()
        learning.append({n for n, p in model.named_parameters() if p.grad.any()})
        optimizer.step()
    assert learning[0] == {"head.weight", "head.bias"}
    assert learning[1] == {name for name, _ in model.named_parameters()}


def test_gradient_reaches_every_parameter_of_the_pretraining_form():
    model = noisy_vit(toy_config(representation_size=52))
    F.cross_entropy(model(toy_images()), torch.tensor([3, 8])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.any(), name


@pytest.mark.parametrize(("name", "side"), COUNTS)
def test_presets_have_the_published_number_of_parameters(name, side):
    config = ViTConfig.from_variant(name, image_size=side)
    assert count_on_meta(config) == COUNTS[name, side]


def test_parameters_without_head_and_with_other_heads():
    for name, expected in [
        ("B/16", 85_798_656),
        ("L/16", 303_301_632),
        ("H/14", 630_764_800),
    ]:
        config = ViTConfig.from_variant(name)
        with torch.device("meta"):
            assert count(ViT(config)) - count(make_head(config)) == expected
    base = ViTConfig()
    assert count_on_meta(replace(base, num_classes=3)) == 85_800_963
    pretraining = replace(base, representation_size=768)
    assert count_on_meta(pretraining) == 86_567_656 + 768 * 768 + 768


@pytest.mark.parametrize("representation_size", [None, 52])
def test_number_of_parameters_follows_the_formula(representation_size):
    c = toy_config(image_size=(24, 40), representation_size=representation_size)
    N, D, F_, L, K, R = 15, 44, 176, 7, 10, representation_size
    block = 4 * D + 3 * D**2 + 3 * D + D**2 + D + 2 * D * F_ + F_ + D
    body = (192 * D + D) + D + (N + 1) * D + L * block + 2 * D
    head = D * R + R + R * K + K if R else D * K + K
    assert count(ViT(c)) == body + head
    assert count(ViT(toy_config())) == 176_846


def test_same_seed_gives_the_same_model():
    models = []
    for seed in (0, 0, 1):
        set_seeds(seed)
        models.append(ViT(toy_config()).state_dict())
    same, again, other = models
    name = "encoder.blocks.6.mlp_block.mlp.linear_1.weight"
    assert all(torch.equal(same[key], again[key]) for key in same)
    assert not torch.equal(same[name], other[name])


def test_dropout_acts_in_training_only():
    model = noisy_vit(toy_config(dropout=0.5))
    with torch.no_grad():
        assert torch.equal(model(toy_images()), model(toy_images()))
        model.train()
        assert not torch.equal(model(toy_images()), model(toy_images()))
