"""The identities behind cross-entropy, its mask, its floor and AdamW (notebook 2.1)."""

import math
import random

import torch
from torch.distributions import Categorical, kl_divergence
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from aigc_course import losses, scenes
from identities import draw

LABELS = torch.tensor([[1, 4, 2, 3, 0], [2, 2, -100, -100, -100], [4, 1, 0, -100, -100]])
REAL = LABELS != -100


def rows():
    """(name, residual) of each identity."""
    return [
        ("-log p of a row of choices = sum of the surprises, table of all rows", chain_rule()),
        ("d CE / dz = (p - y) on real tokens over their number, by autograd", gradient()),
        ("d CE / dz = p - y, by differences of fourth order", finite_differences()),
        ("torch.autograd.gradcheck of losses.cross_entropy (0: passed)", checked()),
        ("Hessian = diag(p) - p pᵀ, and vᵀ H v = variance of v under p", hessian()),
        ("label smoothing: gradient = p - ((1-ε) y + ε/K)", smoothing()),
        ("CE(q, p) = H(q) + KL(q || p)", entropy_and_gap()),
        ("losses.cross_entropy, losses.surprise = torch's, padding left out", library()),
        ("a causal transformer in one pass = token by token", one_pass()),
        ("loss and accuracy with padding = formula in n / L", padding()),
        ("-log p(caption) = -log p(facts) - log p(caption | facts); its mean = entropy", grammar()),
        ("d CE / d(1/T) = E_p[z] - z_y, by autograd", temperature()),
        ("moments of a steady gradient, corrected = the gradient, its square", correction()),
        ("AdamW, 20 steps by hand = torch.optim.AdamW", adamw()),
    ]


def checked():
    scores = draw(3, 5, 6).requires_grad_()
    return float(not torch.autograd.gradcheck(lambda z: losses.cross_entropy(z, LABELS), scores, raise_exception=False))


def largest(difference):
    return difference.abs().max().item()


def chain_rule():
    joint = draw(4 * 5 * 6).softmax(0).view(4, 5, 6)  # of three tokens
    first, second = joint.sum((1, 2)), joint.sum(2)
    nats = -first.log()[:, None, None] - (second / first[:, None]).log()[..., None] - (joint / second[..., None]).log()
    return largest(nats + joint.log())


def _one_hot(labels, classes):
    return F.one_hot(labels.clamp(min=0), classes).double()


def gradient():
    z = draw(3, 5, 6).requires_grad_()
    (found,) = torch.autograd.grad(losses.cross_entropy(z, LABELS), z)
    off = (z.softmax(2) - _one_hot(LABELS, 6)) * REAL[..., None]
    return largest(found - off / REAL.sum())


def finite_differences(h=1e-3):
    z, truth, eye = draw(6), 2, torch.eye(6, dtype=torch.float64)

    def loss(step):
        moved = z + step * eye
        return moved.logsumexp(1) - moved[:, truth]

    found = (8 * (loss(h) - loss(-h)) - (loss(2 * h) - loss(-2 * h))) / (12 * h)
    return largest(found - (z.softmax(0) - eye[truth]))


def hessian():
    z, v = draw(6), draw(6, seed=1)
    p = z.softmax(0)
    found = torch.autograd.functional.hessian(lambda z: z.logsumexp(0) - z[2], z)
    variance = (p * (v - p @ v) ** 2).sum()
    return max(largest(found - (p.diag() - p.outer(p))), largest(v @ found @ v - variance))


def smoothing(share=0.1):
    z, truth = draw(4, 6).requires_grad_(), torch.tensor([1, 0, 5, 2])
    (found,) = torch.autograd.grad(F.cross_entropy(z, truth, label_smoothing=share, reduction="sum"), z)
    return largest(found - (z.softmax(1) - (1 - share) * _one_hot(truth, 6) - share / 6))


def entropy_and_gap():
    p, q = draw(20, 6).softmax(1), draw(20, 6, seed=1).softmax(1)
    whole = -(q * p.log()).sum(1)
    return largest(whole - Categorical(q).entropy() - kl_divergence(Categorical(q), Categorical(p)))


def library():
    z = draw(3, 5, 6)
    each = F.cross_entropy(z.mT, LABELS, reduction="none")
    mean, sums = each.sum() / REAL.sum(), each.sum(1)
    return max(largest(losses.cross_entropy(z, LABELS) - mean), largest(losses.surprise(z, LABELS) - sums))


def one_pass():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=9, n_positions=8, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=1)
    model = GPT2LMHeadModel(config).double().eval()
    tokens = torch.tensor([[2, 5, 8, 1, 0, 3, 3, 7]])
    with torch.no_grad():
        at_once = model(tokens).logits[0]
        in_turn = torch.stack([model(tokens[:, :n]).logits[0, -1] for n in range(1, 9)])
    return largest(at_once - in_turn)


def padding(length=12):
    z = draw(3, 5, 6)
    nats, hits = torch.zeros(3, length).double(), torch.ones(3, length).double()
    nats[:, :5] = F.cross_entropy(z.mT, LABELS, reduction="none")
    hits[:, :5] = ((z.argmax(2) == LABELS) | ~REAL).double()
    share = REAL.double().sum() / (3 * length)
    right = (z.argmax(2) == LABELS)[REAL].double().mean()
    return max(
        largest(nats.mean() - losses.cross_entropy(z, LABELS) * share),
        largest(hits.mean() - (1 - (1 - right) * share)),
    )


def grammar():
    worst = 0.0
    for k, one in enumerate(scenes.samples(20, "train", seed=3)):
        for language in scenes.LANGUAGES:
            facts, told = one.scene.facts, scenes.paraphrases(one.scene, language)
            text = scenes.caption(facts, random.Random(k), language)
            parts = -math.log(scenes.probability(facts)) - math.log(told[text])
            mean = sum(p * scenes.surprise(facts, text, language) for text, p in told.items())
            given = mean + math.log(scenes.probability(facts))
            off = scenes.surprise(facts, text, language) - parts, given - scenes.entropy(facts, language)
            worst = max(worst, *map(abs, off), abs(sum(told.values()) - 1))
    return worst


def temperature():
    z, truth, sharp = draw(7, 6), torch.tensor([1, 0, 5, 2, 2, 3, 4]), torch.tensor(0.7).double().requires_grad_()
    (found,) = torch.autograd.grad(F.cross_entropy(sharp * z, truth), sharp)
    p = (sharp.detach() * z).softmax(1)
    return largest(found - ((p * z).sum(1) - z[range(7), truth]).mean())


def correction(g=0.3):
    worst, mean, square = 0.0, 0.0, 0.0
    for t in range(1, 101):
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g**2
        worst = max(worst, abs(mean / (1 - 0.9**t) - g), abs(square / (1 - 0.999**t) - g**2))
    return worst


def adamw(rate=0.1, decay=0.2, steps=20):
    weights = torch.nn.Parameter(draw(4, 3))
    optimiser = torch.optim.AdamW([weights], lr=rate, weight_decay=decay)
    w, mean, square = weights.detach().clone(), torch.zeros(4, 3).double(), torch.zeros(4, 3).double()
    for t in range(1, steps + 1):
        weights.grad = g = draw(4, 3, seed=t)
        optimiser.step()
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g**2
        step = mean / (1 - 0.9**t) / ((square / (1 - 0.999**t)).sqrt() + 1e-8)
        w = (1 - rate * decay) * w - rate * step
    return largest(w - weights.detach())
