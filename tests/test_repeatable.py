"""Seeds for all that is random, and answers that are kept."""

from joblib import Memory
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.random_projection import GaussianRandomProjection
from sklearn.tree import DecisionTreeClassifier

from sklearn_slam._repeatable import cached, with_random_state


def seeds_of(model, seed):
    params = with_random_state(model, seed).get_params()
    return {name: params[name] for name in params if name.endswith("random_state")}


def unseeded():
    return make_pipeline(
        GaussianRandomProjection(2), BaggingClassifier(DecisionTreeClassifier())
    )


def test_every_part_without_a_seed_gets_one_of_its_own():
    seeds = seeds_of(unseeded(), 0)
    assert len(seeds) == len(set(seeds.values())) == 3
    assert all(isinstance(seed, int) for seed in seeds.values())
    assert seeds_of(unseeded(), 0) == seeds
    assert not set(seeds_of(unseeded(), 1).values()) & set(seeds.values())


def test_seeds_that_were_given_are_kept():
    assert seeds_of(RandomForestClassifier(random_state=7), 0) == {"random_state": 7}
    model = BaggingClassifier(DecisionTreeClassifier(random_state=7))
    seeds = seeds_of(model, 0)
    assert seeds["estimator__random_state"] == 7
    assert seeds["random_state"] is not None


def count(rows, told, seen):
    seen.append(told)
    return 2 * rows


def test_what_is_ignored_makes_no_other_question(tmp_path):
    ask = cached(Memory(tmp_path, verbose=0), count, ignore=["told", "seen"])
    seen = []
    for rows, told in ((1, "a"), (1, "b"), (2, "b")):
        assert ask(rows, told, seen) == 2 * rows
    assert seen == ["a", "b"]
