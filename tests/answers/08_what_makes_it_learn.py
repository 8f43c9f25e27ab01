# %% 1 right: a number
half = 0.878

# %% 1 right: rounded
half = 0.88

# %% 1 right: by hand
half = 2.776 * math.sqrt((1 + 1) / 4 / 5)

# %% 1 right: by the function
half = half_width(pd.Series([84, 90, 81, 83, 87]) - pd.Series([82, 86, 78, 80, 84]))

# %% 1 wrong: the mean
half = 3.0

# %% 1 wrong: the normal distribution
half = 1.96 * (0.5 / 5) ** 0.5

# %% 1 wrong: divided by n
half = 2.776 * (2 / 5 / 5) ** 0.5

# %% 1 wrong: without the root of n
half = 2.776 * 0.5**0.5

# %% 1 wrong: the standard error
half = 0.316

# %% 1 wrong: the whole width
half = 1.756

# %% 1 wrong: s
half = 0.707

# %% 1 wrong: a word
half = "0.9 or so"

# %% 2 right: by subtracting
gap = losses["loss"] - losses["train_loss"]
largest = gap.idxmax()

# %% 2 right: a name
largest = "no weight decay"

# %% 2 right: a loop
largest = max(losses.index, key=lambda name: losses.loc[name].diff().iloc[-1])

# %% 2 wrong: the smallest
largest = (losses["loss"] - losses["train_loss"]).idxmin()

# %% 2 wrong: the lowest training loss
largest = losses["train_loss"].idxmin()

# %% 2 wrong: the highest test loss
largest = losses["loss"].idxmax()

# %% 2 wrong: the whole recipe
largest = recipe.WHOLE

# %% 2 wrong: a number
largest = (losses["loss"] - losses["train_loss"]).max()


# %% 3 right: with numpy
def interval(before, after):
    d = after - before
    n = len(d)
    return d.mean(), t.ppf(0.975, n - 1) * d.std(ddof=1) / n**0.5


# %% 3 right: by the function
def interval(before, after):
    d = pd.Series(after) - pd.Series(before)
    return d.mean(), half_width(d)


# %% 3 right: by hand
def interval(before, after):
    d = [b - a for a, b in zip(before, after, strict=True)]
    mean = sum(d) / len(d)
    variance = sum((x - mean) ** 2 for x in d) / (len(d) - 1)
    return [mean, t.ppf(0.975, len(d) - 1) * math.sqrt(variance / len(d))]


# %% 3 wrong: as it was
def interval(before, after):
    d = after - before
    return d.mean(), 1.96 * d.std()


# %% 3 wrong: 1.96
def interval(before, after):
    d = after - before
    return d.mean(), 1.96 * d.std(ddof=1) / len(d) ** 0.5


# %% 3 wrong: divided by n
def interval(before, after):
    d = after - before
    return d.mean(), t.ppf(0.975, len(d) - 1) * d.std() / len(d) ** 0.5


# %% 3 wrong: without the root
def interval(before, after):
    d = after - before
    return d.mean(), t.ppf(0.975, len(d) - 1) * d.std(ddof=1)


# %% 3 wrong: apart
def interval(before, after):
    n = len(after)
    error = math.sqrt((after.var(ddof=1) + before.var(ddof=1)) / n)
    return after.mean() - before.mean(), t.ppf(0.975, 2 * n - 2) * error


# %% 3 wrong: on one side
def interval(before, after):
    d = after - before
    return d.mean(), t.ppf(0.95, len(d) - 1) * d.std(ddof=1) / len(d) ** 0.5


# %% 3 wrong: five runs always
def interval(before, after):
    d = after - before
    return d.mean(), 2.776 * d.std(ddof=1) / len(d) ** 0.5


# %% 3 wrong: the other way round
def interval(before, after):
    d = before - after
    return d.mean(), t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / len(d) ** 0.5


# %% 4 right: a loop
def seeds_needed(deviation, smallest):
    n = 2
    while t.ppf(0.975, n - 1) * deviation / math.sqrt(n) > smallest:
        n += 1
    return n


# %% 4 right: a generator
def seeds_needed(deviation, smallest):
    halves = ((n, t.ppf(0.975, n - 1) * deviation / n**0.5) for n in range(2, 10_000))
    return next(n for n, half in halves if half <= smallest)


# %% 4 right: by itself
def seeds_needed(deviation, smallest, n=2):
    half = t.ppf(0.975, n - 1) * deviation / n**0.5
    return n if half <= smallest else seeds_needed(deviation, smallest, n + 1)


# %% 4 wrong: by the normal distribution
def seeds_needed(deviation, smallest):
    return max(2, math.ceil((1.96 * deviation / smallest) ** 2))


# %% 4 wrong: the whole width
def seeds_needed(deviation, smallest):
    n = 2
    while 2 * t.ppf(0.975, n - 1) * deviation / math.sqrt(n) > smallest:
        n += 1
    return n


# %% 4 wrong: n degrees of freedom
def seeds_needed(deviation, smallest):
    n = 2
    while t.ppf(0.975, n) * deviation / math.sqrt(n) > smallest:
        n += 1
    return n


# %% 4 wrong: no root
def seeds_needed(deviation, smallest):
    n = 2
    while t.ppf(0.975, n - 1) * deviation / n > smallest:
        n += 1
    return n


# %% 4 wrong: five always
def seeds_needed(deviation, smallest):
    return 5


# %% 4 wrong: one too many
def seeds_needed(deviation, smallest):
    n = 3
    while t.ppf(0.975, n - 2) * deviation / math.sqrt(n - 1) > smallest:
        n += 1
    return n
