"""Linear classifiers, against independent optimisers and scikit-learn's own."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.optimize import LinearConstraint, minimize
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.svm import LinearSVC

from finetune.baselines import linear
from finetune.baselines.linear import Tuned
from finetune.baselines.rivals import RIVALS, hinge_svm

CLASSES, WIDTH = 3, 4


@pytest.fixture(scope="module")
def problem() -> tuple[sparse.csr_matrix, np.ndarray]:
    """24 points of three classes that overlap."""
    rng = np.random.default_rng(0)
    places = np.repeat(range(CLASSES), 8)
    centres = rng.normal(size=(CLASSES, WIDTH))
    return sparse.csr_matrix(centres[places] + rng.normal(size=(24, WIDTH))), places


def objective(weights: np.ndarray, bias: np.ndarray, X, y: np.ndarray, C: float) -> float:
    """C x the summed multiclass hinge + half the squared norm."""
    scores = X @ weights + bias
    own = scores[np.arange(len(y)), y][:, None]
    return C * (np.maximum(0, scores - own + 1).sum() - len(y)) + np.square(weights).sum() / 2


def quadratic_programme(X: np.ndarray, y: np.ndarray, C: float) -> float:
    """The same minimum, as weights, bias and a slack for each wrong class of each point."""
    pairs = [(i, j) for i in range(len(y)) for j in range(CLASSES) if j != y[i]]
    own = (WIDTH + 1) * CLASSES
    margins = np.zeros((len(pairs), own + len(pairs)))
    for row, (i, j) in enumerate(pairs):
        point = np.append(X[i], 1.0)
        margins[row, y[i] * (WIDTH + 1) : (y[i] + 1) * (WIDTH + 1)] += point
        margins[row, j * (WIDTH + 1) : (j + 1) * (WIDTH + 1)] -= point
        margins[row, own + row] = 1
    is_weight = np.zeros(own + len(pairs))
    is_weight[:own] = np.tile([1] * WIDTH + [0], CLASSES)
    is_slack = np.repeat([0.0, 1.0], [own, len(pairs)])
    found = minimize(
        lambda z: is_slack @ z + is_weight @ z**2 / 2 / C,
        is_slack,
        jac=lambda z: is_slack + is_weight * z / C,
        constraints=LinearConstraint(margins, lb=1),
        bounds=[(None, None) if not slack else (0, None) for slack in is_slack],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert found.success, found.message
    return C * found.fun


@pytest.mark.parametrize("C", [0.1, 1.0, 3.0])
def test_multiclass_svm_reaches_the_minimum_of_a_quadratic_programme(problem, C):
    X, y = problem
    model = linear.MulticlassHingeSVC(C).fit(X, y)
    expected = quadratic_programme(X.toarray(), y, C)
    found = objective(model.coef_, model.intercept_, X, y, C)
    assert expected * (1 - 1e-6) <= found <= expected * 1.001


def test_predictions_are_the_classes_of_the_highest_scores(problem):
    X, y = problem
    named = np.array([2, 5, 7])[y]
    model = linear.MulticlassHingeSVC(C=10.0).fit(X, named)
    scores = X.toarray() @ model.coef_ + model.intercept_
    assert model.predict(X).tolist() == np.array([2, 5, 7])[scores.argmax(1)].tolist()
    assert (model.predict(X) == named).mean() > 0.8


def test_hinge_svm_is_scikit_learns_with_the_best_strength(problem):
    X, y = problem
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = hinge_svm(seed=0).fit(X, y)
        best = model.fitted_.best_params_["C"]
        theirs = LinearSVC(loss="hinge", C=best, max_iter=5000, random_state=0).fit(X, y)
        folds = model.fitted_.cv
        means = {
            C: cross_val_score(
                LinearSVC(loss="hinge", C=C, max_iter=5000, random_state=0), X, y, cv=folds
            ).mean()
            for C in linear.STRENGTHS
        }
    assert means[best] == max(means.values())
    np.testing.assert_array_equal(model.fitted_.best_estimator_.coef_, theirs.coef_)
    assert model.predict(X).tolist() == theirs.predict(X).tolist()


def test_scikit_learns_binary_svm_minimises_our_binary_hinge(problem):
    """It regularises the bias as one more weight."""
    X, y = problem
    signs, C = np.where(y == 0, 1, -1), 0.5
    points = np.hstack([X.toarray(), np.ones((len(y), 1))])

    def value(weights: np.ndarray) -> float:
        loss = np.maximum(0, 1 - signs * (points @ weights)).mean()
        return C * len(y) * loss + weights @ weights / 2

    theirs = LinearSVC(loss="hinge", C=C, max_iter=100_000, tol=1e-8).fit(X, signs)
    found = np.append(theirs.coef_[0], theirs.intercept_)
    powell = minimize(value, found, method="Powell", options={"ftol": 1e-12}).fun
    assert value(found) == pytest.approx(powell, rel=1e-4)
    assert value(found) < 0.9 * value(np.zeros(WIDTH + 1))


@pytest.mark.parametrize(
    "model", [hinge_svm(0), Tuned(LinearSVC(random_state=0)), Tuned(LogisticRegression())]
)
def test_with_few_examples_of_a_class_the_strength_is_not_tuned(model):
    X = sparse.csr_matrix(np.eye(4))
    model.fit(X, [0, 0, 1, 1])
    assert model.fitted_.C == 1.0
    assert model.predict(X).tolist() == [0, 0, 1, 1]


def test_naive_bayes_has_laplaces_smoothing():
    model = RIVALS["naive-bayes"](0).fit(["a a a", "b"], [0, 1])
    shares = np.array([[4 / 5, 1 / 3], [1 / 5, 2 / 3]])
    expected = shares[0] ** 2 * shares[1]
    found = model.predict_proba(["b a a"])[0]
    np.testing.assert_allclose(found, expected / expected.sum())


IMAGES = torch.tensor([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
RIGHT = torch.tensor([0, 1, 2])
LOSSES = [2.9, 0.0, 12.9]


@pytest.mark.parametrize("row", range(3))
def test_three_images_of_cat_car_and_frog(row):
    """The example of Stanford's CS231n."""
    loss = linear.multiclass_hinge(IMAGES[row : row + 1], RIGHT[row : row + 1])
    assert float(loss) == pytest.approx(LOSSES[row], abs=1e-5)


def test_the_loss_of_a_batch_is_the_mean():
    assert float(linear.multiclass_hinge(IMAGES, RIGHT)) == pytest.approx(15.8 / 3, abs=1e-5)


def test_the_multiclass_loss_as_its_definition_says():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(50, 5, generator=generator).double()
    classes = torch.randint(0, 5, (50,), generator=generator)
    expected = sum(
        max(0.0, float(row[j] - row[y]) + 1)
        for row, y in zip(scores, classes.tolist())
        for j in range(5)
        if j != y
    )
    assert float(linear.multiclass_hinge(scores, classes)) == pytest.approx(expected / 50)


def test_gradients_away_from_the_kinks():
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(6, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    classes = torch.tensor([0, 1, 2, 3, 0, 1])
    assert torch.autograd.gradcheck(lambda s: linear.multiclass_hinge(s, classes), scores)
