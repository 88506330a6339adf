"""What command lines share: how arguments are read, and what was wrong with them in a sentence.

May import `model.text` alone, since the lab uses it as well. Test: `tests/unit/command/`, and
`tests/unit/cli/wrong.txt`, which holds what every command says.
"""
