"""Exit statuses of the commands that ask, as `--help` and docs/reference/command.md have them."""

OK = 0
REFUSED = 1
WRONG = 2
UNREACHABLE = 3
PARTIAL = 4
INTERRUPTED = 130

MEANING = {
    OK: "done",
    REFUSED: "refused by the service: no such task, changed meanwhile, or a part of it is away",
    WRONG: "wrong arguments",
    UNREACHABLE: "no netsonde answers at the URL",
    PARTIAL: "answered, but hosts or a part of the window are missing",
}

HELP = "Exit status: " + "; ".join(f"{code} {what}" for code, what in MEANING.items()) + "."
