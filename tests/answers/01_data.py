# %% 1 wrong: the three numbers line up with the width instead of the channels
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def imagenet_normalise(images):
    return (images / 255 - torch.tensor(MEAN)) / torch.tensor(STD)


def to_bytes(images):
    return ((images + 1) * 127.5).round().to(torch.uint8)


# %% 1 wrong: bytes are not first divided by 255
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def imagenet_normalise(images):
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return (images - mean) / std


def to_bytes(images):
    return ((images + 1) * 127.5).round().to(torch.uint8)


# %% 1 wrong: the fraction is cut off instead of rounded
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def imagenet_normalise(images):
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return (images / 255 - mean) / std


def to_bytes(images):
    return ((images + 1) * 127.5).to(torch.uint8)


# %% 2 wrong: the last, shorter batch is forgotten
def steps_and_last(n_images, batch_size):
    return [n_images // batch_size, batch_size]


# %% 2 wrong: a full last batch counts as empty
def steps_and_last(n_images, batch_size):
    return [n_images // batch_size + 1, n_images % batch_size]


# %% 3 wrong: the first images of all, whatever their class
def held_out(labels, test_share):
    return torch.arange(round(test_share * len(labels)))


# %% 3 wrong: equally many images of each class
def held_out(labels, test_share):
    count = round(test_share * len(labels) / 3)
    members = [torch.nonzero(labels == label).flatten()[:count] for label in range(3)]
    return torch.cat(members).sort().values


# %% 3 wrong: class by class, not in ascending order
def held_out(labels, test_share):
    members = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
    return torch.cat([m[: round(test_share * len(m))] for m in members])
