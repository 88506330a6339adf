"""`netsonde top`: the live view of what a host, or everybody below it, counts right now.

`choice` is what is looked at, `told` what was answered, `page` draws both as lines of text, without
a terminal; `poll` asks, and `view` puts lines on the terminal and takes keys. May import `client`
and `model`. Test: `tests/unit/cli/top/`.
"""
