"""What can go wrong in the lab, as one line that says what to do."""


class LabError(Exception):
    """A failure that a person can act on; the text is one line (command output may follow it)."""


class NotObservedError(LabError):
    """A state that was waited for did not come before its deadline."""
