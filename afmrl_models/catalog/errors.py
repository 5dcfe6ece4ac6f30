"""The error a person can act on when a catalog cannot be used."""

from afmrl_models.errors import UserError


class CatalogError(UserError):
    """A catalog, or its mapping in the profile, that cannot be used; names the file, column or row."""
