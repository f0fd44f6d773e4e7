"""Which models there are: serves the stages that load or fit one by its kind.

In: the ``kind`` that a folder of weights or a setting names. Out: its class, ours or that of
another installed package, imported only now. ``docs/extend/generator.md`` shows how to add one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from structure.plugins import found, named

if TYPE_CHECKING:
    from models.compositions.generator import LoadsGenerator
    from models.properties.prediction import LoadsPropertyModel

GENERATORS = "agd.generators"
PROPERTY_MODELS = "agd.property_models"

OUR_GENERATORS = {
    "matgan": "models.compositions.matgan:MatGAN",
    "sequence": "models.compositions.sequence:SequenceGenerator",
}
OUR_PROPERTY_MODELS = {
    "boosting": "models.properties.boosting:BoostingModel",
    "forest": "models.properties.forest:ForestModel",
}

OTHER_KINDS = ("autoencoder", "gatgnn")
"""Kinds with one class each, which the stages that need them name."""


def generator_class(kind: str) -> type[LoadsGenerator]:
    """Return the class of generators of a kind.

    Raises
    ------
    ConfigError
        If no installed package brings that kind.
    PluginError
        If the package that brings it is broken.
    """
    found: Any = named(GENERATORS, OUR_GENERATORS, kind).load("load", "sample")
    return found


def property_model_class(kind: str) -> type[LoadsPropertyModel]:
    """Return the class of property models of a kind; raises as `generator_class`."""
    found: Any = named(PROPERTY_MODELS, OUR_PROPERTY_MODELS, kind).load("load", "predict")
    return found


def check_kind(kind: str) -> None:
    """Check, before anything is computed, that weights of a kind can be loaded.

    Raises
    ------
    ConfigError
        If no installed package brings that kind.
    PluginError
        If the package that brings it is broken.
    """
    if kind in OTHER_KINDS:
        return
    if kind in found(GENERATORS, OUR_GENERATORS):
        generator_class(kind)
    else:
        property_model_class(kind)
