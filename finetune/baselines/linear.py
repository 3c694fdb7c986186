"""Linear classifiers, and the sparse features that they read.

The rivals' matrices count words in small letters without punctuation; the data report's have a
column for whatever stands between spaces.

Axes: N texts, C classes; of every sparse matrix (texts, features).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import torch
from scipy import sparse
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.preprocessing import normalize
from torch import Tensor

from configs.errors import InputError

FOLDS = 3
STRENGTHS = (0.1, 0.3, 1.0, 3.0)
"""inverse regularisation (C) to choose from, by cross-validation inside the training split"""
ITERATIONS = 300
"""of L-BFGS, at most"""


# scikit-learn ships no types, so its classes are of type Any.
class WordCounter(CountVectorizer):  # type: ignore[misc]
    """scikit-learn's, which says in our way that the texts are too few."""

    def fit_transform(self, raw_documents: Iterable[str], y: object = None) -> sparse.csr_matrix:
        """Learn the columns and count; `InputError` where no text holds what is to be counted."""
        try:
            return super().fit_transform(raw_documents, y)
        except ValueError as error:
            wanted = f"analyzer={self.analyzer}, ngram_range={self.ngram_range}"
            raise InputError(
                f"nothing to count ({wanted}) stands in {self.min_df} training texts or more: give "
                "more texts, or name other methods, e.g. model=majority,n-gram-lm"
            ) from error


bag_of_words = partial(WordCounter, token_pattern=r"(?u)\b\w+\b")
"""counts of each word of the training texts, with scikit-learn's options: binary (one-hot),
ngram_range (runs of words that count as words), min_df (least number of texts that hold a word)"""
bag_of_characters = partial(WordCounter, analyzer="char_wb")
"""counts of each run of characters within a word, with the same options"""
bag_of_tokens = partial(WordCounter, tokenizer=str.split, token_pattern=None, lowercase=False)
"""counts of whatever stands between spaces, with the same options"""


class PlainTfIdf(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """Counts times idf = ln(n / (1 + df)), n texts of which df hold the word.

    A word of every text gets a slightly negative weight; scikit-learn's own formula adds 1 against
    that, which is another model. Each text is divided by its Euclidean norm, as linear models like
    it.
    """

    def fit(
        self,
        counts: sparse.csr_matrix,
        y: object = None,  # noqa: ARG002 - what scikit-learn's pipelines call
    ) -> PlainTfIdf:
        """Learn the idf of every column."""
        frequency = np.bincount(counts.nonzero()[1], minlength=counts.shape[1])
        self.idf_ = np.log(counts.shape[0] / (1 + frequency))
        return self

    def transform(self, counts: sparse.csr_matrix) -> sparse.csr_matrix:
        """tf-idf of the counts."""
        return normalize(counts @ sparse.diags(self.idf_))


def multiclass_hinge(scores_NC: Tensor, classes_N: Tensor) -> Tensor:
    """The mean over texts of the sum over j != y of max(0, s_j - s_y + 1) (Weston and Watkins,
    1999)."""
    right_N1 = scores_NC.gather(1, classes_N[:, None])
    margins_NC = (scores_NC - right_N1 + 1).clamp(min=0)
    # The right class itself adds exactly 1.
    return (margins_NC.sum(1) - 1).mean()


class MulticlassHingeSVC(BaseEstimator, ClassifierMixin):  # type: ignore[misc]
    """The linear SVM of `multiclass_hinge`, all classes at once; L-BFGS on the whole data.

    Minimises C x the summed loss + half the squared norm of the weights, as scikit-learn's SVMs do.
    """

    def __init__(self, C: float = 1.0) -> None:
        self.C = C

    def fit(self, X: sparse.csr_matrix, y: Sequence[int]) -> MulticlassHingeSVC:
        """Learn from (texts, features) and class numbers."""
        self.classes_, places = np.unique(y, return_inverse=True)
        (texts, features), classes = X.shape, len(self.classes_)
        targets, transposed = torch.from_numpy(places), X.T.tocsr()

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            """The minimised sum / (C x texts), and its gradient; the last row is the bias."""
            # The bias is not shrunk: how common a class is has nothing to do with the words.
            weights, bias = np.split(flat.reshape(features + 1, classes), [features])
            scores = torch.from_numpy(X @ weights + bias).requires_grad_()
            loss = multiclass_hinge(scores, targets)
            (slope_NC,) = torch.autograd.grad(loss, [scores])
            slope, strength = slope_NC.numpy(), 1 / (self.C * texts)
            gradient = np.vstack([transposed @ slope + strength * weights, slope.sum(0)])
            return loss.item() + strength / 2 * np.square(weights).sum(), gradient.ravel()

        start = np.zeros((features + 1) * classes)
        # At the loss's kinks progress is small long before the end; a long memory gets past them.
        options = {"maxiter": ITERATIONS, "maxcor": 50, "ftol": 0, "gtol": 0}
        minimum = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        solution = minimum.x.reshape(features + 1, classes)
        self.coef_, self.intercept_ = solution[:-1], solution[-1]
        return self

    def predict(self, X: sparse.csr_matrix) -> np.ndarray:
        """The class of the highest score."""
        classes: np.ndarray = self.classes_[(X @ self.coef_ + self.intercept_).argmax(1)]
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
