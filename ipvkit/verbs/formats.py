"""Files of other tools as labs, and labs as files of other tools."""

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import unified_diff

from ipvkit.core.errors import UsageError, printable
from ipvkit.export.playbook import playbook
from ipvkit.formats import BY_NAME, FORMATS
from ipvkit.formats.base import File, Format, Written
from ipvkit.formats.deployment import lab_of, of_phase
from ipvkit.lab import Lab
from ipvkit.lab.fields import Source
from ipvkit.lab.format import dump
from ipvkit.verbs.explain import Fix, phases_called

_END, _USUAL = "END_OF_FILE", 0o644

PLAYBOOK = "ansible"
WRITTEN = (*BY_NAME, PLAYBOOK)
"""What `exported` writes: the formats, and the playbook of a whole lab."""


def format_called(name: str, names: Iterable[str] = BY_NAME) -> Format:
    """Return the format called `name`; raise UsageError for an unknown one, with a choice of `names`."""
    if name not in BY_NAME:
        raise UsageError(f"unknown format {name!r}", f"choose from {', '.join(names)}")
    return BY_NAME[name]


def is_drop_in(source: Source) -> bool:
    """Return whether a file is a drop-in of a unit, which is of the format of its unit."""
    return re.search(r"\.(network|netdev|container|pod)\.d/[^/]+$", source.file) is not None


def recognised(source: Source) -> Format | None:
    """Return the format of a file, by its content; None where it is of none."""
    return next((each for each in FORMATS if each.recognises(source.text)), None)


def read(sources: Sequence[Source], name: str | None = None) -> tuple[Lab, tuple[str, ...]]:
    """Return the lab of files, of the format `name` or the one that is recognised, and what they leave open.

    Raise UsageError where that is unknown, or not the same for all.
    """
    units = [source for source in sources if not is_drop_in(source)] or [*sources]
    found = [format_called(name)] * len(units) if name else [*map(recognised, units)]
    for source, each in zip(units, found, strict=True):
        if each is None:
            what = f"the format of {source.file} is not recognised"
            raise UsageError(what, f"--format names it: choose from {', '.join(BY_NAME)}")
        if each is not found[0]:
            what = f"{units[0].file} and {source.file} are of different formats"
            raise UsageError(what, "import those of one format at a time")
    if not sources or found[0] is None:
        raise UsageError("no file is given", "ipvkit import FILE")
    return lab_of(found[0].read(sources))


def imported(sources: Sequence[Source], name: str | None = None) -> str:
    """Return the lab file of files of another tool, with comments on what they leave open."""
    lab, notes = read(sources, name)
    return "".join(f"# note: {printable(note)}\n" for note in notes) + dump(lab)


def exported(lab: Lab, name: str, phase: str | None = None) -> Written:
    """Return the files of the format `name` for the phase of `lab` that is called `phase`, or its only one.

    A playbook has all phases by default. Raise UsageError where `phase` is unknown, or for what the format
    cannot say.
    """
    if name == PLAYBOOK:
        file = File(f"{lab.name}.yml", playbook(replace(lab, phases=tuple(phases_called(lab, phase)))))
        return Written((file,), (shlex.join(["ansible-playbook", file.path]),), ())
    form = format_called(name, WRITTEN)
    first, *others = phases_called(lab, phase)
    if others:
        names = ", ".join(each.name for each in lab.phases)
        raise UsageError(f"lab {lab.name} has several phases", f"--phase: choose from {names}")
    return form.written(of_phase(lab, first))


@dataclass(frozen=True, slots=True)
class Dialect:
    """How fixes are written: as files of the format `name`, or as commands where it cannot say them."""

    name: str

    def __post_init__(self) -> None:
        format_called(self.name)

    def can_say(self, fix: Fix) -> bool:
        """Return whether the format can say `fix`."""
        try:
            return bool(_changes(BY_NAME[self.name], fix))
        except UsageError:
            return False

    def lines(self, fix: Fix) -> list[str]:
        """Return the lines that make `fix` in files, and those that activate it.

        Where the format cannot say it, they are its commands, after a comment with the reason.
        """
        form = BY_NAME[self.name]
        try:
            found = _changes(form, fix)
        except UsageError as problem:
            return [f"# {problem.message}; as commands, until a reboot:", *fix.typed()]
        return found or [f"# it changes nothing that {form.title} configures; as commands:", *fix.typed()]


def _changes(form: Format, fix: Fix) -> list[str]:
    """Return the lines that make `fix` in files of `form`, none where no file changes; raise UsageError."""
    after = form.written(of_phase(fix.fixed, fix.fixed.phases[0]))
    former = Written((), (), ())
    with suppress(UsageError):
        former = form.written(of_phase(fix.asking, fix.asking.phases[0]))
    before = {file.path: file.text for file in former.files}
    changed = [file for file in after.files if before.get(file.path) != file.text]
    if not changed:
        return []
    lines = [line for file in changed for line in _changed(file, before.get(file.path))]
    ours = tuple(file for file in after.files if file.path in before or not file.adds)
    activated = [*former.remove, *replace(after, files=ours).activation]
    return [*lines, "# activate:", *(activated if len(activated) <= _FEW else [_ALL])]


_FEW, _ALL = 12, "# what `ipvkit export` writes: remove it as it was, and activate it as it is now"


def _changed(file: File, before: str | None) -> Iterable[str]:
    """Return the lines of a new file, or as diff(1) prints it what changes in one that is there."""
    if before is None and file.adds:
        # The lab may have an example in place of an address that the machine has.
        match, *lines = file.adds
        add = f"# in the file that is there with {match}, add:"
        return [add, *(f"#   {line}" for line in lines)] if lines else []
    if before is None:
        return _created(file)
    names = (file.path, file.path)
    return unified_diff(before.splitlines(), file.text.splitlines(), *names, lineterm="")


def script(written: Written) -> Iterator[str]:
    """Yield bash lines that write and activate the files, and as comments the notes and what removes them."""
    yield from (f"# note: {note}" for note in written.notes)
    for folder in dict.fromkeys(file.path.rpartition("/")[0] for file in written.files):
        yield from [f"mkdir -p {shlex.quote(folder)}"] if folder else []
    for file in written.files:
        yield from _created(file)
    yield from ("", "# activate:", *written.activation, "", "# remove:")
    yield from (f"# {line}" for line in removal(written))


def in_folder(written: Written) -> dict[str, File]:
    """Return the files, and bash scripts that activate and that remove them, by their paths in a folder.

    The first stops where a line fails; the other does what it can.
    """
    scripts = {"activate.sh": ("set -e", *written.activation), "remove.sh": removal(written)}
    texts = {
        path: "".join(f"{line}\n" for line in ("#!/usr/bin/env bash", *lines))
        for path, lines in scripts.items()
    }
    return {file.path.lstrip("/"): file for file in written.files} | {
        path: File(path, text, 0o755) for path, text in texts.items()
    }


def removal(written: Written) -> list[str]:
    """Return the bash lines that remove what was activated, and the files."""
    return [*written.remove, shlex.join(["rm", "-f", *(file.path for file in written.files)])]


def _created(file: File) -> Iterator[str]:
    """Yield bash lines that write a file, with its permissions before its text."""
    path = shlex.quote(file.path)
    yield from [f"install -m {file.mode:03o} /dev/null {path}"] if file.mode != _USUAL else []
    yield from (f"cat >{path} <<'{_END}'", *file.text.rstrip().splitlines(), _END)
