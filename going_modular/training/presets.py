"""What suits the images, where no flag of `train.py` says otherwise."""

__all__ = ["PHOTOS", "PRESETS", "SMOKE"]

SMALL = dict(embedding_dim=96, depth=6, num_heads=4, mlp_size=384)
TINY = dict(embedding_dim=48, depth=3, num_heads=4, mlp_size=192)
# With 13,500 images a narrower model does as well, in less than half the time.
FEW = dict(embedding_dim=64, depth=6, num_heads=4, mlp_size=256)
FEW |= dict(epochs=40, learning_rate=3e-3)
# With 60,000 images: more steps at a lower rate, milder crops, and no mirror, since
# nearly all shoes in the set point left.
FULL_SET = dict(epochs=12, batch_size=50, learning_rate=1e-3)
FULL_SET |= dict(augment="crop-only", crop_area=0.9)
PRESETS = {
    "built-in": dict(image_size=28, patch_size=7, **FEW),
    "fashion_mnist": dict(image_size=28, patch_size=7, **FULL_SET, **SMALL),
    "digits": dict(image_size=8, patch_size=2, augment="none", batch_size=32, **TINY),
    "cifar10": dict(image_size=32, patch_size=4, **SMALL),
}
PHOTOS = dict(image_size=64, patch_size=8, crop_area=0.3, **SMALL)
SMOKE = dict(data="digits", epochs=10)
