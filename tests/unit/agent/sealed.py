"""An agent that gets no more code once it serves: what it would load or read is refused and named.

As where the user that it becomes may not read the directory that its Python lies in. Run as a
program, with an agent's options. `/v1/detectors` fails, so that a failure is among what it does.
"""

import os
import sys
import sysconfig
from pathlib import Path

from netsonde.agent import main
from netsonde.agent.detectors import Detectors

REFUSED = "needed after the start: "
CODE = tuple(
    {sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"), str(Path(main.__file__).parents[1])}
)


class Seal:
    """Refuses, once `closed`, every import and every read below where code lies."""

    def __init__(self) -> None:
        self.closed = False

    def __call__(self, event: str, given: tuple[object, ...]) -> None:
        """Hear what the interpreter is about to do (PEP 578)."""
        if not self.closed or event not in ("import", "open"):
            return
        what = given[0]
        if event == "import" or (isinstance(what, str) and what.startswith(CODE)):
            os.write(2, f"{REFUSED}{event} {what}\n".encode())
            raise ImportError(what) if event == "import" else PermissionError(what)


def run() -> None:
    """Run the agent, sealed once it says that all is loaded."""
    seal = Seal()
    sys.addaudithook(seal)
    serve = main.serve

    async def served(*given: object) -> None:
        *first, loaded = given

        def sealed() -> object:
            given_up = loaded()  # type: ignore[operator]
            seal.closed = True
            return given_up

        await serve(*first, sealed)  # type: ignore[arg-type, call-arg]

    def fail(_: Detectors) -> None:
        raise ZeroDivisionError

    main.serve = served  # type: ignore[assignment]
    Detectors.all = fail  # type: ignore[assignment,method-assign]
    main.main()


if __name__ == "__main__":
    run()
