"""The root of all errors that a user can mend."""


class UserError(ValueError):
    """Something a user gave cannot be used; the message names it and says what would."""
