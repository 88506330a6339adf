"""Questions and detectors under load, and what tasks cost; run it with `make bench`.

Each section is a module with one `measure(scale)`: `latency` (questions to a counting monitor and
agent; with `asker`), `folding` (CPU of tasks), `idle`, `detection` (from packet to event), `memory`
(a simulated hour). `bars` holds the promises, `report` writes the page. May import anything of
netsonde and the link and pipelines of `data_path`; nothing imports it.
"""
