"""The formats of other tools: what is written is read again, what cannot be said or is wrong is refused."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import for_each
from documents import REFERENCE
from formats import deployments, said, sources
from hostile import hostile_texts
from ipvkit.cli import main
from ipvkit.core.errors import UsageError
from ipvkit.formats import FORMATS
from ipvkit.formats.base import File, Format, Written
from ipvkit.formats.deployment import DEFAULTS, Deployment, lab_of, of_phase
from ipvkit.lab import Setting, gallery
from ipvkit.lab.fields import Source
from ipvkit.lab.format import dump, load
from ipvkit.lab.parts import FLAGS, MODES, Route
from ipvkit.report.formats import limits
from ipvkit.verbs.formats import in_folder, recognised
from ipvkit.verbs.lab_file import load_lab
from strategies import mutated_text

each_format = pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)


@pytest.mark.long
@each_format
@given(data=st.data())
def test_what_is_written_is_read_again(form: Format, data: st.DataObject) -> None:
    deployment = data.draw(deployments(form))
    there = sources(deployment, form)
    assert said(form.read(there), form) == said(deployment, form)
    assert all(recognised(source) is form for source in there)


def test_a_drop_in_is_of_the_format_of_its_unit(tmp_path: Path) -> None:
    unit, drop_in, netdev = "10-eth0.network", "10-eth0.network.d/iv0.conf", "iv0.netdev"
    for path, text in {
        unit: "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.10/24\n",
        drop_in: "[Network]\nIPVLAN=iv0\n",
        netdev: "[NetDev]\nName=iv0\nKind=ipvlan\n[IPVLAN]\nMode=L3S\n",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    lab = load_lab(str(tmp_path))
    assert (lab.name, lab.phases[0].setting.mode) == ("networkd", "l3s")


@pytest.mark.long
@each_format
@given(data=st.data())
def test_what_is_read_is_a_lab(form: Format, data: st.DataObject) -> None:
    deployment = form.read(sources(data.draw(deployments(form)), form))
    lab, _ = lab_of(deployment)
    assert load(dump(lab), "lab.yaml") == lab
    (phase,) = lab.phases
    again = of_phase(lab, phase)
    assert {(e.netns, e.addresses, e.mtu) for e in again.endpoints} == {
        (e.netns, e.addresses, e.mtu) for e in deployment.endpoints
    }
    if form.limits.place == "host":
        # Routes of endpoints are not in its files; a lab adds an address of the shim in l2, and gateways.
        for there, known in zip(again.of_host, deployment.of_host, strict=True):
            assert there.parent.host == known.parent.host
            assert set(there.setting.shim_addresses) >= set(known.setting.shim_addresses)
            own = replace(there.setting, shim_addresses=known.setting.shim_addresses)
            assert bool(there.shim) == bool(known.shim)
            assert not known.shim or own == known.setting
            assert {to.via for to in there.routes} >= {to.via for to in known.routes}
        return
    assert {(e.netns, frozenset(e.routes or ())) for e in again.endpoints} == {
        (e.netns, frozenset(e.routes or ())) for e in deployment.endpoints
    }


def first(form: Format) -> Deployment:
    """Return a deployment that each format can say."""
    lab = load(gallery.text("l2"), "l2")
    deployment = of_phase(lab, lab.phases[0])
    (on,) = deployment.parents
    via = replace(on.endpoints[0], routes=(Route(DEFAULTS["ipv4"], on.parent.gateway[0]),))
    setting = Setting(form.limits.modes[0], form.limits.flags[0])
    if form.limits.place == "host":
        setting = replace(setting, host_shim=True, shim_addresses=(ip_address("192.168.104.120"),))
        on = replace(on, shim="shim")
    return replace(deployment, parents=(replace(on, setting=setting, endpoints=(via,)),))


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ipvtap links on eth0": ({"kind": "ipvtap"}, {}),
    "strategy announce on eth0": ({"mode": "l3s", "strategy": "announce"}, {}),
    "the alternative name lan of test1": ({}, {"altnames": ("lan",)}),
    "an address from router advertisements of test1": ({}, {"slaac": True}),
    "a route of type blackhole of test1": (
        {},
        {"routes": (Route(ip_network("10.9.0.0/24"), type="blackhole"),)},
    ),
    "rules and routing tables of test1": ({}, {"routes": (Route(ip_network("10.9.0.0/24"), table=7),)}),
}


@for_each("form", FORMATS)
@for_each("what", REFUSED)
def test_what_no_format_can_say_is_refused(form: Format, what: str) -> None:
    of_setting, of_endpoint = REFUSED[what]
    deployment = first(form)
    (on,) = deployment.parents
    setting = replace(on.setting, **of_setting)
    own = replace(on.endpoints[0], **of_endpoint)
    if of_endpoint and form.limits.place == "host":
        (note,) = form.written(replace(deployment, parents=(replace(on, endpoints=(own,)),))).notes
        assert note.startswith(f"{own.name} is in a namespace, which {form.title} does not create: ")
        return
    with pytest.raises(UsageError) as caught:
        form.written(replace(deployment, parents=(replace(on, setting=setting, endpoints=(own,)),)))
    assert caught.value.message == f"{form.title} cannot say {what}"
    assert caught.value.hint


@for_each("form", FORMATS)
@for_each("flag", FLAGS)
@for_each("mode", MODES)
def test_modes_and_flags_beyond_the_limits_are_refused(form: Format, mode: str, flag: str) -> None:
    deployment = first(form)
    (on,) = deployment.parents
    tried = replace(deployment, parents=(replace(on, setting=Setting(mode, flag)),))  # type: ignore[arg-type]
    if mode in form.limits.modes and flag in form.limits.flags:
        return
    with pytest.raises(UsageError, match=r"cannot say (mode|flag) "):
        form.written(tried)


@each_format
@given(data=st.data())
def test_a_hostile_file_is_a_lab_or_refused_with_its_place(form: Format, data: st.DataObject) -> None:
    there = sources(first(form), form)
    spoilt = data.draw(st.one_of(hostile_texts(), mutated_text(there[0].text)))
    # Any other error than one of wrong usage fails the test.
    try:
        lab, notes = lab_of(form.read([Source("its-file", spoilt), *there[1:]]))
    except UsageError:
        return
    assert load(dump(lab), "lab.yaml") == lab
    assert "".join(notes).isprintable()


def test_a_fix_is_what_changes_in_files_or_the_reason_why_it_cannot_be_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["explain", "neighbour", "test1", "l3-silent", "--phase", "l3", "--fix-as", "cni"]) == 0
    fixes = capsys.readouterr().out.split("\nfix ")[1:]
    by_name = {fix.split(", ")[1].split(":")[0]: fix.splitlines()[1:] for fix in fixes}
    assert by_name["static-neigh"][:2] == [
        "  # CNI cannot say strategy static-neigh on eth0; as commands, until a reboot:",
        "  ip -n gateway neigh replace 192.168.104.211 lladdr 02:00:00:00:00:01 dev eth0 nud permanent",
    ]
    changed = [line.strip() for line in by_name["mode-l2"]]
    # One mode is that of both endpoints on the parent.
    assert [line for line in changed if line.startswith(("-  ", "+  "))] == [
        '-  "mode": "l3",',
        '+  "mode": "l2",',
    ] * 2
    calls = [line.split()[0] for line in changed if line.startswith("CNI_COMMAND=")]
    assert calls == ["CNI_COMMAND=DEL"] * 2 + ["CNI_COMMAND=ADD"] * 2


def test_a_fix_of_the_switch_is_in_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["explain", "host", "test1", "host-shim", "--phase", "without", "--fix-as", "cni", "--json"]
    assert main(asked) == 0
    (found,) = json.loads(capsys.readouterr().out)["explanations"]
    by_name = {fix["name"]: fix["fix_as"] for fix in found["mends"]}
    assert by_name["hairpin"] == [
        "# it changes nothing that CNI configures; as commands:",
        "ip -n switch link set host type bridge_slave hairpin on",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fix-as", "cnj"], "error: unknown format 'cnj'\nhint: choose from "),
    ],
)
def test_a_fix_in_no_format_is_refused(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["explain", "neighbour", "test1", "l3-silent", *options]) == 2
    assert capsys.readouterr().err.startswith(message)


QUADLETS = {
    "lan.network": "[Network]\nDriver=ipvlan\nOptions=parent=eth0 mode=l3\nSubnet=10.0.0.0/24\n",
    "web.container": "[Container]\nContainerName=web\nNetwork=lan.network\n",
    "web.container.d/ip.conf": "[Container]\nIP=10.0.0.7\n",
}


def put(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files, by their paths, into a folder."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text if isinstance(text, bytes) else text.encode())


def test_a_folder_stands_for_the_files_of_a_tool_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # What the tool does not read, and what is no file of a known format.
    others = ("old.container.bak", ".old.container.swp", "old.container~")
    put(tmp_path, {**QUADLETS, **dict.fromkeys(others, QUADLETS["web.container"])})
    put(tmp_path, {"README": b"\xff", "data.volume": "[Volume]\n", "sub/x.network": "[Network]"})
    assert main(["explain", "gateway", "10.0.0.7", str(tmp_path)]) == 0
    assert "gateway -> web: unreachable" in capsys.readouterr().out
    assert main(["import", str(tmp_path)]) == 0
    imported = capsys.readouterr().out
    assert main(["import", *(str(tmp_path / name) for name in QUADLETS)]) == 0
    assert capsys.readouterr().out == imported


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root reads all folders.
    monkeypatch.setattr(Path, "iterdir", lambda _: os.scandir(tmp_path / "nosuch"))
    assert main(["review", str(tmp_path)]) == 2
    error = f"error: the folder '{tmp_path}' cannot be read: No such file or directory\n"
    assert capsys.readouterr().err == error


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"notes.conf": "nothing", "sub/lan.network": QUADLETS["lan.network"]},
            "no file of a known format is in ",
        ),
        ({**QUADLETS, "a.nmconnection": "[connection]"}, "are of different formats"),
    ],
)
def test_a_folder_has_files_of_one_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: dict[str, str], message: str
) -> None:
    put(tmp_path, files)
    assert main(["review", str(tmp_path)]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert message in error
    assert hint.startswith("hint: ")


def test_the_page_has_the_limits_of_each_format() -> None:
    assert limits() in (REFERENCE / "formats.md").read_text(), f"formats.md needs this table:\n{limits()}"


def test_activation_stops_where_a_line_fails_and_removal_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "left.conf"
    file.write_text("")
    written = Written((File(str(file), ""),), ("false", "echo activated"), ("false", "echo removed"))
    scripts = in_folder(written)
    done = {
        name: subprocess.run(
            ["/bin/bash", "-c", scripts[name].text], capture_output=True, text=True, check=False
        )
        for name in ("activate.sh", "remove.sh")
    }
    assert (done["activate.sh"].returncode, done["activate.sh"].stdout) == (1, "")
    assert done["remove.sh"].stdout == "removed\n"
    assert not file.exists()
