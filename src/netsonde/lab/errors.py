"""The one error of the lab: a sentence for the person at the prompt, never a traceback."""


class LabError(Exception):
    """What went wrong and what to do about it; the command prints it and ends with status 2."""


class OptionError(LabError):
    """An option whose value cannot be accepted; nothing was changed."""

    def __init__(self, option: str, value: object, allowed: str) -> None:
        super().__init__(f"{option} is '{value!s:.120}'; allowed: {allowed}")
