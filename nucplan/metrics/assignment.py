"""One-to-one assignment over a sparse list of candidate pairs."""

from __future__ import annotations

import numpy as np


def best_assignment(rows: np.ndarray, columns: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Choose one-to-one pairs of greatest total gain.

    A pair whose row and column have no other candidate is taken at once; the rest goes through a sparse solver
    (Jonker-Volgenant), so the cost follows the number of candidates and never rows times columns.

    Parameters
    ----------
    rows, columns
        Indices of the candidate pairs ``(E,)``; no pair occurs twice.
    gain
        What each pair is worth ``(E,)``, greater than 0.

    Returns
    -------
    numpy.ndarray
        Positions in the list of pairs that are chosen, ascending, int64.
    """
    if rows.size == 0:
        return np.empty(0, dtype=np.int64)
    alone = (np.bincount(rows)[rows] == 1) & (np.bincount(columns)[columns] == 1)
    contested = np.flatnonzero(~alone)
    chosen = _solve(rows[contested], columns[contested], gain[contested])
    return np.sort(np.concatenate([np.flatnonzero(alone), contested[chosen]]))


def _solve(rows: np.ndarray, columns: np.ndarray, gain: np.ndarray) -> np.ndarray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    if rows.size == 0:
        return np.empty(0, dtype=np.int64)
    _, row = np.unique(rows, return_inverse=True)
    unique_columns, column = np.unique(columns, return_inverse=True)
    n_rows, n_columns = int(row.max()) + 1, unique_columns.size
    # A spare column for each row, of gain 0, makes a full matching exist; the shift keeps explicit weights from 0.
    shift = 2.0 * gain.max()
    weights = np.concatenate([shift - gain, np.full(n_rows, shift)])
    all_rows = np.concatenate([row, np.arange(n_rows)])
    all_columns = np.concatenate([column, n_columns + np.arange(n_rows)])
    graph = coo_array((weights, (all_rows, all_columns)), shape=(n_rows, n_columns + n_rows)).tocsr()
    matched_rows, matched_columns = min_weight_full_bipartite_matching(graph)
    pair = coo_array((np.arange(1, row.size + 1), (row, column)), shape=graph.shape).tocsr()
    position = np.asarray(pair[matched_rows, matched_columns]).ravel()
    return position[position > 0].astype(np.int64) - 1
