# %% 1 right: shares first
shares = torch.tensor([3.0, 1, 1]) / 5
taken_home = shares @ torch.tensor([10.0, 5, 0])

# %% 1 right: the softmax of the divided products
import math

scores = torch.tensor([4 * math.log(3), 0, 0]) / 16**0.5
taken_home = (scores.softmax(dim=0) * torch.tensor([10.0, 5, 0])).sum()

# %% 1 right: PyTorch's own function
import math

q, k, v = torch.zeros(3, 3, 16)
q[0, 0], k[0, 0], v[:, 0] = 4, math.log(3), torch.tensor([10.0, 5, 0])
taken_home = F.scaled_dot_product_attention(q[None], k[None], v[None])[0, 0, 0].item()

# %% 1 right: a whole number
taken_home = 7

# %% 1 wrong: not divided
taken_home = (81 * 10 + 5) / 83

# %% 1 wrong: divided by 16
taken_home = (3**0.25 * 10 + 5) / (3**0.25 + 2)

# %% 1 wrong: the mean of the values
taken_home = 5

# %% 1 wrong: the winner's value
taken_home = 10.0

# %% 1 wrong: the shares are not divided by their sum
taken_home = 3 * 10 + 5

# %% 1 wrong: scores instead of shares
import math

taken_home = math.log(3) * 10

# %% 1 wrong: zero scores get nothing
taken_home = 0.6 * 10

# %% 1 wrong: the shares
taken_home = [0.6, 0.2, 0.2]

# %% 1 wrong: a word
taken_home = "seven"

# %% 2 right: in another order
letters = "fcea"

# %% 2 right: capitals and commas
letters = "A, C, E and F"

# %% 2 right: computed, as a list
z = toy_tokens(5)
letters = [
    name
    for name, change in changes.items()
    if (from_attention(change(z)) - from_attention(z)).abs().max() < 1e-3
]

# %% 2 right: a set
letters = {"a", "c", "e", "f"}

# %% 2 wrong: twice the tokens, twice the sum
letters = "acf"

# %% 2 wrong: two signs cancel
letters = "acdef"

# %% 2 wrong: order counts
letters = "cef"

# %% 2 wrong: a shift is no matter for LN
letters = "ace"

# %% 2 wrong: any order
letters = "abcef"

# %% 2 wrong: one patch does not count
letters = "acefg"

# %% 2 wrong: all
letters = "abcdefg"

# %% 2 wrong: none
letters = ""

# %% 2 wrong: a number
letters = 4


# %% 3 right: a loop over heads
def heads_side_by_side(q, k, v, num_heads):
    parts = []
    for a, b, c in zip(*(x.chunk(num_heads, -1) for x in (q, k, v)), strict=True):
        scores = a @ b.mT / a.shape[-1] ** 0.5
        parts.append(scores.softmax(dim=-1) @ c)
    return torch.cat(parts, dim=-1)


# %% 3 right: einsum
def heads_side_by_side(q, k, v, num_heads):
    B, T, D = q.shape
    q, k, v = (x.reshape(B, T, num_heads, D // num_heads) for x in (q, k, v))
    scores = torch.einsum("bihd,bjhd->bhij", q, k) * (D // num_heads) ** -0.5
    weights = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
    return torch.einsum("bhij,bjhd->bihd", weights, v).reshape(B, T, D)


# %% 3 right: permute at the end
def heads_side_by_side(q, k, v, num_heads):
    q, k, v = (x.unflatten(-1, (num_heads, -1)).movedim(2, 1) for x in (q, k, v))
    weights = torch.softmax(q @ k.transpose(2, 3) / q.size(-1) ** 0.5, dim=3)
    sa = weights @ v
    return sa.permute(0, 2, 1, 3).reshape(sa.shape[0], sa.shape[2], -1)


# %% 3 right: batches of heads, one axis
def heads_side_by_side(q, k, v, num_heads):
    q, k, v = (torch.cat(x.chunk(num_heads, dim=2), dim=0) for x in (q, k, v))
    sa = torch.bmm((torch.bmm(q, k.mT) / q.shape[2] ** 0.5).softmax(dim=2), v)
    return torch.cat(sa.chunk(num_heads, dim=0), dim=2)


# %% 3 wrong: as it was
def heads_side_by_side(q, k, v, num_heads):
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    scores = q @ k.transpose(-2, -1) / (num_heads * q.shape[-1]) ** 0.5
    sa = scores.softmax(dim=-2) @ v
    return sa.reshape(sa.shape[0], sa.shape[2], -1)


# %% 3 wrong: the softmax runs over the queries
def heads_side_by_side(q, k, v, num_heads):
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    sa = scores.softmax(dim=-2) @ v
    return sa.transpose(1, 2).flatten(2)


# %% 3 wrong: divided by the root of D
def heads_side_by_side(q, k, v, num_heads):
    D = q.shape[-1]
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    sa = (q @ k.transpose(-2, -1) / D**0.5).softmax(dim=-1) @ v
    return sa.transpose(1, 2).flatten(2)


# %% 3 wrong: heads joined without a transpose
def heads_side_by_side(q, k, v, num_heads):
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    sa = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1) @ v
    return sa.reshape(sa.shape[0], sa.shape[2], -1)


# %% 3 wrong: the heads stay apart
def heads_side_by_side(q, k, v, num_heads):
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    return (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1) @ v


# %% 3 wrong: not divided
def heads_side_by_side(q, k, v, num_heads):
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    sa = (q @ k.transpose(-2, -1)).softmax(dim=-1) @ v
    return sa.transpose(1, 2).flatten(2)


# %% 3 wrong: one head
def heads_side_by_side(q, k, v, num_heads):
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1) @ v


# %% 3 wrong: every second number belongs to a head
def heads_side_by_side(q, k, v, num_heads):
    q, k, v = (x.unflatten(-1, (-1, num_heads)).movedim(3, 1) for x in (q, k, v))
    sa = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1) @ v
    return sa.transpose(1, 2).flatten(2)


