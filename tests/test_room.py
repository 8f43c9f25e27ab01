"""A page and its memory: what has room is chosen, and counted before it is taken."""

import subprocess
import sys
from dataclasses import replace

import pytest
from notebook_files import ROOT

from going_modular.config import ViTConfig
from going_modular.errors import InputError
from going_modular.explorer import data
from going_modular.explorer.room import find_room, memory_needed, why_less

SMALL = ViTConfig.from_variant("S/16", patch_size=14, image_size=518)
GIANT = replace(SMALL, image_size=1036)


def page_bytes(config: ViTConfig, layers: int) -> int:
    return layers * data.bytes_of_a_layer(config)


def test_what_has_room_is_left_as_it_is():
    small = replace(SMALL, image_size=224)
    assert find_room(small) == ((224, 224), list(range(1, 13)))
    assert find_room(SMALL, layers=[2, 5]) == ((518, 518), [2, 5])
    assert why_less(small, small, 12, list(range(1, 13)), 1e12) == ""


@pytest.mark.parametrize("layer", [None, 1, 7, 12])
def test_fewer_layers_come_first_spread_up_to_the_last_with_the_one_asked_for(layer):
    shape, layers = find_room(SMALL, layer=layer)
    assert shape == (518, 518) and layers == sorted(set(layers))
    assert (layer or 12) in layers and set(layers) <= set(range(1, 13))
    assert page_bytes(SMALL, len(layers)) <= data.MOST_BYTES
    assert page_bytes(SMALL, len(layers) + 1) > data.MOST_BYTES
    if layer in (None, 12):
        assert layers == [3, 6, 9, 12]
    why = why_less(SMALL, SMALL, 12, layers, 1e12)
    assert why.startswith(f"layers {', '.join(map(str, layers))} kept (--layers")


@pytest.mark.parametrize("layers", [None, [1, 12], list(range(1, 13))])
@pytest.mark.parametrize("shape", [(1036, 1036), (518, 1554)])
def test_then_the_image_becomes_as_small_as_it_has_to_be(layers, shape):
    asked = replace(GIANT, image_size=shape)
    found, kept = find_room(asked, layers)
    least = len(layers) if layers else 3
    assert kept == layers or len(kept) == least
    shown = replace(asked, image_size=found)
    assert page_bytes(shown, len(kept)) <= data.MOST_BYTES
    P = SMALL.patch_size
    sides = (min(found) + P, round((min(found) + P) * max(shape) / min(shape) / P) * P)
    assert page_bytes(replace(asked, image_size=sides), least) > data.MOST_BYTES
    assert max(found) / min(found) == pytest.approx(max(shape) / min(shape), rel=0.05)
    line = why_less(asked, shown, 12, kept, 1e12)
    assert line.startswith(f"image made {found[1]} x {found[0]} pixels, since")


def test_one_layer_is_enough_where_the_size_was_asked_for():
    large = replace(GIANT, image_size=700)
    assert find_room(large, fewest=1) == ((700, 700), [12])
    assert find_room(large)[0] < (700, 700)


def test_memory_that_is_not_there_makes_the_image_smaller():
    free = memory_needed(SMALL, 4)
    assert find_room(GIANT, memory=free, layers=[12])[0] == (518, 518)
    why = why_less(GIANT, SMALL, 1, [12], free)
    needed, there = memory_needed(GIANT, 1) / 1e9, free / 1e9
    assert f"about {needed:.2g} GB of memory, and {there:.2g} are free" in why
    with pytest.raises(InputError, match="attention at 14 x 14 pixels .*close other"):
        find_room(GIANT, memory=1e6)


MEASURE = """
import torch
from going_modular.config import ViTConfig
from going_modular.explorer.data import explore_image
from going_modular.explorer.page import page
from going_modular.explorer.room import memory_needed
from going_modular.vit import ViT
def used(name):  # the kernel's figures: getrusage would begin with those of pytest
    lines = open("/proc/self/status", encoding="utf-8")
    return next(int(line.split()[1]) * 1024 for line in lines if name in line)
before = used("VmRSS")
config = ViTConfig.from_variant("Ti/16", image_size=512, depth=6, num_heads=16)
model = ViT(config).eval()
image = torch.zeros(3, *config.image_shape, dtype=torch.uint8)
names = [str(i) for i in range(config.num_classes)]
text = page(explore_image(model, image, names, layers=[3, 6])).encode()
print((used("VmHWM") - before) / memory_needed(config, 2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's own figures")
def test_the_peak_is_what_was_counted():
    done = subprocess.run(
        [sys.executable, "-c", MEASURE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert 0.75 < float(done.stdout) < 1.25, done.stdout + done.stderr
