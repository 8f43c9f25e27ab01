# %% 1 right: weight and bias
numbers = 768 * 37 + 37

# %% 1 right: a linear layer
numbers = sum(p.numel() for p in torch.nn.Linear(768, 37).parameters())

# %% 1 right: the head of our own model
config = replace(found.config, embedding_dim=768, num_heads=12, num_classes=37)
numbers = sum(p.numel() for p in ViT(config).head.parameters())

# %% 1 wrong: the bias is forgotten
numbers = 37 * 768

# %% 1 wrong: a bias for each feature
numbers = 37 * 768 + 768

# %% 1 wrong: the whole model
numbers = 85_798_656 + 37 * 769

# %% 1 wrong: a head that reads all tokens
numbers = 37 * (197 * 768 + 1)

# %% 1 wrong: one bias
numbers = 37 * 768 + 1

# %% 1 wrong: the classes
numbers = 37

# %% 2 right: by running all
shares = [s for s in (0, 0.25, 0.5, 0.75, 1) if pixels_with(s) > 0.7]

# %% 2 right: a set of floats
shares = {1.0, 0.0}

# %% 2 right: a tensor
shares = torch.tensor([1.0, 0.0])

# %% 2 wrong: only plain digits
shares = [0]

# %% 2 wrong: a single number
shares = 0

# %% 2 wrong: few negatives, too
shares = [0, 0.25]

# %% 2 wrong: all
shares = [0, 0.25, 0.5, 0.75, 1]

# %% 2 wrong: as percentages
shares = [0, 100]

# %% 2 wrong: only all negatives
shares = [1]

# %% 2 wrong: none
shares = []


# %% 3 right: feature by feature
def standardise(known, new):
    old_columns, new_columns = [], []
    for a, b in zip(known.T, new.T, strict=True):
        mean, std = a.mean(), a.std(correction=0)
        old_columns.append((a - mean) / std)
        new_columns.append((b - mean) / std)
    return torch.stack(old_columns, dim=1), torch.stack(new_columns, dim=1)


# %% 3 right: NumPy
def standardise(known, new):
    known, new = known.numpy(), new.numpy()
    return [(x - known.mean(0)) / known.std(0) for x in (known, new)]


# %% 3 right: the variance by hand
def standardise(known, new):
    mean = known.sum(0) / len(known)
    std = ((known - mean) ** 2).mean(0).sqrt()
    return (known - mean) / std, (new - mean) / std


# %% 3 wrong: as it was
def standardise(known, new):
    known = (known - known.mean()) / known.std(correction=0)
    new = (new - new.mean()) / new.std(correction=0)
    return known, new


# %% 3 wrong: only dim is mended
def standardise(known, new):
    known = (known - known.mean(0)) / known.std(0, correction=0)
    new = (new - new.mean(0)) / new.std(0, correction=0)
    return known, new


# %% 3 wrong: only the new ones are mended
def standardise(known, new):
    mean, std = known.mean(), known.std(correction=0)
    return (known - mean) / std, (new - mean) / std


# %% 3 wrong: known is overwritten before new is standardised
def standardise(known, new):
    known = (known - known.mean(0)) / known.std(0, correction=0)
    new = (new - known.mean(0)) / known.std(0, correction=0)
    return known, new


# %% 3 wrong: along each picture
def standardise(known, new):
    return tuple(
        (x - x.mean(1, keepdim=True)) / x.std(1, correction=0, keepdim=True)
        for x in (known, new)
    )


# %% 3 wrong: both sets together
def standardise(known, new):
    both = torch.cat([known, new])
    mean, std = both.mean(0), both.std(0, correction=0)
    return (known - mean) / std, (new - mean) / std


# %% 3 wrong: the other deviation
def standardise(known, new):
    mean, std = known.mean(0), known.std(0)
    return (known - mean) / std, (new - mean) / std


# %% 3 wrong: one set is returned
def standardise(known, new):
    return (new - known.mean(0)) / known.std(0, correction=0)


# %% 4 right: an inverse
def small_ridge(X, Y, l2):
    return X.T @ torch.linalg.inv(X @ X.T + l2 * torch.eye(X.shape[0])) @ Y


# %% 4 right: by singular values
def small_ridge(X, Y, l2):
    U, S, Vh = torch.linalg.svd(X, full_matrices=False)
    return Vh.T @ ((S / (S**2 + l2))[:, None] * (U.T @ Y))


# %% 4 right: NumPy
import numpy as np


def small_ridge(X, Y, l2):
    X, Y = X.numpy(), Y.numpy()
    return X.T @ np.linalg.solve(X @ X.T + l2 * np.eye(len(X)), Y)


# %% 4 right: least squares with rows for the penalty
def small_ridge(X, Y, l2):
    n, D = X.shape
    rows = torch.cat([X, l2**0.5 * torch.eye(D, dtype=X.dtype)])
    targets = torch.cat([Y, torch.zeros(D, Y.shape[1], dtype=Y.dtype)])
    return torch.linalg.lstsq(rows, targets).solution


# %% 4 wrong: no penalty
def small_ridge(X, Y, l2):
    return X.T @ torch.linalg.pinv(X @ X.T) @ Y


# %% 4 wrong: lambda everywhere
def small_ridge(X, Y, l2):
    return X.T @ torch.linalg.solve(X @ X.T + l2, Y)


# %% 4 wrong: without the X in front
def small_ridge(X, Y, l2):
    return torch.linalg.solve(X @ X.T + l2 * torch.eye(len(X), dtype=X.dtype), Y)


# %% 4 wrong: the identity has the size of the features
def small_ridge(X, Y, l2):
    return X.T @ torch.linalg.inv(X @ X.T + l2 * torch.eye(X.shape[1])) @ Y


# %% 4 wrong: lambda squared
def small_ridge(X, Y, l2):
    return X.T @ torch.linalg.inv(X @ X.T + l2**2 * torch.eye(len(X))) @ Y


# %% 4 wrong: transposed
def small_ridge(X, Y, l2):
    W = X.T @ torch.linalg.inv(X @ X.T + l2 * torch.eye(len(X))) @ Y
    return W.T
