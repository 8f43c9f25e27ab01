"""Figures from real weights: drawn from any file, and never fetched unasked."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from going_modular.config import ViTConfig
from going_modular.data_setup import PHOTOS
from going_modular.errors import InputError
from going_modular.teaching import real_weights
from going_modular.vit import ViT
from tools import make_real_figures

# ViT-S/16, two blocks deep and at a third of its resolution: quick, and of its kind.
SIZES = dict(image_size=80, patch_size=16, embedding_dim=384, depth=2, num_heads=6)


def as_timm(model: ViT, head: bool) -> dict:
    from going_modular.pretrained import export_state_dict

    state = export_state_dict(model, "timm")
    return {k: v.contiguous() for k, v in state.items() if head or "head" not in k}


@pytest.fixture(params=[True, False], ids=["head", "no head"])
def weights(request, tmp_path):
    torch.manual_seed(0)
    model = ViT(ViTConfig(mlp_size=1536, num_classes=5, **SIZES))
    torch.nn.init.normal_(model.head.weight)
    path = tmp_path / "weights.safetensors"
    save_file(as_timm(model, request.param), path)
    return path, request.param


def test_the_script_draws_both_figures(weights, tmp_path, capsys):
    path, head = weights
    make_real_figures.main([str(path), "--output", str(tmp_path / "out")])
    written = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert written == ["real_maps.png", "real_structure.png"]
    assert capsys.readouterr().out.count(".png") == 2
    titles = {ax.get_title() for ax in real_weights.draw_maps(path).axes}
    assert {"last layer", "rollout"} <= titles
    assert ("relevance" in titles) == head


def test_every_photo_of_the_package_is_drawn(weights):
    figure = real_weights.draw_maps(weights[0])
    assert {ax.get_ylabel() for ax in figure.axes} >= set(PHOTOS)


def test_weights_that_are_not_there_end_in_one_line(tmp_path):
    with pytest.raises(SystemExit) as end:
        make_real_figures.main([str(tmp_path / "none.pth"), "--output", str(tmp_path)])
    assert len(str(end.value).splitlines()) == 1


def test_the_cache_is_searched_and_nothing_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(real_weights, "in_hub_cache", lambda name: False)
    assert real_weights.find_cached() is None
    place = real_weights.cached(real_weights.find_torchvision("vit_b_16").url)
    place.parent.mkdir(parents=True)
    place.touch()
    assert real_weights.find_cached() == "vit_b_16"
    if real_weights.find_spec("timm"):
        monkeypatch.setattr(real_weights, "in_hub_cache", lambda name: True)
        assert real_weights.find_cached(real_weights.SOURCES[1:]) is not None


def test_a_model_with_registers_is_refused(tmp_path):
    from going_modular.variants.registers import ViTWithRegisters

    torch.manual_seed(0)
    model = ViTWithRegisters(ViTConfig(mlp_size=64, num_classes=5, **SIZES), 2)
    state = as_timm(model, head=True)
    path = tmp_path / "registers.safetensors"
    save_file(state, path)
    with pytest.raises(InputError, match="without registers"):
        real_weights.draw_maps(path)


def test_one_bright_patch_does_not_dim_the_others(weights, monkeypatch):
    drawn = []
    draw = real_weights.plots.plot_maps_of_images

    def draw_with_a_bright_patch(photos, columns, *more):
        for maps in columns.values():
            maps[:, 0, 0] = 1e6
        drawn.append(draw(photos, columns, *more))
        return drawn[0]

    monkeypatch.setattr(
        real_weights.plots, "plot_maps_of_images", draw_with_a_bright_patch
    )
    real_weights.draw_maps(weights[0])
    maps = [ax.images[1] for ax in drawn[0].axes if len(ax.images) == 2]
    for shown in maps:
        others = np.sort(shown.get_array().ravel())[:-1]
        assert shown.get_clim() == (0, 1) and others[-1] > 0.1


@pytest.mark.parametrize("grid, shown", [((5, 6), (5, 6)), ((37, 9), (7, 7))])
def test_large_grids_are_sampled_from_edge_to_edge(grid, shown):
    marks = torch.arange(grid[0] * grid[1]).view(*grid, 1, 1).expand(*grid, *grid)
    found = real_weights.sample_places(marks)
    assert found.shape == (*shown, *grid)
    assert found[0, 0, 0, 0] == 0 and found[-1, -1, 0, 0] == grid[0] * grid[1] - 1
