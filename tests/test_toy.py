"""toy: the small example that notebooks and tests share."""

import torch

from going_modular.config import count_parameters
from going_modular.teaching.checks import check_shape
from going_modular.teaching.toy import toy_config, toy_images, toy_tokens


def test_toy_sizes_all_differ_so_that_swapped_axes_show():
    c = toy_config()
    sizes = [
        len(toy_images()), c.in_channels, c.image_size, c.patch_size, c.num_patches,
        c.num_tokens, c.patch_dim, c.embedding_dim, c.num_heads, c.head_dim,
        c.mlp_size, c.depth, c.num_classes,
    ]  # fmt: skip
    assert sizes == [2, 3, 40, 8, 25, 26, 192, 44, 4, 11, 176, 7, 10]
    assert len(set(sizes)) == len(sizes)


def test_toy_model_has_176846_parameters():
    assert sum(count_parameters(toy_config()).values()) == 176_846


def test_toy_config_takes_changes():
    assert toy_config(depth=1, dropout=0.5).depth == 1
    assert toy_config(depth=1).embedding_dim == toy_config().embedding_dim


def test_toy_batches_fit_the_toy_config():
    c = toy_config()
    check_shape(toy_images(), 2, c.in_channels, *c.image_shape)
    check_shape(toy_tokens(), 2, c.num_tokens, c.embedding_dim)
    assert toy_images().dtype == toy_tokens().dtype == torch.float32


def test_toy_batches_are_the_same_each_time_and_leave_the_random_state_alone():
    before = torch.get_rng_state()
    assert toy_images().equal(toy_images())
    assert toy_tokens(3).equal(toy_tokens(3))
    assert not toy_tokens(3).equal(toy_tokens(4))
    assert torch.get_rng_state().equal(before)
