# %% 1 right: the depth is counted as well
def which_model(shapes):
    D, patch_dim = shapes["patch_embedding.projection.weight"]
    L = sum(name.endswith("msa.qkv.weight") for name in shapes)
    for size, fields in VARIANTS.items():
        if (fields["embedding_dim"], fields["depth"]) == (D, L):
            P = int((patch_dim // 3) ** 0.5)
            N = shapes["patch_embedding.position_embedding"][1] - 1
            return f"ViT-{size}/{P}", int(N**0.5) * P


# %% 1 right: models are built until one fits
from going_modular.config import ViTConfig


def which_model(shapes):
    with torch.device("meta"):
        for size in VARIANTS:
            for P in (8, 14, 16, 32):
                rows = round(
                    (shapes["patch_embedding.position_embedding"][1] - 1) ** 0.5
                )
                c = ViTConfig.from_variant(f"{size}/{P}", rows * P)
                body = ViT(c).state_dict()
                names = [n for n in body if not n.startswith("head")]
                if all(tuple(body[n].shape) == shapes.get(n) for n in names):
                    return f"{size}/{P}", rows * P


# %% 1 right: a table of widths, and a list
import math


def which_model(shapes):
    D = shapes["layer_norm.weight"][0]
    size = {192: "Ti", 384: "S", 768: "B", 1024: "L", 1280: "H"}[D]
    P = math.isqrt(shapes["patch_embedding.projection.weight"][1] // 3)
    N = shapes["patch_embedding.position_embedding"][1] - 1
    return [f"vit_{size.lower()}_{P}", math.isqrt(N * P * P)]


# %% 1 wrong: channels are forgotten
def which_model(shapes):
    D, patch_dim = shapes["patch_embedding.projection.weight"]
    (size,) = [s for s, v in VARIANTS.items() if v["embedding_dim"] == D]
    P = int(patch_dim**0.5)
    N = shapes["patch_embedding.position_embedding"][1] - 1
    return f"{size}/{P}", P * round(N**0.5)


# %% 1 wrong: always 224 pixels
def which_model(shapes):
    D, patch_dim = shapes["patch_embedding.projection.weight"]
    (size,) = [s for s, v in VARIANTS.items() if v["embedding_dim"] == D]
    return f"{size}/{round((patch_dim / 3) ** 0.5)}", 224


# %% 1 wrong: told by the depth
def which_model(shapes):
    L = sum(name.endswith("msa.qkv.weight") for name in shapes)
    size = [s for s, v in VARIANTS.items() if v["depth"] == L][0]
    P = round((shapes["patch_embedding.projection.weight"][1] / 3) ** 0.5)
    N = shapes["patch_embedding.position_embedding"][1] - 1
    return f"{size}/{P}", P * round(N**0.5)


# %% 1 wrong: the side in patches
def which_model(shapes):
    D, patch_dim = shapes["patch_embedding.projection.weight"]
    (size,) = [s for s, v in VARIANTS.items() if v["embedding_dim"] == D]
    N = shapes["patch_embedding.position_embedding"][1] - 1
    return f"{size}/{round((patch_dim / 3) ** 0.5)}", round(N**0.5)


# %% 1 wrong: the name alone
def which_model(shapes):
    D, patch_dim = shapes["patch_embedding.projection.weight"]
    (size,) = [s for s, v in VARIANTS.items() if v["embedding_dim"] == D]
    return f"{size}/{round((patch_dim / 3) ** 0.5)}"


# %% 1 wrong: the side is the number of patches
def which_model(shapes):
    D, patch_dim = shapes["patch_embedding.projection.weight"]
    (size,) = [s for s, v in VARIANTS.items() if v["embedding_dim"] == D]
    N = shapes["patch_embedding.position_embedding"][1] - 1
    return f"{size}/{round((patch_dim / 3) ** 0.5)}", N


# %% 1 wrong: always the same
def which_model(shapes):
    return "B/16", 224


# %% 1 wrong: a name that is not there
def which_model(shapes):
    return shapes["conv_proj.weight"]


# %% 1 wrong: the example, not a function
which_model = ("B/16", 224)

# %% 2 right: in another order
found = "fdb"

# %% 2 right: capitals and commas
found = "B, D and F"

# %% 2 right: a set
found = {"b", "d", "f"}

# %% 2 wrong: the class token has to be read
found = "abdf"

# %% 2 wrong: ReLU looks harmless
found = "bf"

# %% 2 wrong: softmax looks harmless
found = "df"

# %% 2 wrong: those that pass
found = "ace"

# %% 2 wrong: all of them
found = "abcdef"

# %% 2 wrong: none
found = ""

# %% 2 wrong: the picture has to stand upright
found = "bcdf"

# %% 2 wrong: a number
found = 3


# %% 3 right: torch.var_mean
def equation_4(z, gain, bias):
    class_token = z[:, 0]
    variance, mean = torch.var_mean(class_token, dim=-1, correction=0, keepdim=True)
    return (class_token - mean) * torch.rsqrt(variance + 1e-6) * gain + bias


# %% 3 right: with sums
def equation_4(z, gain, bias):
    D = z.shape[-1]
    y = z[:, 0, :] - z[:, 0, :].sum(-1, keepdim=True) / D
    return y / ((y * y).sum(-1, keepdim=True) / D + 1e-6) ** 0.5 * gain + bias


# %% 3 right: image by image
def equation_4(z, gain, bias):
    rows = []
    for tokens in z:
        y = tokens[0] - tokens[0].mean()
        rows.append(gain * y / (y.square().mean() + 1e-6).sqrt() + bias)
    return torch.stack(rows)


# %% 3 right: all tokens first, as in the official code
def equation_4(z, gain, bias):
    y = z - z.mean(dim=2, keepdim=True)
    y = y / (y.pow(2).mean(dim=2, keepdim=True) + 1e-6).sqrt()
    return (y * gain + bias)[:, 0]


# %% 3 wrong: as it was
def equation_4(z, gain, bias):
    class_token = z[0]
    mean, deviation = class_token.mean(), class_token.std()
    return (class_token - mean) / (deviation + 1e-6) * gain + bias


# %% 3 wrong: only the token is mended
def equation_4(z, gain, bias):
    class_token = z[:, 0]
    mean, deviation = class_token.mean(), class_token.std()
    return (class_token - mean) / (deviation + 1e-6) * gain + bias


# %% 3 wrong: the sample deviation, which divides by D - 1
def equation_4(z, gain, bias):
    y = z[:, 0]
    mean, variance = y.mean(dim=1, keepdim=True), y.var(dim=1, keepdim=True)
    return (y - mean) / (variance + 1e-6).sqrt() * gain + bias


# %% 3 wrong: epsilon outside the root
def equation_4(z, gain, bias):
    y = z[:, 0]
    mean, deviation = y.mean(1, keepdim=True), y.std(1, keepdim=True, correction=0)
    return (y - mean) / (deviation + 1e-6) * gain + bias


# %% 3 wrong: two of the four are mended
def equation_4(z, gain, bias):
    y = z[:, 0]
    mean, deviation = y.mean(1, keepdim=True), y.std(1, keepdim=True)
    return (y - mean) / (deviation + 1e-6) * gain + bias


# %% 3 wrong: no epsilon
def equation_4(z, gain, bias):
    y = z[:, 0]
    mean, deviation = y.mean(1, keepdim=True), y.std(1, keepdim=True, correction=0)
    return (y - mean) / deviation * gain + bias


# %% 3 wrong: the average of all tokens instead of the class token
def equation_4(z, gain, bias):
    return F.layer_norm(z.mean(dim=1), z.shape[-1:], gain, bias, 1e-6)


# %% 3 wrong: the last token instead of the class token
def equation_4(z, gain, bias):
    return F.layer_norm(z[:, -1], z.shape[-1:], gain, bias, 1e-6)


# %% 3 wrong: statistics over the batch instead of over D
def equation_4(z, gain, bias):
    y = z[:, 0] - z[:, 0].mean(dim=0)
    return y / (y.var(dim=0, correction=0) + 1e-6).sqrt() * gain + bias


# %% 3 wrong: no gain and no bias
def equation_4(z, gain, bias):
    return F.layer_norm(z[:, 0], z.shape[-1:], eps=1e-6)


# %% 3 wrong: divided by the variance
def equation_4(z, gain, bias):
    y = z[:, 0]
    mean, variance = y.mean(1, keepdim=True), y.var(1, keepdim=True, correction=0)
    return (y - mean) / (variance + 1e-6) * gain + bias


# %% 3 wrong: all tokens come out
def equation_4(z, gain, bias):
    return F.layer_norm(z, z.shape[-1:], gain, bias, 1e-6)


# %% 3 wrong: nothing is returned
def equation_4(z, gain, bias):
    F.layer_norm(z[:, 0], z.shape[-1:], gain, bias, 1e-6)


# %% 4 right: half the side of the images
changed = ViTConfig(image_size=112)

# %% 4 right: images that are not square
changed = ViTConfig(image_size=(112, 192))

# %% 4 right: the name of the other model
changed = ViTConfig.from_variant("B/32")

# %% 4 right: a patch side that is in no table
changed = ViTConfig(patch_size=28)

# %% 4 wrong: fewer blocks
changed = ViTConfig(depth=5)

# %% 4 wrong: half the width
changed = ViTConfig(embedding_dim=384)

# %% 4 wrong: fewer heads
changed = ViTConfig(num_heads=6)

# %% 4 wrong: smaller patches
changed = ViTConfig(patch_size=8)

# %% 4 wrong: patches so large that E grows
changed = ViTConfig(patch_size=56)

# %% 4 wrong: two fields
changed = ViTConfig(patch_size=32, num_heads=6)

# %% 4 wrong: images that are only a little smaller
changed = ViTConfig(image_size=160)

# %% 4 wrong: nothing
changed = ViTConfig()

# %% 4 wrong: the name of the field
changed = "patch_size"

# %% 4 wrong: a dictionary
changed = {"patch_size": 32}
