# %% 1 wrong: one direction only: an image has two
answer = [2, 1, 2]

# %% 1 wrong: E taken to grow with the image
answer = [4, 4, 4]


# %% 2 wrong: channel left slowest
def conv_to_linear(weight):
    return weight.flatten(1)


# %% 2 wrong: rows and columns of the patch swapped
def conv_to_linear(weight):
    return weight.permute(0, 3, 2, 1).flatten(1)


# %% 3 wrong: the class token moved along with the patches
def move_positions(position_embedding, order):
    return position_embedding[:, order]


# %% 3 wrong: the inverse order
def move_positions(position_embedding, order):
    class_slot, patch_slots = position_embedding[:, :1], position_embedding[:, 1:]
    return torch.cat([class_slot, patch_slots[:, order.argsort()]], dim=1)


# %% 3 wrong: the class token put last
def move_positions(position_embedding, order):
    class_slot, patch_slots = position_embedding[:, :1], position_embedding[:, 1:]
    return torch.cat([patch_slots[:, order], class_slot], dim=1)
