"""Model cards of the property models: serve the train stage.

In: measured numbers and where the data came from. Out: `models.fitting.cards.ModelCard` of the
band-gap oracle and of the formation-energy network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.fitting.cards import DataSource, ModelCard

COMMAND = "agd train --data DIR --only {name}"


def oracle_card(
    metrics: Mapping[str, float], sources: Sequence[DataSource], rows: int, data_sha256: str
) -> ModelCard:
    """Describe the band-gap oracle.

    Parameters
    ----------
    metrics : mapping of str to float
        As `models.properties.boosting.BoostingModel.metrics`.
    sources : sequence of DataSource
    rows : int
        Compositions it learnt from.
    data_sha256 : str
    """
    return ModelCard(
        title="Band-gap oracle",
        purpose=(
            "Predicts the PBE band gap (eV) of a reduced composition, with an uncertainty. The "
            "explore stage asks it for labels where no DFT is run."
        ),
        sources=sources,
        data_note=(
            f"{rows:,} distinct reduced compositions. Where a composition has several entries "
            "(polymorphs, repeats) its gap is their median: the table names no energies by which "
            "the ground state could be told."
        ),
        data_sha256=data_sha256,
        method=(
            "Two LightGBM models on 256 descriptors: the 132 Magpie statistics, stoichiometry "
            "norms, the number of atoms, 14 charge-balance descriptors of our own, and the element "
            "fractions. The first gives the mean. The second learns the size of the errors that "
            "the first makes in cross-validation, and is calibrated over ranges of it so that "
            "68 % of the errors lie within one uncertainty. AGD's oracle is Roost (sec. 2.1)."
        ),
        tables={
            "Cross-validation by composition (the shipped weights are fitted on all rows):": (
                ("measure", "value"),
                [
                    ("compositions", f"{metrics['n']:,.0f}"),
                    ("R²", f"{metrics['r2']:.3f}"),
                    ("mean absolute error", f"{metrics['mae']:.3f} eV"),
                    ("root mean square error", f"{metrics['rmse']:.3f} eV"),
                    ("errors within one uncertainty", f"{100 * metrics['within_1_sigma']:.1f} %"),
                    ("errors within two uncertainties", f"{100 * metrics['within_2_sigma']:.1f} %"),
                ],
            )
        },
        limits=(
            "PBE gaps: commonly 30 to 50 % below experiment.",
            "It sees no structure: polymorphs of one composition get one number.",
            "Materials Project compounds come in chemical families, so a random split flatters: "
            "`docs/results/oracle.md` has the errors for chemical systems it has not seen.",
            "The uncertainty is learnt from known compounds; for chemistry unlike any of them it "
            "is itself a guess.",
            "Elements after berkelium have no descriptors; the answer is NaN.",
        ),
        command=COMMAND.format(name="oracle"),
    )


def gatgnn_card(
    metrics: Mapping[str, float],
    sources: Sequence[DataSource],
    rows: int,
    data_sha256: str,
    settings: Mapping[str, object],
) -> ModelCard:
    """Describe the formation-energy network.

    Parameters
    ----------
    metrics : mapping of str to float
        As `models.formation_energy.FormationEnergyModel.metrics`.
    sources : sequence of DataSource
    rows : int
        Structures it learnt from.
    data_sha256 : str
    settings : mapping
        Of the training.
    """
    m = metrics
    return ModelCard(
        title="GATGNN formation energy",
        purpose=(
            "Predicts the formation energy (eV/atom) of a crystal structure. The filter stage "
            "keeps the candidates for which it is negative, as in AGD (sec. 2.5), and ranks them."
        ),
        sources=sources,
        data_note=(
            f"{rows:,} structures with at most {settings['max_sites']} atoms a cell. The split is "
            f"by reduced formula; {m['n']:,.0f} structures of formulas it never saw judge it."
        ),
        data_sha256=data_sha256,
        method=(
            "GATGNN (Louis et al. 2020) in plain PyTorch: three graph-attention layers of 64 "
            "neurons and four heads, 12 neighbours within 8 Å, composition attention, 122,874 "
            f"parameters; {settings['epochs']} epochs with a one-cycle learning rate, where the "
            "reference trains for 200. The elements carry 92 features of our own instead of "
            "CGCNN's file."
        ),
        tables={
            "Formulas held out, eV/atom:": (
                ("model", "mean absolute error"),
                [
                    ("mean of the training set", f"{m['mae_mean']:.3f}"),
                    ("boosting on the composition alone", f"{m['mae_composition']:.3f}"),
                    ("**this network**", f"**{m['mae']:.3f}**"),
                ],
            ),
            "The sign, which is what the filter uses:": (
                ("measure", "value"),
                [
                    ("sign told right", f"{100 * m['sign_accuracy']:.1f} %"),
                    (
                        "base rate: always answering 'negative'",
                        f"{100 * m['base_rate']:.1f} %",
                    ),
                    ("positive energies told as such", f"{100 * m['positives_caught']:.1f} %"),
                ],
            ),
        },
        limits=(
            "A negative formation energy says that a compound does not fall apart into its "
            "elements. Nearly every known compound has one: it says little about other compounds.",
            "It learnt from relaxed structures; a substituted template is not relaxed. On such "
            "structures of held-out formulas it is less exact and a little too high "
            "(`docs/results/gatgnn.md`).",
            f"More than {settings['max_sites']} atoms a cell is beyond what it was trained on.",
        ),
        command=COMMAND.format(name="gatgnn"),
    )