# %% 3 wrong: cut before the tokens
def heads_side_by_side(q, k, v, num_heads):
    B, T, D = q.shape
    q, k, v = (x.reshape(B, num_heads, T, D // num_heads) for x in (q, k, v))
    sa = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1) @ v
    return sa.transpose(1, 2).flatten(2)


# %% 4 right: taken out afterwards, and shared out again
def attend_to_others(q, k, v):
    A = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1)
    A = A * (1 - torch.eye(q.shape[-2]))
    return A / A.sum(dim=-1, keepdim=True) @ v


# %% 4 right: PyTorch's mask
def attend_to_others(q, k, v):
    others = ~torch.eye(q.shape[-2], dtype=torch.bool)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=others)


# %% 4 right: token by token
def attend_to_others(q, k, v):
    T, rows = q.shape[-2], []
    for i in range(T):
        others = [j for j in range(T) if j != i]
        scores = (k[..., others, :] * q[..., i : i + 1, :]).sum(-1) / q.shape[-1] ** 0.5
        rows.append((scores.softmax(-1)[..., None] * v[..., others, :]).sum(-2))
    return torch.stack(rows, dim=-2)


# %% 4 right: a very small score
def attend_to_others(q, k, v):
    scores = q @ k.mT / q.shape[-1] ** 0.5 - 1e9 * torch.eye(q.shape[-2])
    return scores.softmax(dim=-1) @ v


# %% 4 wrong: attention as it was
def attend_to_others(q, k, v):
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1) @ v


# %% 4 wrong: a score of 0
def attend_to_others(q, k, v):
    scores = q @ k.mT / q.shape[-1] ** 0.5
    own = torch.eye(q.shape[-2], dtype=torch.bool)
    return scores.masked_fill(own, 0).softmax(dim=-1) @ v


# %% 4 wrong: the share is lost
def attend_to_others(q, k, v):
    A = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)
    return A * (1 - torch.eye(q.shape[-2])) @ v


# %% 4 wrong: the share goes to the others in equal parts
def attend_to_others(q, k, v):
    T = q.shape[-2]
    A = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)
    others = 1 - torch.eye(T)
    own = A.diagonal(dim1=-2, dim2=-1)[..., None]
    return (A * others + own * others / (T - 1)) @ v


# %% 4 wrong: the mask of a language model, with the token itself
def attend_to_others(q, k, v):
    scores = q @ k.mT / q.shape[-1] ** 0.5
    later = torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool).triu(1)
    return scores.masked_fill(later, float("-inf")).softmax(dim=-1) @ v


# %% 4 wrong: the mask of a language model, without it
def attend_to_others(q, k, v):
    scores = q @ k.mT / q.shape[-1] ** 0.5
    later = torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool).triu(0)
    return scores.masked_fill(later, float("-inf")).softmax(dim=-1) @ v


# %% 4 wrong: not divided
def attend_to_others(q, k, v):
    scores = q @ k.mT
    own = torch.eye(q.shape[-2], dtype=torch.bool)
    return scores.masked_fill(own, float("-inf")).softmax(dim=-1) @ v


# %% 4 wrong: the softmax runs over the queries
def attend_to_others(q, k, v):
    scores = q @ k.mT / q.shape[-1] ** 0.5
    own = torch.eye(q.shape[-2], dtype=torch.bool)
    return scores.masked_fill(own, float("-inf")).softmax(dim=-2) @ v


# %% 4 wrong: the token is taken away again
def attend_to_others(q, k, v):
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1) @ v - v


# %% 4 wrong: the others only, all alike
def attend_to_others(q, k, v):
    return (v.sum(dim=-2, keepdim=True) - v) / (v.shape[-2] - 1)
