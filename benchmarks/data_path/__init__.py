"""The data path measured against what it replaces; run it with `make bench`.

Each section is a module with one `measure(scale)`: `ladder` (ns per packet in the kernel),
`traffic` (a live link; with `link` and `pipelines`), `captures` (packets/s offline), `ticks` (cost
of reading a tick), `accuracy` (against sketches of equal memory). `bars` holds the promises,
`report` writes the page. May import anything of netsonde; nothing imports it.
"""
