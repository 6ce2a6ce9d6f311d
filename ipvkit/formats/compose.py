"""The files of Docker Compose: their values with variables, what a file includes, and what a service extends.

Source: the Compose Specification; measured with docker compose 2.26.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from posixpath import basename, dirname, join, normpath

import yaml

from ipvkit.lab.fields import MOST_OF_A_PART, YES_NO, Field

HINT = "a compose file, or what `docker network inspect` prints, is needed"
_FOLDER = "give the folder of both"
_VARIABLE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)(?::?-([^${}]*))?[^}]*\})")
_OVERRIDE = re.compile(r"(docker-)?compose\.override\.ya?ml")

Keys = dict[str, Field]


def keys_of(field: Field | None) -> Keys:
    """Return the values of a mapping, which may be empty, with those that are merged into it."""
    if field is None or is_empty(field):
        return {}
    own, inherited = Keys(), Keys()
    for key, (_, value) in field.pairs(HINT).items():
        if key == "<<":
            several = isinstance(value.node, yaml.SequenceNode)
            for each in reversed(value.items() if several else [value]):
                inherited |= keys_of(each)
        else:
            own[key] = value
    return inherited | own


def is_empty(field: Field) -> bool:
    """Return whether a key has no value."""
    return field.node.tag.endswith(":null")


def get(keys: Mapping[str, Field], key: str) -> Field | None:
    """Return the value of a key, with the defaults of its variables; None where there is none."""
    field = keys.get(key)
    if field is None or is_empty(field):
        return None
    return at_place(field, _VARIABLE.sub(_Value(field), field.text())) if field.is_scalar else field


def needed(place: Field, keys: Mapping[str, Field], key: str) -> Field:
    """Return the value of a key of what is at `place`; raise InvalidLab where there is none."""
    field = get(keys, key)
    if field is None:
        raise place.missing(key)
    return field


def at_place(field: Field, text: str) -> Field:
    """Return a single value at the place of `field`."""
    return replace(field, node=yaml.ScalarNode("", text, field.node.start_mark))


@dataclass(frozen=True, slots=True)
class _Value:
    """What stands for a variable in a field: its default; raises InvalidLab where it has none."""

    field: Field

    def __call__(self, found: re.Match[str]) -> str:
        dollar, short, long, default = found.groups()
        if dollar:
            return "$"
        if default is None:
            what = f"the value of the variable {short or long} is in no file"
            raise self.field.wrong(what, "`docker compose config` prints the file with its value")
        return str(default)


def is_true(keys: Mapping[str, Field], key: str, *, usual: bool = False) -> bool:
    """Return whether a key is true, or `usual` where it is not there."""
    field = get(keys, key)
    return usual if field is None else field.one_of((*YES_NO, "True", "False")).lower() == "true"


@dataclass(frozen=True, slots=True)
class Service:
    """A service: its name, its place, and in `layers` the keys of what it extends, before its own ones."""

    name: str
    place: Field
    layers: tuple[Keys, ...]

    def get(self, key: str) -> Field | None:
        """Return the value of a key, its own one or the nearest that it extends; None where there is none."""
        every = (get(layer, key) for layer in reversed(self.layers))
        return next((field for field in every if field is not None), None)


@dataclass(frozen=True, slots=True)
class Project:
    """The services and networks of a compose file, and of those that it includes."""

    services: tuple[Service, ...]
    networks: Keys


@dataclass(frozen=True, slots=True)
class _File:
    """A compose file: its path, its keys, and its services with the keys of each."""

    path: str
    keys: Keys
    services: Mapping[str, tuple[Field, Keys]]

    def beside(self, file: Field) -> str:
        """Return the path of a file that this one names."""
        return normpath(join(dirname(self.path), file.text()))

    def included(self) -> Iterator[tuple[Field, str]]:
        """Yield the places where it includes others, and their paths."""
        include = get(self.keys, "include")
        for item in include.items() if include is not None else ():
            every = item if item.is_scalar else needed(item, keys_of(item), "path")
            yield from ((each, self.beside(each)) for each in every.items())

    def extended(self, service: Keys) -> tuple[Field, Field, str] | None:
        """Return where a service extends another one, the name of that, and the path of its file."""
        extends = get(service, "extends")
        if extends is None:
            return None
        if extends.is_scalar:
            return extends, extends, self.path
        own = keys_of(extends)
        file = get(own, "file")
        return extends, needed(extends, own, "service"), self.path if file is None else self.beside(file)

    def parts(self) -> Iterator[str]:
        """Yield the paths of the files that are used in this one."""
        yield from (path for _, path in self.included())
        every = (self.extended(keys) for _, keys in self.services.values())
        yield from (found[2] for found in every if found is not None)


def projects(documents: Sequence[tuple[str, Field]], notes: list[str]) -> Iterator[Project]:
    """Yield the project of each compose file, after its path, that no other one uses."""
    files = []
    for path, document in documents:
        keys = keys_of(document)
        services = {name: (field, keys_of(field)) for name, field in keys_of(keys.get("services")).items()}
        files.append(_File(normpath(path), keys, services))
    parts = {path for file in files for path in file.parts() if path != file.path}
    by_path = {file.path: file for file in files}
    whole = [file for file in files if file.path not in parts]
    for file in [file for file in whole if _OVERRIDE.fullmatch(basename(file.path)) and len(files) > 1]:
        whole.remove(file)
        why = "docker compose merges it into another file, as `docker compose config` prints"
        notes.append(f"{file.path}: it is left out: {why}")
    if len(whole) > 1:
        names = ", ".join(file.path for file in whole)
        notes.append(f"{names}: they are taken for projects that all run")
    yield from (_project(file, by_path, notes) for file in whole)


def _project(file: _File, files: Mapping[str, _File], notes: list[str]) -> Project:
    """Return the project of a file; those that it includes and that are not among `files` have a note."""
    services: dict[str, Service] = {}
    networks: Keys = {}
    left, seen = [file], {file.path}
    for own in left:
        for name, (field, _) in own.services.items():
            _check_new(field, services)
            services[name] = Service(name, field, _layers(own, name, files, notes))
        for field in keys_of(own.keys.get("networks")).values():
            _check_new(field, networks)
            networks[field.name] = field
        for place, path in own.included():
            if path not in files:
                notes.append(f"{place.place}: {path}, which is included, is not read: {_FOLDER}")
            elif path not in seen:
                seen.add(path)
                left.append(files[path])
    return Project(tuple(services.values()), networks)


def _check_new(field: Field, there: Mapping[str, object]) -> None:
    if field.name in there:
        raise field.wrong("it is in another file too", "docker compose refuses it: keep one of the two")


def _layers(file: _File, name: str, files: Mapping[str, _File], notes: list[str]) -> tuple[Keys, ...]:
    """Return the keys of a service, after those of what it extends; what is in no file has a note."""
    found = [file.services[name][1]]
    while extended := file.extended(found[-1]):
        place, base, path = extended
        if path not in files:
            notes.append(f"{place.place}: {path}, which {name} extends, is not read: {_FOLDER}")
            break
        file = files[path]
        if base.text() not in file.services:
            raise base.wrong(f"no service {base.text()} is in {path}", "name one that is there")
        found.append(file.services[base.text()][1])
        if len(found) > MOST_OF_A_PART:
            raise place.wrong("it extends itself, or too many others", f"{MOST_OF_A_PART} at most")
    return tuple(reversed(found))
