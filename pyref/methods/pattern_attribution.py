"""PatternAttribution: how much each part of the signal contributes to the output."""

from pyref.methods.pattern_net import walk_patterns

__all__ = ["pattern_attribution"]


def pattern_attribution(network, x, target=None, *, patterns, mask=True, **options):
    """The backward walk of the gradient with every unit's weights multiplied by its pattern.

        R = S_c e_c;      through a dense or convolution layer R ← T_{w ⊙ a}(R);      through a ReLU R ← 1[z > 0] ⊙ R

    It is the root point x - a y of a deep Taylor decomposition.

    Source
        [kindermans2018] sec. 4. [sixt2020] eq. (8) leaves out the ReLU's mask, which the method applies.
    Parameters
        patterns  of `pyref.fit_patterns`
        mask      False: without the ReLU's mask
        options   those of every method: `pyref.start`.
    Laws
        Linear in the seed. w·a = 1 for every unit, so that one dense layer hands on all of R: Σ r = S_c there, and
        in deep networks with mask=False and patterns other than 0.
    Returns
        Attribution; it promises no sum, because masked units drop what reaches them.
    Raises
        ValueError  a node for which there is no pattern, or through which the walk is not defined.
    """
    return walk_patterns("pattern_attribution", lambda w, a: w * a, network, x, target, patterns, mask, False, options)
