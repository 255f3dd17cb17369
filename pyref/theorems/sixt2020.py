"""Sixt, Granz, Landgraf, "When explanations lie": why chains of non-negative matrices forget the output.

The paper's convergence claim is stated for irreducible matrices, which is not enough (a permutation is
irreducible); its converse of cosine convergence needs as many vectors as the domain has dimensions; and
the entries of one matrix Z are not what the α-β rule normalises. The statements here are the corrected ones.
"""

from fractions import Fraction
from itertools import combinations

import numpy as np

from pyref.layers import Dense, ReLU, dense_relevance
from pyref.methods.excitation_backprop import excitation_backprop
from pyref.methods.gradient_times_input import gradient_times_input
from pyref.methods.guided_backprop import guided_backprop
from pyref.methods.lrp import lrp
from pyref.methods.method import start
from pyref.metrics.matrix_chain import noise_to_signal
from pyref.network import Network
from pyref.numerics import neg, pos
from pyref.rules import AlphaBeta, Epsilon, ZPlus
from pyref.theorems.ancona2017 import lrp_signals
from pyref.theorems.chain_rule import has_removable_singularity
from pyref.theorems.networks import array, convolutional, input_for, mlp
from pyref.theorems.theorem import UNIT, Case, Theorem, at_most, equal, worst

__all__ = ["THEOREMS"]


# ── X1 ─────────────────────────────────────────────────────────────────────────────────────────────────


def hilbert_distance(x, y):
    """d_H(x, y) = log max(x/y) - log min(x/y), for positive vectors: zero where they are parallel."""
    ratio = np.log(x) - np.log(y)
    return ratio.max() - ratio.min()


def projective_diameter(A):
    """Δ(A) = max over rows i, j and columns k, l of log (a_ik a_jl / (a_jk a_il))."""
    L = np.log(A)
    rows = L[:, None, :] - L[None, :, :]
    return (rows.max(axis=2) - rows.min(axis=2)).max()


def column_gap(A):
    """τ₁(A) = ½ max over pairs of columns of Σ_i |a_ij - a_ik|."""
    pairs = combinations(range(A.shape[1]), 2)
    return max((sum(abs(A[:, j] - A[:, k])) / 2 for j, k in pairs), default=Fraction(0))


def stochastic(draw, n, m):
    """A column-stochastic matrix of Fractions, positive."""
    A = draw.fractions((n, m), 1, 8, denominators=(1,))
    return A / A.sum(axis=0)


def contraction(draw):
    """Birkhoff's inequality in Hilbert's metric, and Dobrushin's in the 1-norm on differences of mass zero."""
    n, m = draw.integer(2, 5), draw.integer(2, 5)
    if draw.boolean():
        A = draw.integers((n, m), 1, 9).astype(float)
        x, y = draw.integers(m, 1, 9).astype(float), draw.integers(m, 1, 9).astype(float)
        left = hilbert_distance(A @ x, A @ y)
        factor = np.tanh(projective_diameter(A) / 4)
        right = factor * hilbert_distance(x, y)
        # each logarithm is that of a sum of m terms; the logarithms themselves are at most log(9²m) in size
        slack = 8 * (m + 4) * UNIT * (1 + np.log(81.0 * m)) * (1 + hilbert_distance(x, y))
        return at_most(left, right, slack, "Hilbert's metric")
    A = stochastic(draw, n, m)
    d = draw.fractions(m)
    d = d - sum(d) / Fraction(m)
    return at_most(sum(abs(A @ d)), column_gap(A) * sum(abs(d)), detail="1-norm")


def with_mass(draw):
    """Equal columns, so τ₁ = 0, but a difference with mass: nothing contracts."""
    A = stochastic(draw, 3, 1) @ array([[1, 1]])
    return at_most(sum(abs(A @ array([1, 0]))), column_gap(A), detail="the difference has mass 1")


def irreducible_power(draw):
    """A = [[0, 1], [1, 0]] is irreducible; A⁵¹ should be close to rank 1, and its determinant is -1."""
    A, product = array([[0, 1], [1, 0]]), array([[1, 0], [0, 1]])
    for _ in range(51):
        product = product @ A
    return equal(determinant(product), Fraction(0), "det of A^51")


def slowly_positive(draw):
    """M_k = (1 - 1/(k+1)²) I + J / (3 (k+1)²): every factor is positive, and the product keeps rank 2."""
    product = np.eye(3)
    for k in range(1, 400):
        s = 1 / (k + 1) ** 2
        product = product @ ((1 - s) * np.eye(3) + s / 3)
    values = np.linalg.svd(product, compute_uv=False)
    return at_most(float(values[1] / values[0]), 0.0, 400 * 9 * UNIT, "second over first singular value")


