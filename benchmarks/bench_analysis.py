"""Canonical correlations and support vector regression at the paper's size, beside scikit-learn in the same run.

    python benchmarks/bench_analysis.py [--exact 40000] [--rows 480000]

The rows are made: two variates that tell valence and arousal as well as the paper's did (a concordance of some 0.7),
in a crowd of others.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from affect3d.affect.metrics import concordance
from affect3d.analysis.cca import canonical_correlation_of
from affect3d.analysis.svr import SvrOptions, support_vector_regression


def two_views(count: int, width: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """(N, width) weights and (N, 2) labels that share two directions."""
    affect = np.tanh(rng.normal(size=(count, 2)))
    x = rng.normal(size=(count, width))
    x[:, :2] += 2 * affect
    return x @ rng.normal(size=(width, width)) / np.sqrt(width), affect


def variates(count: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) variates of unit variance and (N, 2) labels; the noise in both is what no method can know."""
    affect = np.tanh(rng.normal(size=(count, 2))) * 0.8
    x = np.c_[affect[:, 0] + 0.3 * affect[:, 1] ** 2, affect[:, 1] - 0.2 * affect[:, 0]]
    x = x + 0.35 * rng.standard_normal(x.shape)
    y = np.clip(affect + 0.15 * rng.standard_normal(affect.shape), -1, 1)
    return (x - x.mean(0)) / x.std(0), y


def bench_cca(rng) -> None:
    from sklearn.cross_decomposition import CCA

    for count, width in ((2000, 12), (100_000, 200)):
        x, y = two_views(count, width, rng)
        begin = time.perf_counter()
        blocks = ((x[i : i + 8192], y[i : i + 8192]) for i in range(0, count, 8192))
        ours = canonical_correlation_of(blocks)
        own = time.perf_counter() - begin
        begin = time.perf_counter()
        peer = CCA(n_components=2, max_iter=2000, tol=1e-10).fit(x, y)
        a, b = peer.transform(x, y)
        theirs = time.perf_counter() - begin
        correlations = [float(np.corrcoef(a[:, k], b[:, k])[0, 1]) for k in range(2)]
        print(
            f"CCA, {count:,} x {width}: {own:.2f} s, scikit-learn {theirs:.2f} s ({theirs / own:.0f} times); "
            f"correlations {ours.correlations[0]:.8f} {ours.correlations[1]:.8f}, scikit-learn {correlations[0]:.8f} "
            f"{correlations[1]:.8f}"
        )


def bench_svr(exact: int, rows: int, rng) -> None:
    x, y = variates(rows + 20_000, rng)
    far, truth = x[rows:], y[rows:]
    for options in (SvrOptions(), SvrOptions(cost=10, gamma=0.1)):
        said = f"C {options.cost:g}, gamma {options.gamma:g}"
        if exact:
            from sklearn.svm import SVR

            begin = time.perf_counter()
            ours = support_vector_regression(x[:exact], y[:exact], options)
            own = time.perf_counter() - begin
            begin = time.perf_counter()
            peer = [SVR(C=options.cost, epsilon=options.epsilon, gamma=options.gamma, cache_size=1000)
                    .fit(x[:exact], y[:exact, t]).predict(far) for t in range(2)]  # fmt: skip
            theirs = time.perf_counter() - begin
            both = [
                (concordance(ours.predict(far)[:, t], truth[:, t]), concordance(peer[t], truth[:, t])) for t in (0, 1)
            ]
            print(f"SVR, {exact:,} rows, two targets, {said}: {own:.1f} s, scikit-learn {theirs:.1f} s; CCC "
                  + ", ".join(f"{a:.4f} (exact {b:.4f})" for a, b in both))  # fmt: skip
        begin = time.perf_counter()
        ours = support_vector_regression(x[:rows], y[:rows], options)
        own = time.perf_counter() - begin
        score = ", ".join(f"{concordance(ours.predict(far)[:, t], truth[:, t]):.4f}" for t in (0, 1))
        print(f"SVR, {rows:,} rows, two targets, {said}: {own:.1f} s, CCC {score}, {ours.features.rank} features, "
              f"duality gap {ours.gap.max():.1e}, {ours.steps.tolist()} steps")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exact", type=int, default=10_000, help="rows for scikit-learn's exact regression")
    parser.add_argument("--rows", type=int, default=480_000)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    bench_cca(rng)
    bench_svr(arguments.exact, arguments.rows, rng)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB")


if __name__ == "__main__":
    main()
