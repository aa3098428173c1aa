"""
Text with sparse features
=========================

Texts become sparse rows of some thousand word weights. A stack of linear models learns
from few labels; a small network learns from the stack and the texts without labels.

Texts are generated, so that nothing is downloaded. On real ones, four groups of the 20
newsgroups, which scikit-learn downloads::

    python examples/plot_sparse_text.py --data newsgroups
"""

# %%
# Texts
# -----
# Each generated text mixes words of its own topic, of another one, and of everyday
# language. Words of a topic follow Zipf's law, and topics share some of them.

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import fetch_20newsgroups
from sklearn.ensemble import StackingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import ComplementNB
from sklearn.svm import LinearSVC

from sklearn_slam import MLPStudent, SLaMDistiller

parser = argparse.ArgumentParser()
parser.add_argument("--data", choices=["generated", "newsgroups"], default="generated")
data = parser.parse_args().data


def generate(n_texts=4_000, n_topics=6, n_words=3_000, topic_words=600, seed=0):
    rng = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, topic_words + 1)
    frequency /= frequency.sum()
    vocabularies = [
        rng.choice(n_words, topic_words, replace=False) for _ in range(n_topics + 1)
    ]
    topics = rng.integers(n_topics, size=n_texts)
    texts = []
    for topic in topics:
        other = rng.integers(n_topics)
        sources = rng.choice([topic, other, n_topics], 40, p=[0.2, 0.15, 0.65])
        places = rng.choice(topic_words, 40, p=frequency)
        words = [vocabularies[s][w] for s, w in zip(sources, places, strict=True)]
        texts.append(" ".join(f"word{word}" for word in words))
    return texts, topics


if data == "generated":
    texts, y = generate()
else:
    groups = ["comp.graphics", "rec.autos", "sci.med", "talk.politics.misc"]
    bunch = fetch_20newsgroups(
        subset="all", categories=groups, remove=("headers", "footers", "quotes")
    )
    texts, y = bunch.data, bunch.target

# %%
# Sparse rows
# -----------
# The weights need no labels: all texts but those to test on serve to learn them.

texts_rest, texts_test, y_rest, y_test = train_test_split(
    texts, y, test_size=0.25, random_state=0
)
words = TfidfVectorizer(sublinear_tf=True, min_df=3, max_features=5_000)
X_rest, X_test = words.fit_transform(texts_rest), words.transform(texts_test)
share = X_rest.nnz / np.prod(X_rest.shape)
print(f"{X_rest.shape[0]} texts with or without a label, {X_rest.shape[1]} words,")
print(f"{share:.1%} of the entries are not zero")

# %%
# Distill
# -------
# Sparse rows stay sparse; the student densifies them a batch at a time. The fewer
# labels there are, the more the pool should bring.

teacher = StackingClassifier(
    [
        ("bayes", ComplementNB()),
        ("logistic", LogisticRegression(C=10, max_iter=1_000)),
        ("svm", LinearSVC()),
    ],
    LogisticRegression(max_iter=1_000),
    cv=3,
)
student = MLPStudent((64,), dropout=0.3, random_state=0)
sizes = [100, 250, 600]
scores = {"teacher": [], "student": [], "student, labels only": []}
for size in sizes:
    X_labeled, pool, y_labeled, _ = train_test_split(
        X_rest, y_rest, train_size=size, stratify=y_rest, random_state=0
    )
    slam = SLaMDistiller(teacher, clone(student), max_epochs=15, random_state=0)
    slam.fit(X_labeled, y_labeled, X_unlabeled=pool)
    scores["teacher"].append(slam.teacher_.score(X_test, y_test))
    scores["student"].append(slam.score(X_test, y_test))
    alone = student.fit(X_labeled, y_labeled)
    scores["student, labels only"].append(alone.score(X_test, y_test))

fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
print(f"{'labeled rows':22}" + "".join(f"{size:>8}" for size in sizes))
for name, values in scores.items():
    ax.plot(sizes, 100 * np.array(values), "o-", label=name)
    print(f"{name:22}" + "".join(f"{value:8.1%}" for value in values))
ax.set(xscale="log", xlabel="labeled rows", ylabel="accuracy on fresh texts, %")
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
ax.legend()
plt.show()