def determinant(A):
    """Of a 2 × 2 matrix."""
    return A[0, 0] * A[1, 1] - A[0, 1] * A[1, 0]


X1 = Theorem(
    "X1",
    "A positive matrix A contracts Hilbert's metric by tanh(Δ(A)/4); a column-stochastic one contracts the 1-norm of "
    "differences of mass zero by τ₁(A): chains with bounded Δ approach rank 1.",
    "[sixt2020] sec. 2, corrected: irreducibility, eq. (4), is not sufficient; this is Birkhoff's theorem.",
    "both",
    contraction,
    (Case("a difference that has mass", with_mass),),
    (
        Case("an irreducible matrix whose powers keep rank 2", irreducible_power),
        Case("positive matrices without bounded ratios", slowly_positive),
    ),
)


# ── X2 ─────────────────────────────────────────────────────────────────────────────────────────────────


def share_matrix(layer, x, rule):
    """Z with r = Z R: column o is what one unit of relevance at output o becomes."""
    outputs = layer.w.shape[1]
    columns = []
    for o in range(outputs):
        R = array([[int(k == o) for k in range(outputs)]])
        columns.append(dense_relevance(x, layer.w, layer.b, R, rule)[0])
    return np.stack(columns, axis=1)


def signed_parts(layer, x):
    """(z⁺, z⁻) of a dense layer without its bias, summed term by term."""
    terms = x[0][:, None] * layer.w
    return pos(terms).sum(axis=0), neg(terms).sum(axis=0)


def drawn_layer(draw, bias=True):
    """A dense layer and one input."""
    i, o = draw.integer(1, 4), draw.integer(1, 4)
    return Dense(draw.fractions((i, o)), draw.fractions(o) if bias else None), draw.fractions((1, i))


def column_stochastic(Z, detail):
    """Σ_i Z_io = 1 and Z ≥ 0."""
    ones = Z[:1] * 0 + 1
    return worst(equal(Z.sum(axis=0), ones[0], detail), at_most(-Z.min(), Fraction(0), detail="Z ≥ 0"))


def z_plus_is_stochastic(draw):
    layer, x = drawn_layer(draw)
    draw.assume((signed_parts(layer, x)[0] != 0).all())
    return column_stochastic(share_matrix(layer, x, ZPlus(0, bias="ignore")), "dense layer")


def z_plus_with_bias(draw):
    """x = w = b = 1: the bias keeps half."""
    layer = Dense(array([[1]]), array([1]))
    return column_stochastic(share_matrix(layer, array([[1]]), ZPlus(0)), "bias='neuron'")


X2 = Theorem(
    "X2",
    "The matrix by which the z⁺ rule hands relevance back is non-negative and column-stochastic, if the bias is "
    "ignored and every output has a positive contribution.",
    "[sixt2020] eq. (3)",
    "exact",
    z_plus_is_stochastic,
    (Case("bias='neuron'", z_plus_with_bias),),
)


# ── X3, X4 ─────────────────────────────────────────────────────────────────────────────────────────────


def parallel(u, v):
    """(u·v)² = (u·u)(v·v): |cos| = 1 without a square root."""
    return equal((u @ v) * (u @ v), (u @ u) * (v @ v))


def all_minors_vanish(C):
    """True for rank ≤ 1."""
    rows, columns = (list(combinations(range(k), 2)) for k in C.shape)
    return all(determinant(C[np.ix_(r, c)]) == 0 for r in rows for c in columns)


def cosine_and_rank(draw):
    """Rank 1 gives |cos| = 1; and |cos| = 1 on a basis of the domain gives rank 1."""
    n, m = draw.integer(2, 3), draw.integer(2, 3)
    c, gamma = draw.fractions(n), draw.fractions(m)
    C = c[:, None] * gamma[None, :]
    v1, v2 = draw.fractions(m), draw.fractions(m)
    one_direction = parallel(C @ v1, C @ v2)
    other = draw.fractions((n, m), -1, 1, denominators=(1,))  # small, so that parallel columns are common
    images = list(other.T)
    draw.assume(all((u != 0).any() for u in images))
    aligned = all(parallel(u, v).holds for u, v in combinations(images, 2))
    return worst(one_direction, equal(Fraction(int(aligned)), Fraction(int(all_minors_vanish(other))), "converse"))


def rank_two(draw):
    C = array([[1, 0], [0, 1]])
    return parallel(C @ array([1, 0]), C @ array([1, 1]))


def too_few_vectors(draw):
    """C is 2 × 3; the paper's n = 2 vectors e₁, e₂ have images with cos = 1, and C has rank 2."""
    C = array([[1, 1, 0], [0, 0, 1]])
    aligned = parallel(C @ array([1, 0, 0]), C @ array([0, 1, 0])).holds
    return equal(Fraction(int(aligned)), Fraction(int(all_minors_vanish(C))), "|cos| = 1 for n pairs, rank 2")


