# %% 1 wrong: the decay goes through Adam's quotient (coupled)
def first_step(w, g, rate, decay):
    return w - rate * (g + decay * w).sign()


# %% 1 wrong: the decay forgets the learning rate
def first_step(w, g, rate, decay):
    return w - rate * g.sign() - decay * w


# %% 1 wrong: a plain gradient step instead of Adam's quotient
def first_step(w, g, rate, decay):
    return w - rate * g - rate * decay * w


# %% 1 wrong: no decay
def first_step(w, g, rate, decay):
    return w - rate * g.sign()


# %% 2 wrong: short gradients are enlarged
def clip_factor(gradients, greatest):
    return greatest / torch.cat(gradients).norm().item()


# %% 2 wrong: the lengths of the parts are added up
def clip_factor(gradients, greatest):
    return min(1.0, greatest / sum(g.norm().item() for g in gradients))


# %% 2 wrong: the largest entry in place of the length
def clip_factor(gradients, greatest):
    return min(1.0, greatest / max(g.abs().max().item() for g in gradients))


# %% 2 wrong: clipped only against 1
def clip_factor(gradients, greatest):
    return min(1.0, 1.0 / torch.cat(gradients).norm().item())


# %% 3 wrong: the mean of batch means
def accuracy_over_images(batch_means, batch_sizes):
    return sum(batch_means) / len(batch_means)


# %% 3 wrong: the sum of right answers is divided by the number of batches
def accuracy_over_images(batch_means, batch_sizes):
    right = sum(m * n for m, n in zip(batch_means, batch_sizes, strict=True))
    return right / len(batch_sizes)


# %% 3 wrong: every batch is taken to be as large as the first
def accuracy_over_images(batch_means, batch_sizes):
    size = batch_sizes[0]
    return sum(m * size for m in batch_means) / sum(batch_sizes)
