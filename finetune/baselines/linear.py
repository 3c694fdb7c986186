"""Linear classifiers on sparse features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.naive_bayes import MultinomialNB
from sklearn.svm import LinearSVC

from finetune.baselines.losses import multiclass_hinge

FOLDS = 3
STRENGTHS = (0.1, 0.3, 1.0, 3.0)
"""inverse regularisation (C) to choose from, by cross-validation inside the training split"""


class MulticlassHingeSVC(BaseEstimator, ClassifierMixin):
    """The linear SVM of `multiclass_hinge`, all classes at once; L-BFGS on the whole data.

    Minimises C x the summed loss + half the squared norm of the weights, as scikit-learn's SVMs do.
    """

    def __init__(self, C: float = 1.0, iterations: int = 60) -> None:
        self.C, self.iterations = C, iterations

    def fit(self, X: sparse.csr_matrix, y: Sequence[int]) -> MulticlassHingeSVC:
        """Learn from (texts, features) and class numbers."""
        self.classes_, places = np.unique(y, return_inverse=True)
        features, targets = to_torch(X), torch.from_numpy(places)
        weights = torch.zeros(X.shape[1], len(self.classes_), requires_grad=True)
        bias = torch.zeros(len(self.classes_), requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weights, bias], max_iter=self.iterations, line_search_fn="strong_wolfe"
        )

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = multiclass_hinge(torch.sparse.mm(features, weights) + bias, targets)
            loss = loss + weights.square().sum() / (2 * self.C * len(targets))
            loss.backward()
            return loss

        optimizer.step(closure)
        self.coef_, self.intercept_ = weights.detach().numpy(), bias.detach().numpy()
        return self

    def decision_function(self, X: sparse.csr_matrix) -> np.ndarray:
        """Scores (texts, classes)."""
        return X @ self.coef_ + self.intercept_

    def predict(self, X: sparse.csr_matrix) -> np.ndarray:
        """The class of the highest score."""
        return self.classes_[self.decision_function(X).argmax(1)]


def to_torch(X: sparse.csr_matrix) -> torch.Tensor:
    """A scipy matrix as a torch one, float32."""
    entries = X.tocoo()
    places = torch.from_numpy(np.stack([entries.row, entries.col]).astype(np.int64))
    values = torch.from_numpy(entries.data.astype(np.float32))
    return torch.sparse_coo_tensor(places, values, X.shape).coalesce()


def hinge_svm(seed: int) -> BaseEstimator:
    """One binary hinge SVM a class, against the rest."""
    return tuned(LinearSVC(loss="hinge", max_iter=5000, random_state=seed))


def squared_hinge_svm(seed: int) -> BaseEstimator:
    """The same with the squared hinge, scikit-learn's default and mostly the strongest."""
    return tuned(LinearSVC(random_state=seed))


def multiclass_hinge_svm(seed: int) -> BaseEstimator:
    """`MulticlassHingeSVC`."""
    return tuned(MulticlassHingeSVC())


def logistic_regression(seed: int) -> BaseEstimator:
    """Multinomial."""
    return tuned(LogisticRegression(max_iter=1000))


def naive_bayes(seed: int) -> BaseEstimator:
    """Multinomial, with Laplace's smoothing."""
    return MultinomialNB()


def tuned(model: BaseEstimator) -> BaseEstimator:
    """`model` with C chosen by cross-validation; few examples of a class: as it is."""
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return GridSearchCV(model, {"C": list(STRENGTHS)}, cv=folds)
