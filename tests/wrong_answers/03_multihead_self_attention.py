# %% 1 the residual is dropped
from going_modular.multihead_self_attention import MultiheadSelfAttentionBlock

block = MultiheadSelfAttentionBlock(toy_config())


def equation_2(block, z):
    return block.msa(block.layer_norm(z))


# %% 1 the residual adds the normalised tokens
from going_modular.multihead_self_attention import MultiheadSelfAttentionBlock

block = MultiheadSelfAttentionBlock(toy_config())


def equation_2(block, z):
    z = block.layer_norm(z)
    return block.msa(z) + z


# %% 1 LayerNorm comes last (post-norm)
from going_modular.multihead_self_attention import MultiheadSelfAttentionBlock

block = MultiheadSelfAttentionBlock(toy_config())


def equation_2(block, z):
    return block.layer_norm(block.msa(z) + z)


# %% 2 the class token is forgotten
growth = (24**2 / 14**2) ** 2

# %% 2 as the number of tokens, not its square
growth = 577 / 197

# %% 3 the scores are not scaled
q, k, v = (toy_tokens(s).unflatten(-1, (4, 11)).transpose(1, 2) for s in (1, 2, 3))


def class_token_attention(q, k, v):
    return (q[:, :, :1] @ k.transpose(-2, -1)).softmax(dim=-1) @ v


# %% 3 the softmax runs over the queries
q, k, v = (toy_tokens(s).unflatten(-1, (4, 11)).transpose(1, 2) for s in (1, 2, 3))


def class_token_attention(q, k, v):
    scores = q[:, :, :1] @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    return scores.softmax(dim=-2) @ v


# %% 3 scaled by the width D instead of D_h
q, k, v = (toy_tokens(s).unflatten(-1, (4, 11)).transpose(1, 2) for s in (1, 2, 3))


def class_token_attention(q, k, v):
    scores = q[:, :, :1] @ k.transpose(-2, -1) / 44**0.5
    return scores.softmax(dim=-1) @ v
