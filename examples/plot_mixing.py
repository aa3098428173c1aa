"""
How mixing works
================

One teacher label, one student prediction: what the loss compares, and which way it
pushes.
"""

# %%
# The mixture
# -----------
# The teacher says class B of four; held-out rows say that at such margins it is right
# three times out of four (alpha = 0.75) and that the truth is among its two most
# likely classes (k = 2). The student believes in C, the teacher's second choice.
# Plain distillation compares the teacher's label with the student's prediction f.
# Student-label mixing compares it with what a teacher of this accuracy should *say*
# if the student is right.

import matplotlib.pyplot as plt
import numpy as np
import torch

from sklearn_slam import mixing_loss

classes = list("ABCD")
label = np.array([0.05, 0.60, 0.30, 0.05])
f = np.array([0.04, 0.15, 0.75, 0.06])
alpha, top_k = 0.75, np.array([0.0, 1.0, 1.0, 0.0])
mixture = alpha * f + (1 - alpha) * (1 - f) * top_k

fig, ax = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
bars = {"teacher's label": label, "student f": f, "mixture": mixture}
for place, (name, heights) in enumerate(bars.items()):
    ax.bar(np.arange(4) + 0.27 * (place - 1), heights, width=0.25, label=name)
ax.set_xticks(range(4), classes)
ax.set(xlabel="class", ylabel="weight")
ax.legend()
print("mixture:", dict(zip(classes, mixture.round(3).tolist(), strict=True)))

# %%
# The mixture gives B much more weight than the student does: the teacher may have
# said B by mistake. With ``normalize=False``, the form used here and the default, it
# need not sum to 1; the definition of the paper divides the second part by k - 1, which
# with k = 2, as here, is the same.
#
# The loss and its pull
# ---------------------
# Two classes and a hard label. Left, the loss against the student's probability f of
# the class that the teacher named. Right, the loss by the student's logit: how hard
# the label pulls f up. For alpha = 1 a student that disagrees is pulled hardest. The
# lower alpha is, the less is asked of a student that has made up its mind against the
# teacher: the label may be one of the wrong ones.

logit = torch.linspace(-6, 6, 241, dtype=torch.float64)
share = torch.sigmoid(logit)
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for alpha in (1.0, 0.9, 0.75, 0.6):
    logits = torch.stack([logit, torch.zeros_like(logit)], dim=1).requires_grad_()
    loss = mixing_loss(
        logits,
        torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand_as(logits),
        torch.full_like(logit, alpha),
        torch.full_like(logits, 1 - alpha).detach(),
    )
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    left.plot(share, loss.detach(), label=f"alpha = {alpha}")
    right.plot(share, -gradient[:, 0], label=f"alpha = {alpha}")
    strongest = float(share[(-gradient[:, 0]).argmax()])
    print(f"alpha={alpha}: the pull is strongest at f = {strongest:.2f}")
left.set(xlabel="student's f of the teacher's class", ylabel="loss", ylim=(0, 4))
right.set(xlabel="student's f of the teacher's class", ylabel="pull towards it")
left.legend()

# %%
# The minimum of the loss
# -----------------------
# Where many rows look alike and the teacher names the class in a share alpha of them,
# plain distillation is content at f = alpha: it learns the teacher's mistakes as doubt.
# Mixing with the true alpha is content at f = 1: the truth behind the labels. That is
# why a student trained so is too sure, and why ``SLaMDistiller`` calibrates it by
# default.

true_alpha = 0.75
target = torch.tensor([[true_alpha, 1 - true_alpha]], dtype=torch.float64)
logits = torch.stack([logit, torch.zeros_like(logit)], dim=1)
fig, ax = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
for name, alpha in {"plain distillation": 1.0, "mixing": true_alpha}.items():
    loss = mixing_loss(
        logits,
        target.expand_as(logits),
        torch.full_like(logit, alpha),
        torch.full_like(logits, 1 - alpha),
    )
    line = ax.plot(share, loss, label=name)[0]
    best = int(loss.argmin())
    ax.plot(share[best], loss[best], "o", color=line.get_color())
    print(f"{name}: least loss at f = {float(share[best]):.2f}")
ax.set(xlabel="student's f", ylabel="mean loss", ylim=(0.5, 1.2))
ax.legend()
plt.show()
