# %% 1 counts the new tokens, not their numbers
answer = (384 // 16) ** 2 - (224 // 16) ** 2
# %% 1 counts all the positions at the new size
answer = ((384 // 16) ** 2 + 1) * 768


# %% 2 forgets the parts outside the blocks
def deepest(config, budget):
    return budget // (12 * config.embedding_dim**2 + 13 * config.embedding_dim)


# %% 2 stays below the budget instead of within it
from dataclasses import replace

from going_modular.config import count_parameters


def deepest(config, budget):
    depth = 1
    while sum(count_parameters(replace(config, depth=depth + 1)).values()) < budget:
        depth += 1
    return depth


# %% 3 looks at the tokens and not at the heads
answer = "L/14"
# %% 3 takes the paper's commonest patch side
answer = "H/16"
