# %% 1 right: a number
patches = 1151

# %% 1 right: computed
patches = 6 * 192 - 1

# %% 1 right: searched
patches = next(N for N in range(1, 10_000) if (N + 1) / (6 * 192 + N + 1) >= 0.5)

# %% 1 wrong: the tokens
patches = 1152

# %% 1 wrong: one too many
patches = 1153

# %% 1 wrong: the width
patches = 192

# %% 1 wrong: a side
patches = 34

# %% 1 wrong: a word
patches = "many"

# %% 2 right: a number
noticed = 6

# %% 2 right: run
block = TransformerEncoderBlock(SMALL).eval()
z = torch.randn(1, 6, 4, 64)
changed = z.clone()
changed[0, 2, 1, 0] += 1.0
first, second = (block(x.transpose(1, 2).flatten(0, 1)) for x in (z, changed))
noticed = (~torch.isclose(first, second, atol=1e-6)).any(dim=-1).sum()

# %% 2 wrong: a row
noticed = 4

# %% 2 wrong: all
noticed = 24

# %% 2 wrong: without itself
noticed = 5

# %% 2 right: by its shape
noticed = torch.zeros(1, 6, 4).shape[1]

# %% 2 wrong: nothing
noticed = 0

# %% 2 wrong: the others of a row
noticed = 3


# %% 3 right: repeated
def positions_2d(row_codes, column_codes):
    x = column_codes.repeat(len(row_codes), 1)
    y = row_codes.repeat_interleave(len(column_codes), dim=0)
    return torch.cat([x, y], dim=1)


# %% 3 right: a loop
def positions_2d(row_codes, column_codes):
    found = [torch.cat([x, y]) for y in row_codes for x in column_codes]
    return torch.stack(found)


# %% 3 right: by places
def positions_2d(row_codes, column_codes):
    place = torch.arange(len(row_codes) * len(column_codes))
    y, x = place // len(column_codes), place % len(column_codes)
    return torch.cat([column_codes[x], row_codes[y]], dim=-1)


# %% 3 wrong: as it was
def positions_2d(row_codes, column_codes):
    x = column_codes.repeat_interleave(len(row_codes), dim=0)
    y = row_codes.repeat(len(column_codes), 1)
    return torch.cat([x, y], dim=1)


# %% 3 wrong: the halves swapped
def positions_2d(row_codes, column_codes):
    x = column_codes.repeat(len(row_codes), 1)
    y = row_codes.repeat_interleave(len(column_codes), dim=0)
    return torch.cat([y, x], dim=1)


# %% 3 wrong: added
def positions_2d(row_codes, column_codes):
    x = column_codes.repeat(len(row_codes), 1)
    y = row_codes.repeat_interleave(len(column_codes), dim=0)
    return x + y


# %% 3 wrong: one half mended
def positions_2d(row_codes, column_codes):
    x = column_codes.repeat(len(row_codes), 1)
    y = row_codes.repeat(len(column_codes), 1)
    return torch.cat([x, y], dim=1)


# %% 3 wrong: a number for each patch
def positions_2d(row_codes, column_codes):
    return torch.arange(len(row_codes) * len(column_codes))


# %% 4 right: by formula
def relative_numbers(rows, columns):
    place = torch.arange(rows * columns)
    y, x = place // columns, place % columns
    dy = y[:, None] - y + rows - 1
    dx = x[:, None] - x + columns - 1
    return dy * (2 * columns - 1) + dx


# %% 4 right: the other way round
def relative_numbers(rows, columns):
    place = torch.arange(rows * columns)
    y, x = place // columns, place % columns
    dy = y - y[:, None] + rows - 1
    dx = x - x[:, None] + columns - 1
    return dx * (2 * rows - 1) + dy


# %% 4 right: numbered as they come
def relative_numbers(rows, columns):
    known, N = {}, rows * columns
    found = torch.empty(N, N, dtype=torch.long)
    for i in range(N):
        for j in range(N):
            distance = i // columns - j // columns, i % columns - j % columns
            found[i, j] = known.setdefault(distance, len(known))
    return found


# %% 4 wrong: in the sequence
def relative_numbers(rows, columns):
    place = torch.arange(rows * columns)
    return place[:, None] - place + rows * columns - 1


# %% 4 wrong: without signs
def relative_numbers(rows, columns):
    place = torch.arange(rows * columns)
    y, x = place // columns, place % columns
    return (y[:, None] - y).abs() * columns + (x[:, None] - x).abs()


# %% 4 wrong: from below zero
def relative_numbers(rows, columns):
    place = torch.arange(rows * columns)
    y, x = place // columns, place % columns
    return (y[:, None] - y) * (2 * columns - 1) + x[:, None] - x


# %% 4 wrong: with gaps
def relative_numbers(rows, columns):
    place = torch.arange(rows * columns)
    y, x = place // columns, place % columns
    return (y[:, None] - y + rows - 1) * 1000 + x[:, None] - x + columns - 1


# %% 4 wrong: every pair its own
def relative_numbers(rows, columns):
    N = rows * columns
    return torch.arange(N * N).view(N, N)


# %% 4 wrong: a row of them
def relative_numbers(rows, columns):
    return torch.arange((2 * rows - 1) * (2 * columns - 1))
