"""Linear classifiers on sparse features."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from scipy import sparse
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.naive_bayes import MultinomialNB
from sklearn.svm import LinearSVC

from finetune.baselines.hinge import multiclass_hinge

FOLDS = 3
STRENGTHS = (0.1, 0.3, 1.0, 3.0)
"""inverse regularisation (C) to choose from, by cross-validation inside the training split"""


class MulticlassHingeSVC(BaseEstimator, ClassifierMixin):
    """The linear SVM of `multiclass_hinge`, all classes at once; L-BFGS on the whole data.

    Minimises C x the summed loss + half the squared norm of the weights, as scikit-learn's SVMs do.
    """

    def __init__(self, C: float = 1.0, iterations: int = 300) -> None:
        self.C, self.iterations = C, iterations

    def fit(self, X: sparse.csr_matrix, y: Sequence[int]) -> MulticlassHingeSVC:
        """Learn from (texts, features) and class numbers."""
        self.classes_, places = np.unique(y, return_inverse=True)
        (texts, features), classes = X.shape, len(self.classes_)
        targets, transposed = torch.from_numpy(places), X.T.tocsr()

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            """The minimised sum / (C x texts), and its gradient; the last row is the bias."""
            weights, bias = np.split(flat.reshape(features + 1, classes), [features])
            scores = torch.from_numpy(X @ weights + bias).requires_grad_()
            loss = multiclass_hinge(scores, targets)
            loss.backward()
            slope, strength = scores.grad.numpy(), 1 / (self.C * texts)
            gradient = np.vstack([transposed @ slope + strength * weights, slope.sum(0)])
            return loss.item() + strength / 2 * np.square(weights).sum(), gradient.ravel()

        start = np.zeros((features + 1) * classes)
        # At the loss's kinks progress is small long before the end; a long memory gets past them.
        options = {"maxiter": self.iterations, "maxcor": 50, "ftol": 0, "gtol": 0}
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        solution = found.x.reshape(features + 1, classes)
        self.coef_, self.intercept_ = solution[:-1], solution[-1]
        return self

    def decision_function(self, X: sparse.csr_matrix) -> np.ndarray:
        """Scores (texts, classes)."""
        return X @ self.coef_ + self.intercept_

    def predict(self, X: sparse.csr_matrix) -> np.ndarray:
        """The class of the highest score."""
        return self.classes_[self.decision_function(X).argmax(1)]


class Tuned(BaseEstimator, ClassifierMixin):
    """`model` with C chosen by cross-validation; with few examples of a class: as it is."""

    def __init__(self, model: BaseEstimator) -> None:
        self.model = model

    def fit(self, X: sparse.csr_matrix, y: Sequence[int]) -> Tuned:
        """Choose C, then learn from all."""
        self.classes_, counts = np.unique(y, return_counts=True)
        chosen = clone(self.model)
        if counts.min() >= FOLDS:
            folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
            chosen = GridSearchCV(chosen, {"C": list(STRENGTHS)}, cv=folds)
        with warnings.catch_warnings():
            # One that stops before it converges is judged by its score like all others.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.fitted_ = chosen.fit(X, y)
        return self

    def predict(self, X: sparse.csr_matrix) -> np.ndarray:
        """The fitted model's answers."""
        return self.fitted_.predict(X)


def hinge_svm(seed: int) -> BaseEstimator:
    """One binary hinge SVM a class, against the rest."""
    return Tuned(LinearSVC(loss="hinge", max_iter=5000, random_state=seed))


def squared_hinge_svm(seed: int) -> BaseEstimator:
    """The same with the squared hinge, scikit-learn's default and mostly the strongest."""
    return Tuned(LinearSVC(random_state=seed))


def multiclass_hinge_svm(seed: int) -> BaseEstimator:
    """`MulticlassHingeSVC`."""
    return Tuned(MulticlassHingeSVC())


def logistic_regression(seed: int) -> BaseEstimator:
    """Multinomial."""
    return Tuned(LogisticRegression(max_iter=1000))


def naive_bayes(seed: int) -> BaseEstimator:
    """Multinomial, with Laplace's smoothing."""
    return MultinomialNB()
