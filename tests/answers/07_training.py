# %% 1 right: by hand
steps_per_epoch = -(-13_500 // 128)
total = 40 * steps_per_epoch
halfway = total // 10 + (total - total // 10) // 2

# %% 1 right: looked for with the function
factors = [rate_factor(s, 4240, 424) for s in range(424, 4240)]
halfway = 424 + min(range(len(factors)), key=lambda i: abs(factors[i] - 0.5))

# %% 1 right: a float, and the middle of two ends
halfway = (0.1 * 40 * 106 + 40 * 106) / 2

# %% 1 wrong: the middle of the run
halfway = 4240 // 2

# %% 1 wrong: counted from the warm-up's end
halfway = (4240 - 424) // 2

# %% 1 wrong: the short batches are dropped
halfway = 420 + (4200 - 420) // 2

# %% 1 wrong: on the way up
halfway = 212

# %% 1 wrong: rounded at the end only
import math

total = math.ceil(40 * 13_500 / 128)
halfway = 422 + (total - 422) / 2

# %% 1 wrong: an epoch
halfway = 20

# %% 1 wrong: the factor itself
halfway = 0.5

# %% 2 right: in another order
letters = "fca"

# %% 2 right: capitals and commas
letters = "A, C and F"

# %% 2 right: asked of the function
base = after_one_step()
letters = [
    letter
    for letter, change in changes.items()
    if torch.allclose(after_one_step(**change), base, atol=1e-4)
]

# %% 2 wrong: the length of the gradient is thought to matter
letters = "f"

# %% 2 wrong: zero_grad is thought to matter at once
letters = "ac"

# %% 2 wrong: the sign, too
letters = "acef"

# %% 2 wrong: the rate, too
letters = "abcf"

# %% 2 wrong: decay is thought to need a schedule
letters = "acdf"

# %% 2 wrong: all
letters = "abcdef"

# %% 2 wrong: no such letter
letters = "x"

# %% 2 wrong: clipping is thought to matter
letters = "af"


# %% 3 right: the other order
def train_once(model, images, labels, rate):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for x, y in zip(images, labels, strict=True):
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


# %% 3 right: log_softmax and nll_loss
def train_once(model, images, labels, rate):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for i in range(len(images)):
        model.zero_grad()
        log_probabilities = model(images[i]).log_softmax(dim=1)
        F.nll_loss(log_probabilities, labels[i]).backward()
        optimizer.step()
    return model


# %% 3 right: no optimiser at all
def train_once(model, images, labels, rate):
    for x, y in zip(images, labels, strict=True):
        loss = F.cross_entropy(model(x), y)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter -= rate * gradient
    return model


# %% 3 wrong: as it was
def train_once(model, images, labels, rate):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for x, y in zip(images, labels, strict=True):
        probabilities = model(x).softmax(dim=1)
        loss = F.cross_entropy(probabilities, y)
        loss.backward()
        optimizer.step()
    return model


# %% 3 wrong: the gradients pile up
def train_once(model, images, labels, rate):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for x, y in zip(images, labels, strict=True):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


# %% 3 wrong: cleared once, before the loop
def train_once(model, images, labels, rate):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    optimizer.zero_grad()
    for x, y in zip(images, labels, strict=True):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


# %% 3 wrong: the softmax is still there
def train_once(model, images, labels, rate):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for x, y in zip(images, labels, strict=True):
        optimizer.zero_grad()
        F.cross_entropy(model(x).softmax(dim=1), y).backward()
        optimizer.step()
    return model


# %% 3 wrong: cleared between backward and step
def train_once(model, images, labels, rate):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for x, y in zip(images, labels, strict=True):
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
    return model


# %% 3 wrong: nll_loss of probabilities
def train_once(model, images, labels, rate):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for x, y in zip(images, labels, strict=True):
        optimizer.zero_grad()
        F.nll_loss(model(x).softmax(dim=1), y).backward()
        optimizer.step()
    return model


# %% 3 wrong: the first batch is skipped
def train_once(model, images, labels, rate):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for x, y in zip(images[1:], labels[1:], strict=True):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


# %% 3 wrong: nothing is returned
def train_once(model, images, labels, rate):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for x, y in zip(images, labels, strict=True):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


# %% 4 right: the sum of the losses, divided at the end
def gradients_in_parts(model, images, labels, size):
    model.zero_grad()
    for x, y in zip(images.split(size), labels.split(size), strict=True):
        F.cross_entropy(model(x), y, reduction="sum").backward()
    for parameter in model.parameters():
        parameter.grad /= len(images)
    return model


# %% 4 right: slices
def gradients_in_parts(model, images, labels, size):
    for parameter in model.parameters():
        parameter.grad = None
    n = len(labels)
    for start in range(0, n, size):
        x, y = images[start : start + size], labels[start : start + size]
        loss = F.cross_entropy(model(x), y)
        (loss * len(y) / n).backward()
    return model


# %% 4 right: gradients kept by hand
def gradients_in_parts(model, images, labels, size):
    parameters = list(model.parameters())
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    for x, y in zip(images.split(size), labels.split(size), strict=True):
        loss = F.nll_loss(model(x).log_softmax(dim=1), y, reduction="sum")
        gradients = torch.autograd.grad(loss, parameters)
        sums = [s + g for s, g in zip(sums, gradients, strict=True)]
    for parameter, total in zip(parameters, sums, strict=True):
        parameter.grad = total / len(labels)
    return model


# %% 4 wrong: as it was
def gradients_in_parts(model, images, labels, size):
    model.zero_grad()
    for x, y in zip(images.split(size), labels.split(size), strict=True):
        F.cross_entropy(model(x), y).backward()
    return model


# %% 4 wrong: divided by the number of parts
def gradients_in_parts(model, images, labels, size):
    model.zero_grad()
    parts = list(zip(images.split(size), labels.split(size), strict=True))
    for x, y in parts:
        (F.cross_entropy(model(x), y) / len(parts)).backward()
    return model


# %% 4 wrong: the whole batch at once
def gradients_in_parts(model, images, labels, size):
    model.zero_grad()
    F.cross_entropy(model(images), labels).backward()
    return model


# %% 4 wrong: only the last part
def gradients_in_parts(model, images, labels, size):
    for x, y in zip(images.split(size), labels.split(size), strict=True):
        model.zero_grad()
        (F.cross_entropy(model(x), y) * len(x) / len(images)).backward()
    return model


# %% 4 wrong: the sum
def gradients_in_parts(model, images, labels, size):
    model.zero_grad()
    for x, y in zip(images.split(size), labels.split(size), strict=True):
        F.cross_entropy(model(x), y, reduction="sum").backward()
    return model


# %% 4 wrong: every part is taken to be full
def gradients_in_parts(model, images, labels, size):
    model.zero_grad()
    for x, y in zip(images.split(size), labels.split(size), strict=True):
        (F.cross_entropy(model(x), y) * size / len(images)).backward()
    return model


# %% 4 wrong: the old gradients are kept
def gradients_in_parts(model, images, labels, size):
    for x, y in zip(images.split(size), labels.split(size), strict=True):
        (F.cross_entropy(model(x), y) * len(x) / len(images)).backward()
    return model


# %% 4 wrong: nothing is returned
def gradients_in_parts(model, images, labels, size):
    model.zero_grad()
    for x, y in zip(images.split(size), labels.split(size), strict=True):
        (F.cross_entropy(model(x), y) * len(x) / len(images)).backward()


# %% 4 wrong: no gradient
def gradients_in_parts(model, images, labels, size):
    model.zero_grad()
    with torch.no_grad():
        for x, y in zip(images.split(size), labels.split(size), strict=True):
            F.cross_entropy(model(x), y)
    return model
