"""Linear classifiers, against independent optimisers and scikit-learn's own."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.optimize import LinearConstraint, minimize
from sklearn.model_selection import cross_val_score
from sklearn.svm import LinearSVC

from finetune.baselines import linear
from finetune.baselines.hinge import binary_hinge

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
        model = linear.hinge_svm(seed=0).fit(X, y)
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
        loss = binary_hinge(torch.from_numpy(points @ weights), torch.from_numpy(signs))
        return C * len(y) * float(loss) + weights @ weights / 2

    theirs = LinearSVC(loss="hinge", C=C, max_iter=100_000, tol=1e-8).fit(X, signs)
    found = np.append(theirs.coef_[0], theirs.intercept_)
    powell = minimize(value, found, method="Powell", options={"ftol": 1e-12}).fun
    assert value(found) == pytest.approx(powell, rel=1e-4)
    assert value(found) < 0.9 * value(np.zeros(WIDTH + 1))


@pytest.mark.parametrize(
    "make", [linear.hinge_svm, linear.squared_hinge_svm, linear.logistic_regression]
)
def test_with_few_examples_of_a_class_the_strength_is_not_tuned(make):
    X = sparse.csr_matrix(np.eye(4))
    model = make(0).fit(X, [0, 0, 1, 1])
    assert model.fitted_.C == 1.0
    assert model.predict(X).tolist() == [0, 0, 1, 1]


def test_naive_bayes_has_laplaces_smoothing():
    model = linear.naive_bayes(0).fit(sparse.csr_matrix([[3, 0], [0, 1]]), [0, 1])
    shares = np.array([[4 / 5, 1 / 3], [1 / 5, 2 / 3]])
    expected = shares[0] ** 2 * shares[1]
    found = model.predict_proba(sparse.csr_matrix([[2, 1]]))[0]
    np.testing.assert_allclose(found, expected / expected.sum())
