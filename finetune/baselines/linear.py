"""Linear classifiers on sparse features.

Axes: N texts, C classes.
"""

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
from torch import Tensor

FOLDS = 3
STRENGTHS = (0.1, 0.3, 1.0, 3.0)
"""inverse regularisation (C) to choose from, by cross-validation inside the training split"""


def multiclass_hinge(scores_NC: Tensor, classes_N: Tensor) -> Tensor:
    """The mean over texts of the sum over j != y of max(0, s_j - s_y + 1) (Weston and Watkins,
    1999)."""
    right_N1 = scores_NC.gather(1, classes_N[:, None])
    margins_NC = (scores_NC - right_N1 + 1).clamp(min=0)
    # The right class itself adds exactly 1.
    return (margins_NC.sum(1) - 1).mean()


# scikit-learn ships no types, so its classes are of type Any.
class MulticlassHingeSVC(BaseEstimator, ClassifierMixin):  # type: ignore[misc]
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
            (slope_NC,) = torch.autograd.grad(loss, [scores])
            slope, strength = slope_NC.numpy(), 1 / (self.C * texts)
            gradient = np.vstack([transposed @ slope + strength * weights, slope.sum(0)])
            return loss.item() + strength / 2 * np.square(weights).sum(), gradient.ravel()

        start = np.zeros((features + 1) * classes)
        # At the loss's kinks progress is small long before the end; a long memory gets past them.
        options = {"maxiter": self.iterations, "maxcor": 50, "ftol": 0, "gtol": 0}
        minimum = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        solution = minimum.x.reshape(features + 1, classes)
        self.coef_, self.intercept_ = solution[:-1], solution[-1]
        return self

    def decision_function(self, X: sparse.csr_matrix) -> np.ndarray:
        """Scores (texts, classes)."""
        scores: np.ndarray = X @ self.coef_ + self.intercept_
        return scores

    def predict(self, X: sparse.csr_matrix) -> np.ndarray:
        """The class of the highest score."""
        classes: np.ndarray = self.classes_[self.decision_function(X).argmax(1)]
        return classes


class Tuned(BaseEstimator, ClassifierMixin):  # type: ignore[misc]
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
        classes: np.ndarray = self.fitted_.predict(X)
        return classes


def hinge_svm(seed: int) -> BaseEstimator:
    """One binary hinge SVM a class, against the rest."""
    return Tuned(LinearSVC(loss="hinge", max_iter=5000, random_state=seed))


def squared_hinge_svm(seed: int) -> BaseEstimator:
    """The same with the squared hinge, scikit-learn's default and mostly the strongest."""
    return Tuned(LinearSVC(random_state=seed))


def multiclass_hinge_svm() -> BaseEstimator:
    """`MulticlassHingeSVC`."""
    return Tuned(MulticlassHingeSVC())


def logistic_regression() -> BaseEstimator:
    """Multinomial."""
    return Tuned(LogisticRegression(max_iter=1000))


def naive_bayes() -> BaseEstimator:
    """Multinomial, with Laplace's smoothing."""
    return MultinomialNB()
