"""Errors of the model. They extend Laurel's own tree (`elt.errors`).

LaurelError
├── NotEnoughHistory    too few past terms or students to learn from; the plain rule speaks instead
├── FeatureMismatch     the feature mart and the target's file do not name the same columns
├── TargetError         a target's file is wrong; we must act
├── ModelRefused        a stored model is not the one that was registered; it is not loaded
└── TableError          a table cannot be learnt from as its sender asked; they must act
"""

from __future__ import annotations

from elt.errors import LaurelError


class NotEnoughHistory(LaurelError):
    """There is too little past to learn from. Says what was found and what is needed."""

    title = "Too little history to train"


class FeatureMismatch(LaurelError):
    """Columns the target declares are absent from the mart, or have another type there."""

    title = "The features do not match the mart"


class TargetError(LaurelError):
    """A target's file is wrong. Names the file and the key."""

    title = "A target's file is wrong"


class ModelRefused(LaurelError):
    """The stored model differs from the registered one, or holds types that no model of ours has."""

    title = "The stored model was not loaded"


class TableError(LaurelError):
    """A table cannot be learnt from as asked. Says what is there and what to ask for."""

    title = "The table cannot be learnt from"
