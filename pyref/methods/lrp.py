"""Layer-wise relevance propagation."""

from typing import Any

from pyref.attribution import Attribution, Derived
from pyref.check import check_choice
from pyref.methods import lean
from pyref.methods.method import start
from pyref.numerics import sum_samples
from pyref.rewrite import merge_batchnorm as merge
from pyref.rules import Epsilon, Norm, Pass
from pyref.rules.composite import assign_rules
from pyref.trace import Account, Ledger, LedgerRow

__all__ = ["lrp", "propagate_relevance"]

_PLAIN = (Epsilon, Norm, Pass)  # they see contributions as they are; with ε = 0 and biases as neurons, merged or not


def lrp(
    network,
    x,
    target=None,
    *,
    rule="epsilon",
    gate="all",
    form="rule",
    merge_batchnorm="auto",
    rule_options=None,
    **options,
):
    """Relevance of the inputs: the explained output is handed back, layer by layer, and nothing is lost unseen.

        R at the output = S_c e_c;   every node hands its R to its inputs by its rule;   r = R at the inputs

    Source
        [bach2015]; composites [montavon2019]; in the gradient form [ancona2017] Prop. 1.
    Parameters
        rule          a rule, a composite, a name with `rule_options`, {node: rule}, or a callable: `pyref.assign_rules`
        gate          how a product of a gate and a signal shares: "all" to the signal, "half", "prop", "abs",
                      or "gradient" (each factor receives all of it, and relevance doubles)
        form          "rule", or "gradient": x ⊙ ∂^g S with g = f(z)/σ_ε(z) at activations and plain weights
                      elsewhere, as published for the epsilon rule; ε then acts at activations only, each with that
                      of the node whose sum it reads
        merge_batchnorm  True, False, or "auto": before rules that split by sign, which see merged weights
        options       those of every method: `pyref.start`
    Laws
        Σ r + (all that the ledger's nodes keep) = S_c;   `delta` is the residual of that.
    Raises
        ValueError  a node that has no relevance (softmax); an unknown option; form="gradient" with another rule than
                    Epsilon, or with its options, or through products.
    """
    check_choice("form", form, ("rule", "gradient"))
    check_choice("gate", gate, ("all", "half", "prop", "abs", "gradient"))
    if merge_batchnorm not in (True, False, "auto"):
        raise ValueError(f"merge_batchnorm is {merge_batchnorm!r}, expected True, False or 'auto'")
    rules = assign_rules(rule, network, **(rule_options or {}))
    merging = not all(isinstance(r, _PLAIN) for r in rules.values()) if merge_batchnorm == "auto" else merge_batchnorm
    merged = merge(network) if merging else network
    if merged is not network:
        network = merged
        rules = assign_rules(rule, network, **(rule_options or {}))
    hold = lean.gradients if form == "gradient" else lean.relevance(rules)
    run = start(network, x, target, hold=hold, **options)
    settings = {"rule": rule, "rules": rules, "gate": gate, "form": form, "merge_batchnorm": merging}
    if form == "gradient":
        return _gradient_form(run, rules, gate, settings)
    R = run.relevance
    signals, ledger = propagate_relevance(run, R, rules, gate)
    return Attribution(
        "lrp",
        run.collect(lambda ref, value: signals[ref]),
        run.output,
        settings=settings,
        **run.kept(
            expected=(lambda: sum_samples(R) - ledger.total("kept")) if run.is_cut else None,
            signals=signals,
            biases={row.node: row.bias_shares for row in ledger if row.bias_shares is not None},
            ledger=ledger,
        ),
    )


def propagate_relevance(run, seed, rules, gate="all"):
    """Relevance at every reference, and the ledger, from any seed at the output (linear in it)."""
    rows, otherwise = {}, Norm()

    def answer(node, x, y, R):
        account: Any = Account() if run.inner else None
        parts = node.layer.relevance(run.backend, x, y, R, rules.get(node.name, otherwise), gate=gate, account=account)
        if run.inner:
            rows[node.name] = LedgerRow(node.name, R, parts, account)
        return parts

    signals = run.walk(seed, answer)
    return signals, Ledger(rows)


def _gradient_form(run, rules, gate, settings):
    """r = x ⊙ G, G from the modified chain rule with g = f(z) / σ_ε(z)."""
    for node in run.network.nodes.values():
        rule = rules[node.name]
        if node.layer.affine and not (isinstance(rule, Epsilon | Norm) and rule == type(rule)(rule.epsilon)):
            raise ValueError(
                f"form='gradient' exists for the epsilon rule with its default options, but node {node.name!r} "
                f"has {rule}"
            )

    def answer(node, x, y, G):
        layer = node.layer
        if layer.kind == "activation":
            sums = run.network.producers([node.name], lambda n: n.layer.affine)
            epsilon = getattr(rules[sums[0] if len(sums) == 1 else node.name], "epsilon", 0)
            return (G * run.backend.activation_ratio(x[0], layer, epsilon),)
        if layer.kind in ("product", "recurrent"):
            raise ValueError(f"form='gradient' has no product rule for node {node.name!r}; use form='rule'")
        return layer.gradient(run.backend, x, y, G)

    G = run.walk(run.v, answer, linear=True)
    signals = Derived(G, lambda ref, g: run.record[ref] * g)
    values = run.collect(lambda ref, value: signals[ref])
    return Attribution("lrp", values, run.output, settings=settings, **run.kept(signals=signals))
