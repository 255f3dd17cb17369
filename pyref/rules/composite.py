"""Composites: which rule goes to which node."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyref.check import nearest
from pyref.rules import RULES
from pyref.rules.alpha_beta import AlphaBeta
from pyref.rules.epsilon import Epsilon
from pyref.rules.flat import Flat
from pyref.rules.gamma import Gamma
from pyref.rules.norm import Norm
from pyref.rules.rule import Rule
from pyref.rules.w_square import WSquare
from pyref.rules.z_box import ZBox
from pyref.rules.z_plus import ZPlus

__all__ = ["Composite", "COMPOSITES", "kind", "first", "assign_rules"]

Predicate = Callable[[Any, int, bool], bool]


def kind(*kinds: str) -> Predicate:
    """Nodes whose layer is of one of the kinds."""
    return lambda layer, index, is_first: layer.kind in kinds


def first(*kinds: str) -> Predicate:
    """Weighted nodes (of the kinds, if any are given) that an input reaches without passing another weighted one."""
    return lambda layer, index, is_first: is_first and (not kinds or layer.kind in kinds)


@dataclass(frozen=True)
class Composite:
    """An ordered list of (predicate(layer, index, is_first), rule); the first match wins.

    Nodes that nothing matches (sums, average pooling, batch normalisation) use `otherwise`.
    """

    name: str
    rows: tuple[tuple[Predicate, Rule], ...]
    otherwise: Rule = field(default_factory=Norm)

    def rule(self, layer, index, is_first):
        """The rule of one node."""
        return next((r for accepts, r in self.rows if accepts(layer, index, is_first)), self.otherwise)


def _mixed(name, conv, dense, input_row=()):
    """One rule for convolutions, one for dense layers; sums and averages share with the ε of the convolutions."""
    rows = (*input_row, (kind("conv"), conv), (kind("dense", "recurrent"), dense))
    return Composite(name, rows, otherwise=Norm(conv.epsilon))


def epsilon_plus(epsilon=1e-6):
    """z⁺ on convolutions, ε on dense layers. [montavon2019]"""
    return _mixed("epsilon_plus", ZPlus(epsilon), Epsilon(epsilon))


def epsilon_plus_flat(epsilon=1e-6):
    """epsilon_plus with the flat rule on the first layer. [lapuschkin2019]"""
    return _mixed("epsilon_plus_flat", ZPlus(epsilon), Epsilon(epsilon), ((first(), Flat(epsilon)),))


def epsilon_alpha2_beta1(epsilon=1e-6):
    """α = 2, β = 1 on convolutions, ε on dense layers. [montavon2019]"""
    return _mixed("epsilon_alpha2_beta1", AlphaBeta(2, 1, epsilon), Epsilon(epsilon))


def epsilon_alpha2_beta1_flat(epsilon=1e-6):
    """epsilon_alpha2_beta1 with the flat rule on the first layer. [lapuschkin2019]"""
    return _mixed("epsilon_alpha2_beta1_flat", AlphaBeta(2, 1, epsilon), Epsilon(epsilon), ((first(), Flat(epsilon)),))


def epsilon_gamma_box(low=0, high=1, gamma=0.25, epsilon=1e-6):
    """z^B on a first convolution, γ on the others, ε on dense layers; low and high bound the input. [montavon2019]"""
    box = ((first("conv"), ZBox(low, high, epsilon)),)
    return _mixed("epsilon_gamma_box", Gamma(gamma, epsilon), Epsilon(epsilon), box)


def cmp_alpha1(epsilon=1e-10):
    """z on dense layers, α = 1, β = 0 on convolutions. [sixt2020] sec. 4, with the ε of its code."""
    return _mixed("cmp_alpha1", AlphaBeta(1, 0, epsilon), Epsilon(epsilon))


def cmp_alpha2(epsilon=1e-10):
    """z on dense layers, α = 2, β = 1 on convolutions. [sixt2020] sec. 4, with the ε of its code."""
    return _mixed("cmp_alpha2", AlphaBeta(2, 1, epsilon), Epsilon(epsilon))


def preset_a(epsilon=0.1, conv_epsilon=1e-7):
    """ε = 0.1 on dense layers, α = 1, β = 0 on convolutions: sequential preset A of iNNvestigate."""
    return _mixed("preset_a", AlphaBeta(1, 0, conv_epsilon), Epsilon(epsilon))


def preset_b(epsilon=0.1, conv_epsilon=1e-7):
    """ε = 0.1 on dense layers, α = 2, β = 1 on convolutions: sequential preset B of iNNvestigate."""
    return _mixed("preset_b", AlphaBeta(2, 1, conv_epsilon), Epsilon(epsilon))


def deep_taylor(low=None, high=None, epsilon=0):
    """z^B where the input is bounded, else w², on the first layer; z⁺ without bias above. [montavon2017]"""
    input_rule = WSquare(epsilon) if low is None or high is None else ZBox(low, high, epsilon)
    z_plus = ZPlus(epsilon, bias="ignore")
    return Composite(
        "deep_taylor", ((first(), input_rule), (kind("conv", "dense", "recurrent"), z_plus)), Norm(epsilon)
    )


COMPOSITES = {
    make.__name__: make
    for make in (
        epsilon_plus,
        epsilon_plus_flat,
        epsilon_alpha2_beta1,
        epsilon_alpha2_beta1_flat,
        epsilon_gamma_box,
        cmp_alpha1,
        cmp_alpha2,
        preset_a,
        preset_b,
        deep_taylor,
    )
}


def assign_rules(rule, network, **options):
    """{node name: rule} for every node of a network.

    rule     a Rule for all nodes; a Composite; the name of either, made with `options`; a mapping from
             node names to rules (Epsilon elsewhere); or a callable (layer, index, is_first) → Rule
    Raises
        ValueError  an unknown name, of a rule or of a node.
        TypeError   options that the rule does not have, or something that is no rule.
    """
    if isinstance(rule, str):
        makers = {**RULES, **COMPOSITES}
        if rule not in makers:
            raise ValueError(f"there is no rule or composite {rule!r}; {nearest(rule, makers)}")
        if all(isinstance(value, int | float | str) for value in options.values()):
            key = (rule, *((name, type(value), value) for name, value in options.items()))
            made = network.remember("rules", key, lambda: assign_rules(makers[rule](**options), network))
            return dict(made)
        rule = makers[rule](**options)
    elif options:
        raise TypeError(f"{', '.join(options)} can be given only with a rule's name")
    if isinstance(rule, Mapping):
        for name in rule:
            if name not in network.nodes:
                raise ValueError(f"there is no node {name!r} to give a rule; {nearest(name, network.nodes)}")
        return {name: rule.get(name, Epsilon()) for name in network.nodes}
    if isinstance(rule, Rule):
        return dict.fromkeys(network.nodes, rule)
    choose = rule.rule if isinstance(rule, Composite) else rule
    if not callable(choose):
        raise TypeError(f"rule is a {type(rule).__name__}, expected a rule, a composite, a mapping or a callable")
    firsts = network.first_affine()
    affine = [n for n in network.nodes.values() if n.layer.affine or n.layer.kind == "recurrent"]
    chosen, otherwise = {}, Norm()
    for i, n in enumerate(affine):
        chosen[n.name] = choose(n.layer, i, n.name in firsts) or otherwise
    return {name: chosen.get(name, otherwise) for name in network.nodes}
