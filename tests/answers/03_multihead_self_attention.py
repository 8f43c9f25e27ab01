# %% 1 wrong: the residual is dropped
def equation_2(z, norm, msa):
    return msa(norm(z))


# %% 1 wrong: the residual adds the normalised tokens
def equation_2(z, norm, msa):
    z = norm(z)
    return msa(z) + z


# %% 1 wrong: LayerNorm comes last (post-norm)
def equation_2(z, norm, msa):
    return norm(msa(z) + z)


# %% 2 wrong: the class token is forgotten
growth = (24**2 / 14**2) ** 2

# %% 2 wrong: as the number of tokens, not its square
growth = 577 / 197

# %% 3 wrong: the scores are not scaled
q, k, v = (toy_tokens(s).unflatten(-1, (4, 11)).transpose(1, 2) for s in (1, 2, 3))


def class_token_attention(q, k, v):
    return (q[:, :, :1] @ k.transpose(-2, -1)).softmax(dim=-1) @ v


# %% 3 wrong: the softmax runs over the queries
q, k, v = (toy_tokens(s).unflatten(-1, (4, 11)).transpose(1, 2) for s in (1, 2, 3))


def class_token_attention(q, k, v):
    scores = q[:, :, :1] @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    return scores.softmax(dim=-2) @ v


# %% 3 wrong: scaled by the width D instead of D_h
q, k, v = (toy_tokens(s).unflatten(-1, (4, 11)).transpose(1, 2) for s in (1, 2, 3))


def class_token_attention(q, k, v):
    scores = q[:, :, :1] @ k.transpose(-2, -1) / 44**0.5
    return scores.softmax(dim=-1) @ v
