# %% 1 right: by multiplying
answer = [12 * 20, 12 * 20 + 1, 257 * 100 + 100 + 241 * 100]

# %% 1 right: asked of the class
config = ViTConfig((96, 160), 8, 4, embedding_dim=100, num_heads=4)
answer = (
    config.num_patches,
    config.num_tokens,
    sum(p.numel() for p in PatchEmbedding(config).parameters()),
)

# %% 1 right: a tensor
answer = torch.tensor([240, 241, 49_900])

# %% 1 right: a dictionary
answer = {"patches": 240, "tokens": 241, "parameters": 49_900}

# %% 1 wrong: the bias is forgotten
answer = [240, 241, 256 * 100 + 100 + 241 * 100]

# %% 1 wrong: the class token is forgotten
answer = [240, 240, 257 * 100 + 240 * 100]

# %% 1 wrong: the class token has no position
answer = [240, 241, 257 * 100 + 100 + 240 * 100]

# %% 1 wrong: three channels
answer = [240, 241, 193 * 100 + 100 + 241 * 100]

# %% 1 wrong: channels taken for patches
answer = [960, 961, 65 * 100 + 100 + 961 * 100]

# %% 1 wrong: the sides added
answer = [32, 33, 257 * 100 + 100 + 33 * 100]

# %% 1 wrong: an E for each patch
answer = [240, 241, 240 * 257 * 100 + 100 + 241 * 100]

# %% 1 wrong: only E
answer = [240, 241, 25_600]

# %% 1 wrong: one number
answer = 240

# %% 1 wrong: words
answer = "240 patches, 241 tokens"

# %% 1 wrong: tokens and patches exchanged
answer = [241, 240, 49_900]

# %% 2 right: tried one by one
letters = ""
for name in pictures:
    if same_bag(pictures[name]):
        letters += name

# %% 2 right: another order and capitals
letters = "F, A, C"

# %% 2 right: a set
letters = {"a", "c", "f"}

# %% 2 wrong: mirroring, too
letters = "abcf"

# %% 2 wrong: the pixel, too
letters = "acdf"

# %% 2 wrong: all that move pixels only
letters = "abcdef"

# %% 2 wrong: the roll is forgotten
letters = "cf"

# %% 2 wrong: sorting is forgotten
letters = "ac"

# %% 2 wrong: transposed, too
letters = "acef"

# %% 2 wrong: other letters
letters = "xyz"

# %% 2 wrong: none
letters = ""


# %% 3 right: permute
def conv_to_linear(weight):
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)


# %% 3 right: by exchanging twice
def conv_to_linear(weight):
    return weight.transpose(1, 2).transpose(2, 3).flatten(1)


# %% 3 right: each filter cut by patchify
def conv_to_linear(weight):
    return patchify(weight, weight.shape[-1])[:, 0]


# %% 3 right: loops
def conv_to_linear(weight):
    D, C, P, _ = weight.shape
    columns = [weight[:, c, y, x] for y in range(P) for x in range(P) for c in range(C)]
    return torch.stack(columns, dim=1)


# %% 3 right: einsum and a list
def conv_to_linear(weight):
    return torch.einsum("dcyx->dyxc", weight).flatten(1).tolist()


# %% 3 wrong: as it was
def conv_to_linear(weight):
    return weight.transpose(1, 3).flatten(1)


# %% 3 wrong: the channel left slowest
def conv_to_linear(weight):
    return weight.flatten(1)


# %% 3 wrong: both
def conv_to_linear(weight):
    return weight.mT.flatten(1)


# %% 3 wrong: not flattened
def conv_to_linear(weight):
    return weight.permute(0, 2, 3, 1)


# %% 3 wrong: E itself
def conv_to_linear(weight):
    return weight.permute(2, 3, 1, 0).flatten(0, 2)


# %% 3 wrong: reshaped in place of moved
def conv_to_linear(weight):
    D, C, P, _ = weight.shape
    return weight.reshape(D, P, P, C).flatten(1)


# %% 3 wrong: the channel between rows and columns
def conv_to_linear(weight):
    return weight.transpose(1, 2).flatten(1)


# %% 3 wrong: a fixed size
def conv_to_linear(weight):
    return weight.permute(0, 2, 3, 1).reshape(-1, 768)


# %% 3 wrong: the result in place of the function
conv_to_linear = torch.zeros(1, 12)


# %% 4 right: an index for all rows
def move_positions(position_embedding, order):
    rows = torch.cat([torch.tensor([0]), order + 1])
    return position_embedding[:, rows]


# %% 4 right: a copy, filled
def move_positions(position_embedding, order):
    moved = position_embedding.clone()
    moved[:, 1:] = position_embedding[:, 1:].index_select(1, order)
    return moved


# %% 4 right: a loop
def move_positions(position_embedding, order):
    rows = [position_embedding[0, 0]]
    for i in order.tolist():
        rows.append(position_embedding[0, 1 + i])
    return torch.stack(rows)[None]


# %% 4 wrong: the class token moved along with the patches
def move_positions(position_embedding, order):
    return position_embedding[:, order]


# %% 4 wrong: the inverse order
def move_positions(position_embedding, order):
    class_slot, patch_slots = position_embedding[:, :1], position_embedding[:, 1:]
    return torch.cat([class_slot, patch_slots[:, order.argsort()]], dim=1)


# %% 4 wrong: the class token put last
def move_positions(position_embedding, order):
    class_slot, patch_slots = position_embedding[:, :1], position_embedding[:, 1:]
    return torch.cat([patch_slots[:, order], class_slot], dim=1)


# %% 4 wrong: nothing moved
def move_positions(position_embedding, order):
    return position_embedding


# %% 4 wrong: the class token's row is shuffled in
def move_positions(position_embedding, order):
    rows = torch.cat([order, torch.tensor([len(order)])])
    return position_embedding[:, rows]


# %% 4 wrong: only the patches
def move_positions(position_embedding, order):
    return position_embedding[:, 1:][:, order]


# %% 4 wrong: changed in place
def move_positions(position_embedding, order):
    position_embedding[:, 1:] = position_embedding[:, 1:][:, order]
    return position_embedding


# %% 4 wrong: the wrong axis
def move_positions(position_embedding, order):
    return position_embedding[:, :, order]


# %% 4 wrong: one row off
def move_positions(position_embedding, order):
    return torch.cat([position_embedding[:, :1], position_embedding[:, order]], dim=1)
