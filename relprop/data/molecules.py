"""Molecules as graphs, by RDKit, which is optional: scaffolds with two substituents each, and what RDKit says of them.

An atom is described by its element and whether it is aromatic; a pair of atoms by the kind of their bond, or else by
their distance along bonds. The label is one that RDKit computes: whether a molecule carries a carboxylic acid.
"""

import itertools
from dataclasses import dataclass

import numpy as np

__all__ = ["ATOMS", "LABEL", "PAIRS", "Molecule", "molecules"]

LABEL = "C(=O)[OX2H1]"  # SMARTS of a carboxylic acid
ELEMENTS = ("C", "N", "O", "S", "F", "Cl")
ATOMS = (*ELEMENTS, "aromatic")
PAIRS = ("single bond", "double bond", "triple bond", "aromatic bond", "2 apart", "3 apart", "farther")
FARTHEST = 3  # bonds, that a distance of its own is kept for
SCAFFOLDS = (
    "c1cc({a})ccc1{b}", "c1cc({a})cnc1{b}", "C1CC({a})CCC1{b}", "c1c({a})scc1{b}", "C({a})CCC{b}", "c1c({a})occ1{b}",
    "C1CN({a})CCN1{b}", "c1ccc2c({a})cccc2c1{b}",
)  # fmt: skip
SUBSTITUENTS = (
    "C", "CC", "O", "OC", "N", "N(C)C", "F", "Cl", "C#N", "C(=O)O", "C(=O)OC", "C(=O)N", "C(=O)C", "C=O", "CC(=O)O",
    "CO", "S(=O)(=O)N", "C(F)(F)F", "CCO", "OCC(=O)O", "C=CC(=O)O", "C(C)(C)C", "SC", "NC(=O)C",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Molecule:
    """A graph: atoms (n, 7), pairs (m, 7) of the atoms `ends` (m, 2), which pairs are bonds, and what RDKit says.

    label   whether it carries a carboxylic acid
    group   (n,) which atoms are of one
    """

    smiles: str
    atoms: np.ndarray
    pairs: np.ndarray
    ends: np.ndarray
    bonds: np.ndarray
    label: int
    group: np.ndarray


def molecules():
    """All molecules, in a fixed order.

    Raises
        ImportError  RDKit is not installed.
    """
    try:
        from rdkit import Chem
    except ImportError:
        raise ImportError("molecules are read by RDKit: pip install relprop[molecules]") from None
    pattern = Chem.MolFromSmarts(LABEL)
    seen: dict[str, Molecule] = {}
    for scaffold in SCAFFOLDS:
        for a, b in itertools.combinations_with_replacement(SUBSTITUENTS, 2):
            found = Chem.MolFromSmiles(scaffold.format(a=a, b=b))
            smiles = Chem.MolToSmiles(found)
            if smiles not in seen:
                seen[smiles] = _graph(Chem, Chem.MolFromSmiles(smiles), smiles, pattern)
    return list(seen.values())


def _graph(Chem, found, smiles, pattern):
    atoms = np.zeros((found.GetNumAtoms(), len(ATOMS)))
    for atom in found.GetAtoms():
        atoms[atom.GetIdx(), ELEMENTS.index(atom.GetSymbol())] = 1
        atoms[atom.GetIdx(), -1] = atom.GetIsAromatic()
    distance = Chem.GetDistanceMatrix(found)
    ends = np.array(list(itertools.combinations(range(len(atoms)), 2)))
    pairs, bonds = np.zeros((len(ends), len(PAIRS))), np.zeros(len(ends), dtype=bool)
    kinds = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
    for row, (u, v) in enumerate(ends):
        bond = found.GetBondBetweenAtoms(int(u), int(v))
        bonds[row] = bond is not None
        if bond is not None:
            pairs[row, kinds.index(bond.GetBondType().name)] = 1
        else:
            pairs[row, len(kinds) + min(int(distance[u, v]), FARTHEST + 1) - 2] = 1
    group = np.zeros(len(atoms), dtype=bool)
    for match in found.GetSubstructMatches(pattern):
        group[list(match)] = True
    return Molecule(smiles, atoms, pairs, ends, bonds, int(group.any()), group)
