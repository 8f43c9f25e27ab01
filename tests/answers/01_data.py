# %% 1 right: rounded up by hand
steps = 90 * (-(-1_281_167 // 4096))

# %% 1 right: counted by a range
steps = 90 * len(range(0, 1_281_167, 4096))

# %% 1 right: as a float
steps = 28_170.0

# %% 1 wrong: rounded at the end only
import math

steps = math.ceil(90 * 1_281_167 / 4096)

# %% 1 wrong: the last batch is dropped
steps = 90 * (1_281_167 // 4096)

# %% 1 wrong: one epoch
steps = 313

# %% 1 wrong: images
steps = 90 * 1_281_167

# %% 1 wrong: not rounded
steps = 90 * 1_281_167 / 4096

# %% 2 right: in another order
letters = "eca"

# %% 2 right: capitals and commas
letters = "A, C, E"

# %% 2 right: a list
letters = ["a", "c", "e"]

# %% 2 wrong: other colours do not count
letters = "ac"

# %% 2 wrong: reshape, too
letters = "acde"

# %% 2 wrong: the one that lies on its side
letters = "abce"

# %% 2 wrong: all
letters = "abcde"

# %% 2 wrong: two are missing
letters = "e"

# %% 2 wrong: other letters
letters = "xyz"

# %% 2 wrong: a number
letters = 3


# %% 3 right: None as an index
def imagenet_normalise(images):
    mean, std = MEAN[:, None, None], STD[:, None, None]
    return (images / 255 - mean) / std


# %% 3 right: torchvision
from torchvision.transforms.v2.functional import normalize


def imagenet_normalise(images):
    return normalize(images.float() / 255, MEAN.tolist(), STD.tolist())


# %% 3 right: channel by channel
def imagenet_normalise(images):
    planes = [(images[:, c].float() - 255 * MEAN[c]) / (255 * STD[c]) for c in range(3)]
    return torch.stack(planes, dim=1)


# %% 3 wrong: bytes
def imagenet_normalise(images):
    return (images - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)


# %% 3 wrong: the width
def imagenet_normalise(images):
    return (images / 255 - MEAN) / STD


# %% 3 wrong: as it was
def imagenet_normalise(images):
    return (images - MEAN) / STD


# %% 3 wrong: the height
def imagenet_normalise(images):
    return (images / 255 - MEAN.view(3, 1)) / STD.view(3, 1)


# %% 3 wrong: divided first
def imagenet_normalise(images):
    return images / 255 / STD.view(3, 1, 1) - MEAN.view(3, 1, 1)


# %% 3 wrong: one number for all channels
def imagenet_normalise(images):
    return (images / 255 - MEAN.mean()) / STD.mean()


# %% 3 wrong: nothing is returned
def imagenet_normalise(images):
    (images / 255 - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)


# %% 4 right: a mask
def held_out(labels, share):
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for label in set(labels.tolist()):
        members = (labels == label).nonzero()[:, 0]
        mask[members[: round(share * len(members))]] = True
    return mask.nonzero()[:, 0]


# %% 4 right: a plain list
def held_out(labels, share):
    labels = labels.tolist()
    left = {label: round(share * labels.count(label)) for label in labels}
    chosen = []
    for place, label in enumerate(labels):
        if left[label]:
            left[label] -= 1
            chosen.append(place)
    return chosen


# %% 4 right: NumPy
import numpy as np


def held_out(labels, share):
    labels = labels.numpy()
    parts = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return np.sort(np.concatenate([p[: round(share * len(p))] for p in parts]))


# %% 4 wrong: the first of all
def held_out(labels, share):
    return torch.arange(round(share * len(labels)))


# %% 4 wrong: not sorted
def held_out(labels, share):
    parts = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
    return torch.cat([p[: round(share * len(p))] for p in parts])


# %% 4 wrong: the last of each
def held_out(labels, share):
    chosen = []
    for label in labels.unique():
        members = torch.nonzero(labels == label).flatten()
        chosen.append(members[len(members) - round(share * len(members)) :])
    return torch.cat(chosen).sort().values


# %% 4 wrong: the training part
def held_out(labels, share):
    chosen = []
    for label in labels.unique():
        members = torch.nonzero(labels == label).flatten()
        chosen.append(members[round(share * len(members)) :])
    return torch.cat(chosen).sort().values


# %% 4 wrong: rounded down
def held_out(labels, share):
    chosen = []
    for label in labels.unique():
        members = torch.nonzero(labels == label).flatten()
        chosen.append(members[: int(share * len(members))])
    return torch.cat(chosen).sort().values


# %% 4 wrong: positions within the class
def held_out(labels, share):
    chosen = []
    for label in labels.unique():
        count = int((labels == label).sum())
        chosen.append(torch.arange(round(share * count)))
    return torch.cat(chosen).sort().values


# %% 4 wrong: rounded up
import math


def held_out(labels, share):
    parts = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
    return torch.cat([p[: math.ceil(share * len(p))] for p in parts]).sort().values


# %% 4 wrong: at least one of each
def held_out(labels, share):
    parts = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
    return torch.cat([p[: max(1, round(share * len(p)))] for p in parts]).sort().values


# %% 4 wrong: the labels and not their positions
def held_out(labels, share):
    parts = [labels[labels == label] for label in labels.unique()]
    return torch.cat([p[: round(share * len(p))] for p in parts])
