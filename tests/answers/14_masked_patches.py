# %% 1 right: a number
level = 4

# %% 1 right: computed
level = int((100 + 120 + 140 + 200) / 4 * 8 / 256)

# %% 1 right: by the function
level = masked.grey_levels(torch.tensor([[[[100, 120], [140, 200]]]]), 2).item()

# %% 1 right: divided by 32
level = 140 // 32

# %% 1 wrong: the mean
level = 140

# %% 1 wrong: counted from 1
level = 5

# %% 1 wrong: not cut off
level = 140 * 8 / 256

# %% 1 wrong: by 255
level = 140 * 8 / 255

# %% 1 wrong: the number of levels
level = 8

# %% 1 wrong: a word
level = "grey"

# %% 2 right: by hand
as_it_is = (25 + 2.4) / 49

# %% 2 right: measured
_, is_mask, source = masked.corruption(10_000, N, random_stream(1))
as_it_is = (~is_mask & (source == torch.arange(N))).float().mean()

# %% 2 right: what is not changed
as_it_is = 1 - 0.9 * 24 / 49

# %% 2 right: rounded
as_it_is = 0.56

# %% 2 wrong: not corrupted
as_it_is = 25 / 49

# %% 2 wrong: among the corrupted
as_it_is = 0.1

# %% 2 wrong: the corrupted that are left alone
as_it_is = 2.4 / 49

# %% 2 wrong: the mask
as_it_is = 0.8 * 24 / 49

# %% 2 wrong: in per cent
as_it_is = 56

# %% 2 wrong: those that moved, too
as_it_is = (25 + 4.8) / 49


# %% 3 right: picked
def accuracy_of_corrupted(logits, levels, corrupted):
    right = logits.argmax(dim=-1) == levels
    return right[corrupted].float().mean()


# %% 3 right: weighed
def accuracy_of_corrupted(logits, levels, corrupted):
    right = (logits.argmax(dim=2) == levels) & corrupted
    return right.sum() / corrupted.sum()


# %% 3 right: picked first
def accuracy_of_corrupted(logits, levels, corrupted):
    return (logits[corrupted].argmax(dim=1) == levels[corrupted]).double().mean().item()


# %% 3 wrong: the axis alone
def accuracy_of_corrupted(logits, levels, corrupted):
    right = logits.argmax(dim=-1) == levels
    return (right & corrupted).float().mean()


# %% 3 wrong: as it was
def accuracy_of_corrupted(logits, levels, corrupted):
    right = logits.argmax(dim=1) == levels
    return (right & corrupted).float().mean()


# %% 3 wrong: of all
def accuracy_of_corrupted(logits, levels, corrupted):
    return (logits.argmax(dim=-1) == levels).float().mean()


# %% 3 wrong: a number
def accuracy_of_corrupted(logits, levels, corrupted):
    return ((logits.argmax(dim=-1) == levels) & corrupted).sum()


# %% 3 wrong: the others
def accuracy_of_corrupted(logits, levels, corrupted):
    return (logits.argmax(dim=-1) == levels)[~corrupted].float().mean()


# %% 3 wrong: image by image
def accuracy_of_corrupted(logits, levels, corrupted):
    right = (logits.argmax(dim=-1) == levels) & corrupted
    return (right.sum(dim=1) / corrupted.sum(dim=1)).mean()


# %% 4 right: with padding
def fill(means, hidden):
    seen = F.pad((~hidden).float(), (1, 1))
    values = F.pad(means, (1, 1)) * seen
    total = values[:, :-2] + values[:, 2:]
    count = seen[:, :-2] + seen[:, 2:]
    return torch.where(hidden, total / count.clamp(min=1), means)


# %% 4 right: two loops
def fill(means, hidden):
    filled = means.clone()
    rows, columns = means.shape
    for r in range(rows):
        for c in range(columns):
            if hidden[r, c]:
                beside = [
                    means[r, k]
                    for k in (c - 1, c + 1)
                    if 0 <= k < columns and not hidden[r, k]
                ]
                filled[r, c] = sum(beside) / len(beside) if beside else 0
    return filled


# %% 4 right: a convolution
def fill(means, hidden):
    kernel = torch.tensor([[[1.0, 0, 1]]])
    seen = (~hidden).float()[:, None]
    total = F.conv1d(means[:, None] * seen, kernel, padding=1)[:, 0]
    count = F.conv1d(seen, kernel, padding=1)[:, 0]
    return torch.where(hidden, total / count.clamp(min=1), means)


# %% 4 wrong: always by two
def fill(means, hidden):
    values = F.pad(means * ~hidden, (1, 1))
    return torch.where(hidden, (values[:, :-2] + values[:, 2:]) / 2, means)


# %% 4 wrong: it sees what is hidden
def fill(means, hidden):
    seen, values = F.pad(torch.ones_like(means), (1, 1)), F.pad(means, (1, 1))
    count = seen[:, :-2] + seen[:, 2:]
    return torch.where(hidden, (values[:, :-2] + values[:, 2:]) / count, means)


# %% 4 wrong: everywhere
def fill(means, hidden):
    seen = F.pad((~hidden).float(), (1, 1))
    values = F.pad(means, (1, 1)) * seen
    total = values[:, :-2] + values[:, 2:]
    count = seen[:, :-2] + seen[:, 2:]
    return total / count.clamp(min=1)


# %% 4 wrong: around the edge
def fill(means, hidden):
    seen = (~hidden).float()
    values = means * seen
    total = values.roll(1, 1) + values.roll(-1, 1)
    count = seen.roll(1, 1) + seen.roll(-1, 1)
    return torch.where(hidden, total / count.clamp(min=1), means)


# %% 4 wrong: above and below
def fill(means, hidden):
    seen = F.pad((~hidden).float(), (0, 0, 1, 1))
    values = F.pad(means, (0, 0, 1, 1)) * seen
    total, count = values[:-2] + values[2:], seen[:-2] + seen[2:]
    return torch.where(hidden, total / count.clamp(min=1), means)


# %% 4 wrong: nothing is filled
def fill(means, hidden):
    return means


# %% 4 wrong: zeros
def fill(means, hidden):
    return means * ~hidden
