"""A linear head on fixed features: logistic regression with soft targets, its strength chosen by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

# On unit vectors 1 is strong: with 4 rows a label 10 and 100 score 13 points higher (Banking77, ten intents).
STRENGTHS = (1.0, 10.0, 100.0)
MIDDLE = 10.0
FOLDS = 5
RIDGE_ALPHAS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
# A target below this is not worth a row of its own.
NEGLIGIBLE = 0.02
# Sixteen fits of more than this many (row, label) pairs take minutes, and tell strengths apart that hardly differ.
MOST_CROSS_VALIDATED = 400_000


@dataclass(frozen=True)
class LinearHead:
    """Logits are ``features @ weights.T + bias``: (labels, hidden size) and (labels,). ``strength`` is sklearn's C."""

    weights: np.ndarray
    bias: np.ndarray
    strength: float

    def logits(self, features: np.ndarray) -> np.ndarray:
        return features @ self.weights.T + self.bias


def fit_head(features: np.ndarray, targets: np.ndarray, weights: np.ndarray, seed: int) -> LinearHead:
    """Fit on features (n, d), targets (n, labels) and row weights (n,). Labels that no row has get a low bias.

    The strength is the one of three with the best cross-validated accuracy, ties by log-loss; the middle one where
    a label has fewer than two rows, and where rows and labels are many.
    """
    import numpy as np

    hard = targets.argmax(1)
    fewest = int(np.bincount(hard)[np.unique(hard)].min())
    if len(np.unique(hard)) < 2 or fewest < 2 or targets.size > MOST_CROSS_VALIDATED:
        return fit_head_at(features, targets, weights, MIDDLE)
    from sklearn.model_selection import StratifiedKFold

    folds = list(StratifiedKFold(min(FOLDS, fewest), shuffle=True, random_state=seed).split(features, hard))
    scores = {}
    for strength in STRENGTHS:
        right, loss = 0, 0.0
        for train, test in folds:
            logits = fit_head_at(features[train], targets[train], weights[train], strength).logits(features[test])
            right += int((logits.argmax(1) == hard[test]).sum())
            loss += float(-_log_softmax(logits)[np.arange(len(test)), hard[test]].sum())
        scores[strength] = (right, -loss)
    return fit_head_at(features, targets, weights, max(STRENGTHS, key=lambda s: scores[s]))


def fit_head_at(features: np.ndarray, targets: np.ndarray, weights: np.ndarray, strength: float) -> LinearHead:
    """``fit_head`` with the strength given: a fit in place of sixteen."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    rows, labels = np.nonzero(targets > NEGLIGIBLE)
    share = targets[rows, labels] * weights[rows]
    n, d = targets.shape[1], features.shape[1]
    present = np.unique(labels)
    full, bias = np.zeros((n, d)), np.full(n, -10.0)
    if len(present) == 1:
        bias[present] = 0.0
        return LinearHead(full, bias, strength)
    # One thread: at this size eight times faster than two that wait for each other, and the sums come out the same.
    with threadpool_limits(1, user_api="blas"):
        model: Any = LogisticRegression(C=strength, max_iter=2000).fit(features[rows], labels, sample_weight=share)
    coef, intercept = model.coef_, model.intercept_
    if len(present) == 2:  # sklearn gives one difference: half of it for each side is the same softmax
        coef, intercept = np.concatenate([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
    full[present], bias[present] = coef, intercept
    return LinearHead(full, bias, strength)


def fit_one_vs_rest(
    features: np.ndarray, targets: np.ndarray, weights: np.ndarray, strength: float = MIDDLE
) -> LinearHead:
    """A logistic regression for each label, all at once: features (n, d), targets (n, labels) in [0, 1], weights (n,).

    Separate fits minimise the same sum, so one L-BFGS over all weights finds them; its steps are matrix products,
    which is what keeps 1,000 labels fast. ``strength`` is sklearn's C.
    """
    import torch

    x, y = torch.from_numpy(features).float(), torch.from_numpy(targets).float()
    share = torch.from_numpy(weights).float()[:, None]
    rate = y.mean(0).clamp(1e-4, 1 - 1e-4)
    w = torch.zeros(y.shape[1], x.shape[1], requires_grad=True)
    b = torch.log(rate / (1 - rate)).clone().requires_grad_(True)
    made = torch.optim.LBFGS(
        [w, b], max_iter=100, history_size=10, tolerance_change=1e-7, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        made.zero_grad()
        each = torch.nn.functional.binary_cross_entropy_with_logits(x @ w.T + b, y, reduction="none")
        loss = ((each * share).sum() + (w * w).sum() / (2 * strength)) / len(x)
        loss.backward()
        return loss

    made.step(closure)  # type: ignore[no-untyped-call]
    return LinearHead(w.detach().numpy(), b.detach().numpy(), strength)


def fit_ridge(features: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> LinearHead:
    """Ridge regression on features (n, d) towards targets (n, 1), its strength chosen by leave-one-out error."""
    from sklearn.linear_model import RidgeCV

    model: Any = RidgeCV(alphas=RIDGE_ALPHAS).fit(features, targets[:, 0], sample_weight=weights)
    return LinearHead(model.coef_.reshape(1, -1), model.intercept_.reshape(1), float(1 / model.alpha_))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    import numpy as np

    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
