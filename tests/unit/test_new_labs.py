"""New labs: as many endpoints as asked for, in the subnet that was named, asking whom they were told to."""

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvkit.core.errors import UsageError
from ipvkit.lab import MODES, Setting
from ipvkit.lab.fields import MOST_CHARACTERS
from ipvkit.lab.format import dump, load
from ipvkit.lab.new import MOST_CHECKS, MOST_ENDPOINTS, MOST_HOSTS, MOST_IN_ALL, new_lab, pairs

L2, ROUTED = Setting("l2"), Setting("l3", strategy="routed")
SETTINGS = (*map(Setting, MODES), ROUTED)


def names(count: int) -> list[str]:
    return [f"test{i + 1}" for i in range(count)]


def subnets(longest: int) -> st.SearchStrategy[IPv4Network]:
    """Return private subnets with that prefix length or a shorter one."""
    addresses = st.integers(10 << 24, (11 << 24) - 1)
    return st.builds(
        lambda address, length: IPv4Network((address, length), strict=False),
        addresses,
        st.integers(8, longest),
    )


@given(
    st.sampled_from(SETTINGS),
    st.integers(1, 40),
    subnets(26),
    st.sampled_from((None, "all", "ring", "gateway")),
    st.booleans(),
)
def test_a_new_lab_is_a_file_that_loads_with_all_endpoints_in_the_subnet(
    setting: Setting, count: int, subnet: IPv4Network, checks: str | None, ipv6: bool
) -> None:
    lab = new_lab("new", setting, count, ipv6=ipv6, subnet=subnet, checks=checks)
    assert load(dump(lab), "new.yaml") == lab
    assert [endpoint.name for endpoint in lab.endpoints] == names(count)
    assert all(endpoint.netns == endpoint.name for endpoint in lab.endpoints)
    assert all(endpoint.addresses[0].network == subnet for endpoint in lab.endpoints)
    assert all(len(endpoint.addresses) == 1 + ipv6 for endpoint in lab.endpoints)


@given(st.sampled_from(SETTINGS), subnets(32))
def test_a_subnet_is_filled_to_its_last_address_and_then_it_is_too_small(
    setting: Setting, subnet: IPv4Network
) -> None:
    # Beside the subnet's own and its broadcast address: the host, and up to its end the peers.
    room = min(subnet.num_addresses - (2 if setting == ROUTED else 7), 40)
    if room > 0:
        assert len(new_lab("new", setting, room, subnet=subnet).endpoints) == room
    if room < 40:
        with pytest.raises(UsageError, match="has room for") as problem:
            new_lab("new", setting, max(room, 0) + 1, subnet=subnet)
        assert "larger" in problem.value.hint


@pytest.mark.long
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("count", [1, 249, 250, 255, MOST_ENDPOINTS])
def test_without_a_subnet_there_is_one_with_room_for_all(setting: Setting, count: int) -> None:
    lab = new_lab("new", setting, count, checks="gateway")
    assert len({endpoint.addresses for endpoint in lab.endpoints}) == count


@pytest.mark.long
def test_the_largest_new_lab_is_a_file_that_loads() -> None:
    lab = new_lab("new", L2, MOST_ENDPOINTS, checks="sample:1")
    assert load(dump(lab), "new.yaml") == lab


@pytest.mark.slow
def test_a_file_may_have_as_much_as_the_largest_new_lab_of_several_hosts() -> None:
    lab = new_lab("new", L2, MOST_IN_ALL // MOST_HOSTS, hosts=MOST_HOSTS, ipv6=True, checks="sample:1")
    text = dump(lab)
    assert load(text, "new.yaml") == lab
    assert len(text) + MOST_CHECKS * len("    - {from: test50000, to: test50000}\n") <= MOST_CHARACTERS


def test_all_ask_all_others_and_a_ring_is_closed() -> None:
    assert pairs("all", ["a", "b", "c"]) == [
        *(("a", "b"), ("a", "c"), ("b", "a"), ("b", "c"), ("c", "a"), ("c", "b")),
    ]
    assert pairs("ring", ["a", "b", "c"]) == [("a", "b"), ("b", "c"), ("c", "a")]
    assert pairs("gateway", ["a", "b"]) == [("a", "gateway"), ("b", "gateway")]
    assert pairs("ring", ["a"]) == pairs("all", ["a"]) == []


@given(st.integers(2, 30), st.data())
def test_a_sample_is_of_different_pairs_and_always_the_same(count: int, data: st.DataObject) -> None:
    wanted = data.draw(st.integers(1, count * (count - 1)))
    found = pairs(f"sample:{wanted}", names(count))
    assert len(set(found)) == len(found) == wanted
    assert set(found) <= set(pairs("all", names(count)))
    assert pairs(f"sample:{wanted}", names(count)) == found


@pytest.mark.parametrize(
    ("checks", "says"),
    [
        ("most", "unknown checks 'most'"),
        ("sample", "unknown checks"),
        ("sample:0", "unknown checks"),
        ("sample:-1", "unknown checks"),
        ("sample:999999999", "not 999999999"),
        ("sample:40001", "40001 checks"),
        ("all", "89700 checks"),
    ],
)
def test_checks_that_cannot_be_are_refused(checks: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as problem:
        pairs(checks, names(300))
    assert problem.value.hint


def test_what_is_no_unicast_subnet_is_refused() -> None:
    for subnet in ("224.0.0.0/16", "127.0.0.0/8"):
        with pytest.raises(UsageError, match="not a unicast address"):
            new_lab("new", L2, 2, subnet=IPv4Network(subnet))