X3 = Theorem(
    "X3",
    "If C has rank 1, any two images have |cos| = 1; and if the images of a basis of the domain R^m are not zero and "
    "pairwise |cos| = 1, C has rank 1.",
    "[sixt2020] sec. 3, corrected: the cosine needs its absolute value, and the converse m vectors, not n.",
    "exact",
    cosine_and_rank,
    (Case("a matrix of rank 2", rank_two),),
    (Case("n vectors for a matrix from R^m, m > n", too_few_vectors),),
)


def only_rescaled(draw, rank=1):
    """C Z, with Z the z⁺ matrix of a further layer: every column is a multiple of c."""
    layer, x = drawn_layer(draw)
    i = layer.w.shape[0]
    n = draw.integer(2, 4)
    c = draw.fractions(n, 1, 3)
    C = c[:, None] * draw.fractions(i)[None, :]
    if rank == 2:
        C = C + draw.fractions(n)[:, None] * draw.fractions(i)[None, :]
    product = C @ share_matrix(layer, x, ZPlus(0, bias="ignore"))
    return worst(*(parallel(column, c) for column in product.T))


X4 = Theorem(
    "X4",
    "Once the chain has rank 1, C = c γᵀ, later layers only rescale: C Z = c λᵀ.",
    "[sixt2020] sec. 2",
    "exact",
    only_rescaled,
    (Case("a chain of rank 2", lambda draw: only_rescaled(draw, rank=2)),),
)


# ── X5 ─────────────────────────────────────────────────────────────────────────────────────────────────


def z_rule_is_gradient_times_input(draw, bias="neuron"):
    network = mlp(draw, (ReLU(),)) if draw.boolean() else convolutional(draw, (ReLU(),), pools=("max",))
    x = input_for(draw, network)
    run = start(network, x, 0)
    draw.assume((network(x) != 0).all() and not has_removable_singularity(run, lrp_signals(run)))
    return equal(
        lrp(network, x, target=0, rule=Epsilon(0, bias=bias)).values,
        gradient_times_input(network, x, target=0).values,
    )


X5 = Theorem(
    "X5",
    "In a network of ReLU and max-pooling, LRP with the z rule is gradient × input where nothing is 0/0, with biases "
    "as neurons too.",
    "[sixt2020] sec. 2 after [ancona2017] Prop. 1",
    "exact",
    z_rule_is_gradient_times_input,
    (Case("bias='ignore'", lambda draw: z_rule_is_gradient_times_input(draw, "ignore")),),
)


# ── X6 ─────────────────────────────────────────────────────────────────────────────────────────────────


def alpha_beta_conserves(draw):
    layer, x = drawn_layer(draw)
    up, down = signed_parts(layer, x)
    draw.assume((up != 0).all() and (down != 0).all())
    beta = draw.integer(0, 4)
    Z = share_matrix(layer, x, AlphaBeta(beta + 1, beta, 0, bias="ignore"))
    terms = x[0][:, None] * layer.w
    apart = (beta + 1) * pos(terms) / up - beta * neg(terms) / down
    ones = Z[0] * 0 + 1
    return worst(
        equal(Z, apart, "two parts, each normalised by itself"), equal(Z.sum(axis=0), ones, "columns sum to 1")
    )


def one_sign_only(draw):
    """x = (1, 2), w = (1, 1): no negative contribution, so the unit passes α R."""
    layer = Dense(array([[1], [1]]))
    Z = share_matrix(layer, array([[1, 2]]), AlphaBeta(2, 1, 0))
    return equal(Z.sum(), Fraction(1))


def entries_of_one_matrix(draw):
    """α Z⁺ - β Z⁻ with Z⁺, Z⁻ the positive and negative entries of the z rule's matrix: read literally, it gains."""
    terms = array([3, -1])
    Z = terms / terms.sum()
    return equal((2 * pos(Z) - neg(Z)).sum(), Fraction(1))


X6 = Theorem(
    "X6",
    "The α-β rule is α Z⁺ - β Z⁻ with Z⁺ and Z⁻ normalised separately; with α - β = 1 it conserves relevance where "
    "both parts are there.",
    "[sixt2020] eq. (6), corrected: Z⁺ and Z⁻ are not the entries of the z rule's matrix, and both must be nonzero.",
    "exact",
    alpha_beta_conserves,
    (Case("a unit with contributions of one sign", one_sign_only),),
    (Case("the entries of one matrix Z", entries_of_one_matrix),),
)


# ── X7 ─────────────────────────────────────────────────────────────────────────────────────────────────


