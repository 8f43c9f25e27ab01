# %% 1 right: the formula of notebook 06
parameters = (
    (16 * 16 * 3 + 1) * 768
    + 768
    + 577 * 768
    + 12 * (12 * 768**2 + 13 * 768)
    + 2 * 768
    + 1000 * 769
)

# %% 1 right: counted on the meta device
with torch.device("meta"):
    large = ViT(ViTConfig.from_variant("B/16", image_size=384))
parameters = sum(p.numel() for p in large.parameters())

# %% 1 right: old positions out, new ones in
parameters = 86_567_656 - 197 * 768 + 577 * 768

# %% 1 wrong: the old positions are kept, too
parameters = 86_567_656 + 577 * 768

# %% 1 wrong: a class token more
parameters = 86_567_656 + (577 - 196) * 768

# %% 1 wrong: one number for each position
parameters = 86_567_656 + 380

# %% 1 wrong: nothing changes
parameters = 86_567_656

# %% 1 wrong: all grows with the picture
parameters = round(86_567_656 * (384 / 224) ** 2)

# %% 1 wrong: only the difference
parameters = (577 - 197) * 768

# %% 1 wrong: one side only
parameters = 86_567_656 + (24 - 14) * 768

# %% 2 right: in another order, as capitals
letters = "E, D, A"

# %% 2 right: a list from loads
letters = [letter for letter, change in candidates.items() if loads(change)]

# %% 2 right: a set
letters = {"a", "d", "e"}

# %% 2 wrong: the surprise is missing
letters = "ae"

# %% 2 wrong: only the GELU
letters = "e"

# %% 2 wrong: a block less, too
letters = "abde"

# %% 2 wrong: those that are refused
letters = "bcf"

# %% 2 wrong: larger patches, too
letters = "acde"

# %% 2 wrong: all
letters = "abcdef"

# %% 2 wrong: a number
letters = 3


# %% 3 right: unflatten and permute
def resized(positions, old, new):
    class_slot, patches = positions.split([1, old * old], dim=1)
    grid = patches.unflatten(1, (old, old)).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, (new, new), mode="bilinear", align_corners=True)
    return torch.cat([class_slot, grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


# %% 3 right: SciPy's zoom, one number after the other
import numpy as np
from scipy.ndimage import zoom


def resized(positions, old, new):
    width = positions.shape[2]
    grid = positions[0, 1:].numpy().reshape(old, old, width)
    planes = [zoom(grid[:, :, d], new / old, order=1) for d in range(width)]
    patches = np.stack(planes, axis=-1).reshape(new * new, width)
    return np.concatenate([positions[0, :1].numpy(), patches])[None]


# %% 3 right: two matrix products
def resized(positions, old, new):
    places = torch.linspace(0, old - 1, new)
    tent = (1 - (places[:, None] - torch.arange(old)).abs()).clamp(min=0)
    grid = positions[0, 1:].view(old, old, -1)
    grid = torch.einsum("ir,jc,rcd->ijd", tent, tent, grid)
    return torch.cat([positions[0, :1], grid.flatten(0, 1)])[None]


# %% 3 right: the package's
from going_modular.weights.conversion import resize_positions


def resized(positions, old, new):
    return resize_positions(positions, (old, old), (new, new))


# %% 3 wrong: as it was
def resized(positions, old, new):
    class_slot, patches = positions[:, :1], positions[:, 1:]
    grid = patches.reshape(1, -1, old, old)
    grid = F.interpolate(grid, (new, new), mode="bilinear", align_corners=True)
    return torch.cat([grid.flatten(2).mT, class_slot], dim=1)


# %% 3 wrong: only the class token is mended
def resized(positions, old, new):
    class_slot, patches = positions[:, :1], positions[:, 1:]
    grid = patches.reshape(1, -1, old, old)
    grid = F.interpolate(grid, (new, new), mode="bilinear", align_corners=True)
    return torch.cat([class_slot, grid.flatten(2).mT], dim=1)


# %% 3 wrong: only the axes are mended
def resized(positions, old, new):
    class_slot, patches = positions[:, :1], positions[:, 1:]
    grid = patches.mT.reshape(1, -1, old, old)
    grid = F.interpolate(grid, (new, new), mode="bilinear", align_corners=True)
    return torch.cat([grid.flatten(2).mT, class_slot], dim=1)


# %% 3 wrong: corners not aligned
def resized(positions, old, new):
    class_slot, patches = positions[:, :1], positions[:, 1:]
    grid = patches.mT.reshape(1, -1, old, old)
    grid = F.interpolate(grid, (new, new), mode="bilinear")
    return torch.cat([class_slot, grid.flatten(2).mT], dim=1)


# %% 3 wrong: the class token is forgotten
def resized(positions, old, new):
    grid = positions[:, 1:].mT.reshape(1, -1, old, old)
    grid = F.interpolate(grid, (new, new), mode="bilinear", align_corners=True)
    return grid.flatten(2).mT


# %% 3 wrong: the list is stretched
def resized(positions, old, new):
    how = dict(mode="linear", align_corners=True)
    patches = F.interpolate(positions[:, 1:].mT, new * new, **how).mT
    return torch.cat([positions[:, :1], patches], dim=1)


# %% 3 wrong: the grid is not laid flat again in the right order
def resized(positions, old, new):
    class_slot, patches = positions[:, :1], positions[:, 1:]
    grid = patches.mT.reshape(1, -1, old, old)
    grid = F.interpolate(grid, (new, new), mode="bilinear", align_corners=True)
    return torch.cat([class_slot, grid.reshape(1, new * new, -1)], dim=1)


# %% 3 wrong: the old positions
def resized(positions, old, new):
    return positions


# %% 4 right: reshape, then permute
def output_weight(kernel):
    heads, width, D = kernel.shape
    return kernel.permute(2, 0, 1).reshape(D, heads * width)


# %% 4 right: head by head
def output_weight(kernel):
    return torch.cat([head.T for head in kernel], dim=1)


# %% 4 right: by its meaning
def output_weight(kernel):
    inputs = torch.eye(kernel.shape[0] * kernel.shape[1])
    inputs = inputs.unflatten(1, kernel.shape[:2])
    return torch.einsum("ihe,hed->di", inputs, kernel)


# %% 4 wrong: not transposed
def output_weight(kernel):
    return kernel.flatten(0, 1)


# %% 4 wrong: the axes of heads and width swapped
def output_weight(kernel):
    return kernel.transpose(0, 1).flatten(0, 1).T


# %% 4 wrong: reshape alone
def output_weight(kernel):
    return kernel.reshape(kernel.shape[-1], -1)


# %% 4 wrong: the heads stay apart
def output_weight(kernel):
    return kernel.mT


# %% 4 wrong: the first axis for the output
def output_weight(kernel):
    return kernel.flatten(1)


# %% 4 wrong: all axes turned around
def output_weight(kernel):
    return kernel.permute(2, 1, 0).flatten(1)
