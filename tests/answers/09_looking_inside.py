# %% 1 wrong: the later layer stands on the right
def rollout_of(A):
    steps = (A + torch.eye(A.shape[-1])) / 2
    return steps[0] @ steps[1]


# %% 1 wrong: the identity is forgotten
def rollout_of(A):
    return A[1] @ A[0]


# %% 1 wrong: rows are not made to sum to one
def rollout_of(A):
    steps = A + torch.eye(A.shape[-1])
    return steps[1] @ steps[0]


# %% 2 wrong: the distance to the mean place, not the mean distance
answer = (8**2 + 16**2) ** 0.5

# %% 2 wrong: in patches, not pixels
answer = (1 + 2**0.5) / 2


# %% 3 wrong: the mean of the heights: steps are taken as equal
def area_between(shares, lowest, highest):
    return (lowest - highest).mean()


# %% 3 wrong: the area under one curve only
def area_between(shares, lowest, highest):
    return torch.trapezoid(highest, shares)
