"""How many tokens a request has, where a trace does not say: clipped lognormals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class TokenSizes:
    """Input and output tokens, independent: exp(Normal(log_mean, log_sd)), rounded, clipped to [1, most]."""

    in_log_mean: float
    in_log_sd: float
    in_most: int
    out_log_mean: float
    out_log_sd: float
    out_most: int

    @property
    def mean_in(self) -> float:
        """Mean input tokens of a request."""
        return _clipped_mean(self.in_log_mean, self.in_log_sd, self.in_most)

    @property
    def mean_out(self) -> float:
        """Mean output tokens of a request."""
        return _clipped_mean(self.out_log_mean, self.out_log_sd, self.out_most)

    @property
    def mean_total(self) -> float:
        """Mean input plus output tokens of a request."""
        return self.mean_in + self.mean_out

    def times(self, in_factor: float, out_factor: float) -> TokenSizes:
        """The same law for prompts and answers that are so many times as long (before clipping)."""
        return TokenSizes(
            self.in_log_mean + math.log(in_factor),
            self.in_log_sd,
            self.in_most,
            self.out_log_mean + math.log(out_factor),
            self.out_log_sd,
            self.out_most,
        )

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Input and output tokens of `n` requests."""
        tokens_in = np.exp(rng.normal(self.in_log_mean, self.in_log_sd, n))
        tokens_out = np.exp(rng.normal(self.out_log_mean, self.out_log_sd, n))
        return (
            np.rint(tokens_in).clip(1, self.in_most).astype(np.int64),
            np.rint(tokens_out).clip(1, self.out_most).astype(np.int64),
        )


CONVERSATION = TokenSizes(6.63, 0.99, 14_050, 5.02, 0.86, 1_000)
"""Fitted to the logarithms of Azure's 2023 conversation trace (Azure/AzurePublicDataset, Splitwise, ISCA'24): 19,366
requests, mean 1,155 tokens in and 211 out, most 14,050 and 1,000."""


def _clipped_mean(log_mean: float, log_sd: float, most: float) -> float:
    """E[min(X, most)] of a lognormal X, closed form."""
    edge = (math.log(most) - log_mean) / log_sd
    below = math.exp(log_mean + log_sd**2 / 2) * _normal(edge - log_sd)
    return below + most * (1 - _normal(edge))


def _normal(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2
