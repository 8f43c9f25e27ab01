"""What suits the images, where no flag of `train.py` says otherwise."""

__all__ = ["HYBRID", "PHOTOS", "PRESETS", "SMOKE", "explain", "suit_photos"]

SMALL = dict(embedding_dim=96, depth=6, num_heads=4, mlp_size=384)
TINY = dict(embedding_dim=48, depth=3, num_heads=4, mlp_size=192)
# With 13,500 images a narrower model does as well, in less than half the time.
FEW = dict(embedding_dim=64, depth=6, num_heads=4, mlp_size=256)
FEW |= dict(epochs=40, learning_rate=3e-3)
# With 60,000 images: more steps at a lower rate, milder crops, and no mirror, since
# nearly all shoes in the set point left.
FULL_SET = dict(epochs=12, batch_size=50, learning_rate=1e-3)
FULL_SET |= dict(augment="crop-only", crop_area=0.9)
# Behind a stem of convolutions two blocks learn clothes faster than six without it, and
# have smaller patches to look at.
CLOTHES = dict(stem="conv", image_size=28, patch_size=4, learning_rate=3e-3)
CLOTHES |= dict(embedding_dim=64, depth=2, num_heads=4, mlp_size=256)
HYBRID = (
    "a few convolutions look at the images first, as in section 3.1's hybrid; "
    "--stem patches gives the paper's own model"
)
# For each set by its name: the settings for each stem, the default first.
PRESETS = {
    "built-in": {
        "conv": dict(epochs=20, **CLOTHES),
        "patches": dict(image_size=28, patch_size=7, **FEW),
    },
    "fashion_mnist": {
        "conv": dict(epochs=16, **CLOTHES),
        "patches": dict(image_size=28, patch_size=7, **FULL_SET, **SMALL),
    },
    "digits": {
        "patches": dict(
            image_size=8, patch_size=2, augment="none", batch_size=32, **TINY
        ),
    },
    "cifar10": {"patches": dict(image_size=32, patch_size=4, **SMALL)},
}
# Of torchvision's other sets, and of the user's own photos with patches of pixels.
PHOTOS = dict(stem="patches", image_size=64, patch_size=8, crop_area=0.5, **SMALL)
# Behind a stem of convolutions a shallow, wide model learns fastest.
BEHIND_STEM = dict(embedding_dim=128, depth=4, num_heads=4, mlp_size=512)
BEHIND_STEM |= dict(stem="conv", learning_rate=1e-3, crop_area=0.8)
SEEN = 60_000  # images, over all epochs: minutes on two cores
SMOKE = dict(data="digits", epochs=10)


def suit_photos(
    count: int, side: int, stem: str = "conv", image_size: int | None = None
) -> dict:
    """Settings for a folder of the user's own photos, by how many and how large.

    Few photos are seen more often, in smaller batches. Those of at most 40 pixels are
    not enlarged to 64, since that would add pixels and no knowledge.

    Args:
        count: Photos for training.
        side: Their shorter side in pixels, as it is for half of them.
        stem: "conv", or "patches" for the paper's own model.
        image_size: Side that the model is to read, where somebody has said it.

    Returns:
        Fields of a `Plan`, flat as its `settings()`.
    """
    settings = PHOTOS if stem == "patches" else PHOTOS | BEHIND_STEM
    size = image_size or (32 if side <= 40 else 64)
    patch = 16 if size > 40 else 8
    return settings | dict(
        image_size=size,
        patch_size=patch if stem == "conv" else patch // 2,
        epochs=min(200, max(10, round(SEEN / count))),
        batch_size=25 if count < 500 else 50 if count < 20_000 else 100,
    )


def explain(settings: dict, count: int, side: int) -> str:
    """Say in a sentence what was chosen for photos, and why.

    Args:
        settings: As `suit_photos` gives them, and what flags say instead.
        count, side: As for `suit_photos`.
    """
    stem = (
        "a stem of convolutions, which few photos need to learn fast"
        if settings["stem"] == "conv"
        else "patches of pixels"
    )
    return (
        f"for {count:,} photos of about {side} pixels: {settings['epochs']} epochs in "
        f"batches of {settings['batch_size']}, images of {settings['image_size']} "
        f"pixels, and {stem} (flags say otherwise: see --help)"
    )
