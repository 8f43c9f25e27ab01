"""Capturing: bit for bit the model's own prediction, and never a wrong or empty one."""

import gc
import re
import threading
import types

import numpy as np
import pytest
import scipy.special
import torch
import torch.nn.functional as F
from test_vit import noisy_vit
from torch import nn

from going_modular.config import ViTConfig
from going_modular.errors import InputError
from going_modular.inspection.capture import KINDS, capture, check_layer
from going_modular.patch_embedding import patchify
from going_modular.teaching.toy import toy_config, toy_images
from going_modular.vit import ViT

fused_attention = F.scaled_dot_product_attention


def images_for(config: ViTConfig, count: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        count, config.in_channels, *config.image_shape, generator=generator
    )


@pytest.fixture
def model() -> ViT:
    return noisy_vit(toy_config(depth=3))


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return toy_images()


class Wrapper(nn.Module):
    """Holds a ViT, as the wrappers for several processes do."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.module = inner

    def forward(self, x):
        return self.module(x)


def hooks_of(model: nn.Module) -> int:
    return sum(
        len(part._forward_hooks)
        + len(part._forward_pre_hooks)
        + len(part._backward_hooks)
        for part in model.modules()
    )


def equation(linear: nn.Linear, z: np.ndarray) -> np.ndarray:
    return z @ as_numpy(linear.weight).T + as_numpy(linear.bias)


def as_numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def normed(layer: nn.LayerNorm, z: np.ndarray) -> np.ndarray:
    centred = z - z.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + layer.eps)
    return centred / deviation * as_numpy(layer.weight) + as_numpy(layer.bias)


def by_hand(model: ViT, x: torch.Tensor) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """All that can be captured, in float64, image by image and head by head."""
    nh, dh = model.config.num_heads, model.config.head_dim
    D = nh * dh
    z = as_numpy(model.patch_embedding.embed(patchify(x, model.config.patch_size)))
    found = {kind: [] for kind in KINDS}
    for block in model.encoder.blocks:
        msa, mlp = block.msa_block.msa, block.mlp_block.mlp
        layer = {kind: [] for kind in KINDS}
        for image in range(len(x)):
            both = equation(msa.qkv, normed(block.msa_block.layer_norm, z[image]))
            heads = {kind: [] for kind in ("attention", "queries", "keys", "values")}
            out = []
            for h in range(nh):
                q, k, v = (
                    both[:, part * D + h * dh : part * D + (h + 1) * dh]
                    for part in range(3)
                )
                A = scipy.special.softmax(q @ k.T / np.sqrt(dh), axis=1)
                out.append(A @ v)
                for kind, value in zip(heads, (A, q, k, v), strict=True):
                    heads[kind].append(value)
            z[image] += equation(msa.out, np.concatenate(out, axis=1))
            hidden = equation(
                mlp.linear_1, normed(block.mlp_block.layer_norm, z[image])
            )
            hidden = hidden * (1 + scipy.special.erf(hidden / np.sqrt(2))) / 2
            z[image] += equation(mlp.linear_2, hidden)
            for kind, value in heads.items():
                layer[kind].append(value)
            layer["hidden"].append(z[image].copy())
        for kind in KINDS:
            found[kind].append(layer[kind])
    y = normed(model.layer_norm, z[:, 0])
    return {k: np.array(v) for k, v in found.items()}, equation(model.head, y)


def assert_captures_by_hand(model: ViT, x: torch.Tensor, tolerance: float = 2e-5):
    found = capture(model, x, kinds=KINDS)
    expected, logits = by_hand(model, x)
    for kind in KINDS:
        value = getattr(found, kind)
        assert value.shape == expected[kind].shape
        np.testing.assert_allclose(value, expected[kind], atol=tolerance, rtol=1e-4)
    np.testing.assert_allclose(found.logits, logits, atol=tolerance, rtol=1e-4)


# What is captured is what the model computes.


@pytest.mark.parametrize("kinds", [[kind] for kind in KINDS] + [KINDS])
def test_logits_are_bit_equal_to_those_without_capture(model, x, kinds):
    with torch.no_grad():
        expected = model(x)
    assert torch.equal(capture(model, x, kinds=kinds).logits, expected)


@pytest.mark.parametrize("image_size", [40, (24, 40)])
def test_all_kinds_agree_with_a_calculation_by_hand(image_size):
    config = toy_config(image_size=image_size, depth=3)
    assert_captures_by_hand(noisy_vit(config), images_for(config))


def test_random_configurations_agree_with_a_calculation_by_hand():
    rng = np.random.default_rng(0)
    for seed in range(8):
        patch, heads = (int(n) for n in rng.integers(1, 6, size=2))
        rows, columns = (int(n) for n in rng.integers(1, 6, size=2))
        config = ViTConfig(
            image_size=(rows * patch, columns * patch),
            patch_size=patch,
            in_channels=int(rng.integers(1, 4)),
            embedding_dim=heads * int(rng.integers(2, 9)),
            depth=int(rng.integers(1, 4)),
            num_heads=heads,
            mlp_size=int(rng.integers(1, 40)),
            num_classes=int(rng.integers(1, 7)),
        )
        x = images_for(config, count=int(rng.integers(1, 4)), seed=seed)
        assert_captures_by_hand(noisy_vit(config), x, tolerance=1e-4)


@pytest.mark.parametrize("image_size", [40, (24, 40)])
def test_all_kinds_agree_with_the_model_s_intermediates(image_size):
    model = noisy_vit(toy_config(image_size=image_size))
    x = images_for(model.config)
    with torch.no_grad():
        _, seen = model(x, return_intermediates=True)
    found = capture(model, x, kinds=("hidden", "attention"))
    for layer in range(1, 8):
        expected = seen[f"attention_{layer}"], seen[f"z_{layer}"]
        torch.testing.assert_close(found.attention[layer - 1], expected[0])
        torch.testing.assert_close(
            found.hidden[layer - 1], expected[1], atol=1e-4, rtol=1e-4
        )


def test_rows_of_attention_sum_to_one(model, x):
    sums = capture(model, x).attention.double().sum(-1)
    assert (sums - 1).abs().max() <= 1e-6


def test_attention_belongs_to_the_captured_queries_keys_and_values(model, x):
    found = capture(model, x, kinds=KINDS)
    scores = torch.einsum("lbhid,lbhjd->lbhij", found.queries, found.keys)
    expected = (scores / 11**0.5).softmax(-1)
    torch.testing.assert_close(found.attention, expected)
    for place, block in enumerate(model.encoder.blocks):
        sa = found.attention[place] @ found.values[place]
        heads = torch.cat(list(sa.unbind(1)), dim=-1)
        before = found.hidden[place - 1] if place else model.patch_embedding(x)
        z_prime = block.msa_block.msa.out(heads) + before
        torch.testing.assert_close(
            found.hidden[place], block.mlp_block(z_prime), atol=1e-4, rtol=1e-4
        )


def test_one_image_gives_what_it_gives_in_a_batch(model, x):
    batch = capture(model, x, kinds=KINDS)
    for image in range(2):
        one = capture(model, x[image : image + 1], kinds=KINDS)
        for kind in KINDS:
            value = getattr(one, kind)
            assert value.shape[1] == 1
            expected = getattr(batch, kind)[:, image : image + 1]
            torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-4)


# What is asked for, and only that.


def test_chosen_layers_come_in_the_chosen_order_once_each(x):
    model = noisy_vit(toy_config())
    every = capture(model, x, kinds=KINDS)
    assert every.layers == (1, 2, 3, 4, 5, 6, 7)
    some = capture(model, x, layers=iter([6, 1, 6, 3]), kinds=KINDS)
    assert some.layers == (6, 1, 3)
    for kind in KINDS:
        expected = getattr(every, kind)[[5, 0, 2]]
        assert torch.equal(getattr(some, kind), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_not_asked_for_are_none(model, x, kind):
    found = capture(model, x, kinds=(kind,))
    have = {name for name in KINDS if getattr(found, name) is not None}
    assert have == {kind}


def test_attention_of_all_layers_is_the_default(model, x):
    found = capture(model, x)
    assert found.attention.shape == (3, 2, 4, 26, 26)
    assert found.hidden is None


def tensors_alive() -> int:
    gc.collect()
    return sum(type(thing) is torch.Tensor for thing in gc.get_objects())


def test_nothing_else_stays_in_memory(model, x):
    capture(model, x)
    before = tensors_alive()
    found = capture(model, x, layers=(2,), kinds=("attention", "keys"))
    assert tensors_alive() == before + 3
    for kept, numbers in ((found.attention, 2 * 4 * 26**2), (found.keys, 2 * 26 * 44)):
        assert kept.untyped_storage().nbytes() == 4 * numbers, "a part of no larger one"
        assert kept.is_contiguous() and not kept.requires_grad


def test_store_lies_on_the_chosen_device(model, x):
    found = capture(model, x, kinds=KINDS, device="meta")
    assert found.logits.device.type == "cpu"
    for kind in KINDS:
        assert getattr(found, kind).device.type == "meta"


# The model is as it was.


def test_no_hooks_are_left_behind(model, x):
    capture(model, x, kinds=KINDS)
    assert hooks_of(model) == 0


def test_no_hooks_are_left_behind_after_an_error_in_the_pass(model, x):
    def fail(*args):
        raise KeyboardInterrupt

    model.encoder.blocks[1].mlp_block.forward = fail
    with pytest.raises(KeyboardInterrupt):
        capture(model, x, kinds=KINDS)
    assert hooks_of(model) == 0


def test_no_hooks_are_left_behind_when_a_layer_cannot_be_watched(model, x):
    class QueriesOnly(nn.Module):
        def __init__(self, qkv):
            super().__init__()
            self.qkv, self.num_heads = qkv, 4

        def forward(self, z):
            return z

    part = model.encoder.blocks[1].msa_block
    part.msa = QueriesOnly(part.msa.qkv)
    with pytest.raises(RuntimeError):
        capture(model, x)
    assert hooks_of(model) == 0


def test_hooks_of_others_stay_and_run(model, x):
    calls = []
    model.encoder.blocks[0].msa_block.msa.qkv.register_forward_hook(
        lambda *args: calls.append(1)
    )
    capture(model, x)
    assert hooks_of(model) == 1 and calls == [1]


def test_parameters_gradients_mode_and_images_are_untouched(model, x):
    model.train()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    copy = x.clone()
    capture(model, x, kinds=KINDS)
    assert model.training and torch.equal(x, copy)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    for parameter in model.parameters():
        assert parameter.requires_grad and (parameter.grad == 3).all()


def test_gradients_can_be_taken_right_after(model, x):
    assert torch.is_grad_enabled()
    capture(model, x)
    model(x).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_capture_works_in_inference_mode(model, x):
    with torch.inference_mode():
        found = capture(model, x)
    assert torch.equal(found.attention, capture(model, x).attention)


# The model as it is: its precision, its mode, its compiler, its wrapper.


def test_autocast_predicts_and_attends_in_its_precision(model, x):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = model(x)
        found = capture(model, x, kinds=KINDS)
    assert found.logits.dtype == torch.bfloat16
    assert torch.equal(found.logits, expected)
    for kind in KINDS:
        assert getattr(found, kind).dtype == torch.float32
    assert (found.attention.sum(-1) - 1).abs().max() <= 1e-6
    # Queries are the very numbers of the pass; A follows from them in full precision.
    assert torch.equal(found.queries, found.queries.bfloat16().float())
    scores = found.queries @ found.keys.transpose(-2, -1) / 11**0.5
    torch.testing.assert_close(found.attention, scores.softmax(-1))
    exact = capture(model, x).attention
    assert 1e-6 < (found.attention - exact).abs().max() < 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_other_precisions_predict_as_without_capture(model, x, dtype):
    model, x = model.to(dtype), x.to(dtype)
    with torch.no_grad():
        expected = model(x)
    found = capture(model, x, kinds=KINDS)
    assert found.logits.dtype == dtype and torch.equal(found.logits, expected)
    kept = torch.float64 if dtype == torch.float64 else torch.float32
    for kind in KINDS:
        assert getattr(found, kind).dtype == kept
    assert (found.attention.sum(-1) - 1).abs().max() <= 1e-6


def test_float64_weights_give_attention_to_float64(model, x):
    assert_captures_by_hand(model.double(), x.double(), tolerance=1e-11)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("in_place", [False, True])
def test_compiled_models_give_what_uncompiled_ones_do(model, x, backend, in_place):
    torch.compiler.reset()
    expected = capture(model, x, kinds=KINDS)
    if in_place:
        model.compile(backend=backend)
        compiled = model
    else:
        compiled = torch.compile(model, backend=backend)
    with torch.no_grad():
        compiled(x)  # so that there is compiled code, which calls no hooks
    found = capture(compiled, x, kinds=KINDS)
    for kind in (*KINDS, "logits"):
        assert torch.equal(getattr(found, kind), getattr(expected, kind))
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), expected.logits)
    torch.compiler.reset()


def test_compiled_blocks_give_what_uncompiled_ones_do(model, x):
    torch.compiler.reset()
    expected = capture(model, x, kinds=KINDS)
    for block in model.encoder.blocks:
        block.compile(backend="eager")
    with torch.no_grad():
        model(x)
    found = capture(model, x, kinds=KINDS)
    for kind in KINDS:
        assert torch.equal(getattr(found, kind), getattr(expected, kind))
    torch.compiler.reset()


def test_compiled_code_is_used_again_afterwards(model, x):
    torch.compiler.reset()
    graphs = []

    def backend(graph, example):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, backend=backend)
    with torch.no_grad():
        compiled(x)
        count = len(graphs)
        capture(compiled, x)
        compiled(x)
    assert len(graphs) == count > 0
    torch.compiler.reset()


def test_wrapped_models_give_what_bare_ones_do(model, x):
    expected = capture(model, x)
    found = capture(Wrapper(Wrapper(model)), x)
    assert torch.equal(found.attention, expected.attention)
    assert torch.equal(found.logits, expected.logits)


def test_wrapper_s_own_prediction_is_the_one_that_is_given(model, x):
    class Flipped(Wrapper):
        def forward(self, x):
            return 2 * self.module(x.flip(-1))

    found = capture(Flipped(model), x)
    expected = capture(model, x.flip(-1))
    assert torch.equal(found.logits, 2 * expected.logits)
    assert torch.equal(found.attention, expected.attention)


def test_dropout_of_train_mode_is_that_of_the_same_pass(x):
    model = noisy_vit(toy_config(depth=3, dropout=0.3)).train()
    torch.manual_seed(5)
    with torch.no_grad():
        expected = model(x)
    torch.manual_seed(5)
    with torch.no_grad():
        _, seen = model(x, return_intermediates=True)
    torch.manual_seed(5)
    found = capture(model, x, kinds=("attention", "hidden"))
    after_capture = torch.rand(1)
    assert torch.equal(found.logits, expected), "capture draws no random numbers"
    torch.manual_seed(5)
    model(x)
    assert torch.equal(torch.rand(1), after_capture), "neither does it for what follows"
    for place in range(3):
        attention = seen[f"attention_{place + 1}"]
        torch.testing.assert_close(found.attention[place], attention)
    calm = capture(model.eval(), x)
    assert (calm.attention[2] - found.attention[2]).abs().max() > 1e-3


def test_models_that_differ_in_heads_only_differ_in_attention(x):
    model = noisy_vit(toy_config(depth=1))
    twin = ViT(toy_config(depth=1, num_heads=11)).eval()
    twin.load_state_dict(model.state_dict())
    four, eleven = capture(model, x), capture(twin, x)
    assert eleven.attention.shape == (1, 2, 11, 26, 26)
    assert_captures_by_hand(twin, x)
    assert not torch.equal(four.logits, eleven.logits)


# Never empty, never another computation: each departure is refused.


def replace_msa(model: ViT, forward, layer: int = 2) -> None:
    msa = model.encoder.blocks[layer - 1].msa_block.msa
    msa.forward = types.MethodType(forward, msa)


def split(msa, qkv):
    return qkv.unflatten(-1, (3, msa.num_heads, -1)).permute(2, 0, 3, 1, 4)


def test_attention_that_goes_around_qkv_is_refused(model, x):
    def forward(msa, z):
        qkv = F.linear(z, msa.qkv.weight, msa.qkv.bias)
        sa = fused_attention(*split(msa, qkv))
        return F.linear(sa.transpose(1, 2).flatten(2), msa.out.weight, msa.out.bias)

    replace_msa(model, forward)
    with pytest.raises(RuntimeError, match="nothing came out of layer 2"):
        capture(model, x)


def test_attention_that_goes_around_qkv_only_is_refused(model, x):
    def forward(msa, z):
        qkv = F.linear(z, msa.qkv.weight, msa.qkv.bias)
        return msa.out(fused_attention(*split(msa, qkv)).transpose(1, 2).flatten(2))

    replace_msa(model, forward)
    with pytest.raises(RuntimeError):
        capture(model, x)


def test_attention_that_goes_around_out_is_refused(model, x):
    def forward(msa, z):
        sa = fused_attention(*split(msa, msa.qkv(z)), scale=1.0)
        return F.linear(sa.transpose(1, 2).flatten(2), msa.out.weight, msa.out.bias)

    replace_msa(model, forward)
    with pytest.raises(RuntimeError):
        capture(model, x)


def test_another_kind_of_attention_layer_is_refused(model, x):
    class Mixer(nn.Module):
        def forward(self, z):
            return z.mean(1, keepdim=True).expand_as(z)

    model.encoder.blocks[1].msa_block.msa = Mixer()
    with pytest.raises(RuntimeError):
        capture(model, x)


def halve(q, k, v, **options):
    return fused_attention(q, k, v, **options) / 2


def sharpen(q, k, v, **options):
    return fused_attention(q, k, v, scale=1.1 / q.shape[-1] ** 0.5)


def hide_the_last_token(q, k, v, **options):
    mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool)
    mask[:, -1] = False
    return fused_attention(q, k, v, attn_mask=mask)


def look_back_only(q, k, v, **options):
    return fused_attention(q, k, v, is_causal=True)


def drop_weights(q, k, v, **options):
    return fused_attention(q, k, v, dropout_p=0.1)


def swap_heads(q, k, v, **options):
    return fused_attention(q, k, v).flip(1)


def swap_images(q, k, v, **options):
    return fused_attention(q, k, v).flip(0)


def nothing_finite(q, k, v, **options):
    return fused_attention(q, k, v) * float("nan")


@pytest.mark.parametrize(
    "kernel",
    [
        halve,
        sharpen,
        hide_the_last_token,
        look_back_only,
        drop_weights,
        swap_heads,
        swap_images,
        nothing_finite,
    ],
)
def test_kernels_that_compute_something_else_are_refused(model, x, kernel, monkeypatch):
    monkeypatch.setattr(F, "scaled_dot_product_attention", kernel)
    with pytest.raises(RuntimeError, match="something else than A v"):
        capture(model, x)
    assert hooks_of(model) == 0


def test_kernel_of_one_layer_only_is_noticed_there(model, x, monkeypatch):
    calls = []

    def kernel(q, k, v, **options):
        calls.append(1)
        return (halve if len(calls) == 3 else fused_attention)(q, k, v)

    monkeypatch.setattr(F, "scaled_dot_product_attention", kernel)
    with pytest.raises(RuntimeError, match="something else than A v"):
        capture(model, x)
    calls.clear()
    assert capture(model, x, layers=(1, 2)).attention.shape[0] == 2


def test_half_precision_kernels_that_compute_something_else_are_refused(
    model, x, monkeypatch
):
    monkeypatch.setattr(F, "scaled_dot_product_attention", halve)
    with pytest.raises(RuntimeError, match="something else than A v"):
        capture(model.half(), x.half())


def skip_attention(block):
    block.forward = types.MethodType(lambda block, z: block.mlp_block(z), block)


def skip_block(block):
    block.msa_block.forward = lambda z: z


@pytest.mark.parametrize("skip", [skip_attention, skip_block])
@pytest.mark.parametrize("kinds", [("attention",), ("keys", "hidden")])
def test_blocks_that_skip_their_attention_are_refused(model, x, skip, kinds):
    skip(model.encoder.blocks[1])
    with pytest.raises(RuntimeError, match="nothing came out of layer 2"):
        capture(model, x, kinds=kinds)
    assert capture(model, x, layers=(1, 3)).attention.shape[0] == 2


def test_encoder_that_leaves_a_block_out_is_refused(model, x):
    def forward(encoder, z, intermediates=None):
        return encoder.blocks[2](encoder.blocks[0](z))

    model.encoder.forward = types.MethodType(forward, model.encoder)
    for kinds in (("attention",), ("hidden",)):
        with pytest.raises(RuntimeError, match="nothing came out of layer 2"):
            capture(model, x, kinds=kinds)


def test_blocks_that_were_cut_out_are_refused(model, x):
    model.encoder.blocks[1] = nn.Identity()
    with pytest.raises(RuntimeError):
        capture(model, x)
    assert hooks_of(model) == 0


def test_layers_that_share_a_block_do_not_give_one_for_the_other(model, x):
    with torch.no_grad():
        model.encoder.blocks[1] = model.encoder.blocks[0]
        _, seen = model(x, return_intermediates=True)
    try:
        found = capture(model, x)
    except RuntimeError:
        return  # refused: no wrong picture
    for place in range(3):
        expected = seen[f"attention_{place + 1}"]
        torch.testing.assert_close(found.attention[place], expected)


@pytest.mark.parametrize("kind", ["attention", "hidden"])
def test_model_that_runs_twice_in_one_pass_is_refused(model, x, kind):
    class BothWays(Wrapper):
        def forward(self, x):
            return self.module(x) + self.module(x.flip(-1))

    with pytest.raises(RuntimeError):
        capture(BothWays(model), x, kinds=(kind,))


def test_wrapper_that_asks_for_intermediates_gets_them(model, x):
    class Asks(Wrapper):
        def forward(self, x):
            return self.module(x, return_intermediates=True)[0]

    expected = capture(model, x, kinds=("attention", "hidden"))
    found = capture(Asks(model), x, kinds=("attention", "hidden"))
    for kind in ("attention", "hidden"):
        value = getattr(found, kind)
        torch.testing.assert_close(value, getattr(expected, kind), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("other", [nn.Linear(3, 2), nn.Sequential(nn.Flatten())])
def test_models_that_are_no_vit_are_refused(x, other):
    with pytest.raises(InputError, match=f"needs a ViT, not {type(other).__name__}"):
        capture(other, x)


@pytest.mark.parametrize("layer", [0, 4, -1, 1.5, "1"])
def test_layers_that_are_not_there_are_refused(model, x, layer):
    expected = re.escape(f"no layer {layer}: this model has layers 1 to 3")
    with pytest.raises(InputError, match=expected):
        capture(model, x, layers=[1, layer])
    with pytest.raises(InputError, match=expected):
        check_layer(layer, 3)


def test_unknown_kinds_are_refused(model, x):
    with pytest.raises(InputError, match="no kind 'logits' to capture: attention, q"):
        capture(model, x, kinds=("attention", "logits"))
    assert hooks_of(model) == 0


@pytest.mark.parametrize("asked", [dict(layers=[]), dict(kinds=[])])
def test_asking_for_nothing_is_refused(model, x, asked):
    with pytest.raises(InputError, match="nothing to capture"):
        capture(model, x, **asked)


def test_other_threads_may_predict_with_the_same_model_meanwhile():
    model = noisy_vit(toy_config()).eval()
    images = [images_for(model.config, seed=seed) for seed in range(9)]
    expected = [capture(model, x, kinds=KINDS) for x in images]
    stop = threading.Event()

    def predict_on() -> None:
        with torch.inference_mode():
            while not stop.is_set():
                model(images[-1])

    threads = [threading.Thread(target=predict_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            for x, whole in zip(images, expected, strict=True):
                found = capture(model, x, kinds=KINDS)
                assert torch.equal(found.logits, whole.logits)
                for kind in KINDS:
                    assert torch.equal(getattr(found, kind), getattr(whole, kind))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