def guided_is_homogeneous(draw, low=0, high=4):
    """Guided Backprop from t·v against t times that from v."""
    network = mlp(draw, (ReLU(),))
    x = input_for(draw, network)
    v = draw.fractions((1, network(x).shape[1]))
    t = draw.integer(low, high)
    once = guided_backprop(network, x, target=lambda S: v).values
    return equal(guided_backprop(network, x, target=lambda S: t * v).values, t * once)


def guided_of_minus(draw):
    """One ReLU that is on, v = 1 and v = -1: the negative signal is cut."""
    network = Network.sequential([Dense(array([[1]])), ReLU(), Dense(array([[1]]))])
    x, v = array([[1]]), array([[1]])
    once = guided_backprop(network, x, target=lambda S: v).values
    return equal(guided_backprop(network, x, target=lambda S: -v).values, -once)


X7 = Theorem(
    "X7",
    "Guided Backprop is positively homogeneous in the signal it starts from, and not linear.",
    "[sixt2020] eq. (7)",
    "exact",
    guided_is_homogeneous,
    (Case("the negative of a signal", guided_of_minus),),
)


# ── X8 ─────────────────────────────────────────────────────────────────────────────────────────────────


def misalignment(draw, alpha, beta, m, steps):
    """Largest 1 - |cos| between 6 Gaussian vectors after `steps` matrices α W⁺ + β W⁻ of size m."""
    rng = np.random.default_rng([draw.integer(0, 2**16), m, steps])
    V = rng.standard_normal((m, 6))
    for _ in range(steps):
        W = rng.standard_normal((m, m))
        V = (alpha * pos(W) + beta * neg(W)) @ V
        V = V / np.sqrt((V * V).sum(axis=0))
    cosine = np.abs(V.T @ V)
    return float((1 - cosine).max())


def rate(draw, alpha=None, beta=None, m=None):
    """1 - |cos| ≤ (2ρ)^steps: half the rate that theory gives, and one factor 2 a step for chance."""
    m = m or draw.choice((64, 128))
    beta = draw.integer(0, 1) if beta is None else beta
    alpha = beta + 1 if alpha is None else alpha
    steps = 16
    rho = noise_to_signal(alpha, beta, m) if alpha != beta else 0.25
    draw.assume(2 * rho < 1)
    return at_most(misalignment(draw, alpha, beta, m, steps), (2 * rho) ** steps, m * UNIT * 16, f"ρ = {rho:.2f}")


def beyond_four(draw):
    """The paper's threshold: α = 5, β = 4 should not converge. In 1024 channels ρ = 0.35, and it does."""
    left = misalignment(draw, 5, 4, 1024, 16)
    return at_most(0.1, left, detail=f"1 - |cos| = {left:.1e} after 16 matrices, expected to stay above 0.1")


X8 = Theorem(
    "X8",
    "A chain of matrices α W⁺ + β W⁻ with Gaussian W of size m aligns every vector, at a rate ρ = σ/(|μ| √m) a step, "
    "where ρ < 1: there is no threshold in β.",
    "[sixt2020] fig. 4, corrected: β < 4 is what 16 matrices of a VGG's sizes show, not a limit.",
    "float64",
    rate,
    (Case("α = β: no mean, hence no common direction", lambda draw: rate(draw, 1, 1, 64)),),
    (Case("α = 5, β = 4 in 1024 channels", beyond_four),),
)


# ── X9 ─────────────────────────────────────────────────────────────────────────────────────────────────


def excitation_is_alpha1_beta0(draw, bias="ignore"):
    network = mlp(draw, (ReLU(),))
    x = pos(input_for(draw, network))
    S = network(x)[:, :1]
    probability = excitation_backprop(network, x, target=0).values
    return equal(S * probability, lrp(network, x, target=0, rule=AlphaBeta(1, 0, 0, bias=bias)).values)


def excitation_with_bias(draw):
    """x = w = b = 1: S = 2, the winning probability 1, and the bias keeps half of R = 2."""
    network = Network.sequential([Dense(array([[1]]), array([1]))])
    x = array([[1]])
    probability = excitation_backprop(network, x, target=0).values
    return equal(network(x) * probability, lrp(network, x, target=0, rule=AlphaBeta(1, 0, 0)).values)


X9 = Theorem(
    "X9",
    "Excitation Backprop times the output is LRP with α = 1, β = 0, if the bias is ignored and no input is < 0.",
    "[sixt2020] sec. 2, which omits the condition on the bias",
    "exact",
    excitation_is_alpha1_beta0,
    (Case("bias='neuron'", excitation_with_bias),),
)

THEOREMS = (X1, X2, X3, X4, X5, X6, X7, X8, X9)
