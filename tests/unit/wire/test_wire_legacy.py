"""The prototype's messages, field by field."""

import pytest

from netsonde.model.errors import BadField
from netsonde.model.key import KeyType
from netsonde.model.task import Counter, Filter, Increment, Interface
from netsonde.model.window import REAL_TIME, TOTAL
from netsonde.wire import legacy


def test_a_filter_is_read_from_text_and_from_json() -> None:
    fields = {"interface": "output", "proto": "UDP", "src": "10.0.0.0/24", "dst": "2001:db8::1"}
    wanted = Filter(interface=Interface.OUTPUT, proto=17, src="10.0.0.0/24", dst="2001:db8::1/128")
    for name in ("config sketch", "config counter", "query counter"):
        assert legacy.parse({"type": name, **fields}).filter == wanted  # type: ignore[union-attr]
    by_number = legacy.parse({"type": "config sketch", "proto": 17})
    assert by_number == legacy.ConfigSketch(filter=Filter(proto=17), scope=None)


@pytest.mark.parametrize(
    ("written", "side", "device"),
    [
        ("both", Interface.BOTH, None),
        ("Input", Interface.INPUT, None),
        ("eth0", Interface.BOTH, "eth0"),
        ("br-0.100", Interface.BOTH, "br-0.100"),
    ],
)
def test_a_side_of_the_host_or_a_device(written: str, side: Interface, device: str | None) -> None:
    request = legacy.parse({"type": "config counter", "interface": written, "proto": "tcp"})
    assert isinstance(request, legacy.ConfigCounter)
    assert request.filter == Filter(interface=side, device=device, proto=6)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("pkt", Increment.PACKETS),
        ("packets", Increment.PACKETS),
        ("byte", Increment.BYTES),
        ("Bytes", Increment.BYTES),
    ],
)
def test_increments(written: str, meant: Increment) -> None:
    request = legacy.parse(
        {
            "type": "config sketch counter",
            "sketch_id": "3",
            "counter_key_type": "src_dport",
            "increment": written,
            "hitter_threshold": "0.25",
            "scope": "host",
        }
    )
    counter = Counter(key_type="src_dport", increment=meant, hitter_threshold=0.25)
    assert request == legacy.ConfigSketchCounter(sketch_id=3, counter=counter, scope="host")


def test_a_counter_s_defaults() -> None:
    request = legacy.parse(
        {"type": "config sketch counter", "sketch_id": 0, "counter_key_type": "src"}
    )
    assert isinstance(request, legacy.ConfigSketchCounter)
    assert request.counter == Counter(
        key_type="src", increment=Increment.PACKETS, hitter_threshold=0.1
    )


@pytest.mark.parametrize(("key", "window"), [("key_num", TOTAL), ("real_time_key_num", REAL_TIME)])
def test_the_number_of_keys_is_asked_in_the_place_of_a_key(key: str, window: str) -> None:
    request = legacy.parse(
        {"type": "query sketch", "sketch_id": 0, "counter_key_type": "src", "counter_key": key}
    )
    assert isinstance(request, legacy.QuerySketch)
    assert (request.key, request.window) == (None, window)


def test_a_key_may_be_a_json_number() -> None:
    request = legacy.parse(
        {"type": "query sketch", "sketch_id": 0, "counter_key_type": "dport", "counter_key": 443}
    )
    assert isinstance(request, legacy.QuerySketch)
    assert request.key == KeyType.parse("dport").parse_key("443")


@pytest.mark.parametrize("kind", ["bw", "jitter", "delay", "loss"])
def test_paths(kind: str) -> None:
    fields = {"src": "10.0.0.2", "dst": "10.0.0.3", "mode": "whatever"}
    request = legacy.parse({"type": f"query {kind}", **fields})
    assert isinstance(request, legacy.ProbePath)
    assert (request.kind, request.src, request.dst) == (kind, "10.0.0.2", "10.0.0.3")


@pytest.mark.parametrize(
    ("kind", "ignored"),
    [
        ("config sketch", "counter_key_type"),
        ("config sketch", "target"),
        ("config sketch", "queue number"),
        ("config counter", "target"),
        ("query counter", "target"),
    ],
)
def test_fields_that_mean_nothing_are_let_pass_where_the_prototype_sent_them(
    kind: str, ignored: str
) -> None:
    assert legacy.parse({"type": kind, ignored: "x"}) == legacy.parse({"type": kind})
    with pytest.raises(BadField, match=ignored):
        legacy.parse({"type": "query leaf agents", ignored: "x"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sketch_id", None),
        ("sketch_id", True),
        ("sketch_id", "-1"),
        ("sketch_id", 1.5),
        ("sketch_id", "9" * 5000),
        ("sketch_id", [0]),
        ("counter_key_type", 7.5),
        ("counter_key_type", "src_src"),
        ("counter_key_type", ""),
        ("hitter_threshold", "nan"),
        ("hitter_threshold", -0.1),
        ("hitter_threshold", True),
        ("increment", "bits"),
        ("scope", "network"),
    ],
)
def test_a_bad_value_is_refused_in_its_name(name: str, value: object) -> None:
    good = {"type": "config sketch counter", "sketch_id": 0, "counter_key_type": "src"}
    with pytest.raises(BadField) as refused:
        legacy.parse(good | {name: value})
    assert refused.value.field == name
    assert len(str(refused.value)) < 400


def len_of(value: object) -> str:
    return f"{type(value).__name__} of {len(str(value))}"


@pytest.mark.parametrize("value", ["x" * 201, "1" * 70_000, 1 << 64, -(10**4000)], ids=len_of)
@pytest.mark.parametrize(
    "name", ["src", "dst", "proto", "interface", "scope", "target", "type", "z"]
)
def test_a_long_text_or_number_is_refused_before_it_is_read(name: str, value: object) -> None:
    fields = {"type": "config sketch", "target": "x" * 200, name: value}
    with pytest.raises(BadField) as refused:
        legacy.parse(fields)
    assert refused.value.field == name
    assert len(str(refused.value)) < 1000
    assert name == "type" or refused.value.allowed == "at most 200 characters"
