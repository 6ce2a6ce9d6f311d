"""What a plan is made of: sections, their stages, their steps."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, zip_longest

from ipvkit.core.command import Command
from ipvkit.lab import HOST, Lab, Phase
from ipvkit.plan.resources import Resource, Sysctl, undo_of
from ipvkit.predict.whole import Probe as Probe


@dataclass(frozen=True, slots=True)
class Undo:
    """The resource that a step created, and the purpose of undoing it.

    The step `reads` prints a sysctl's former value; `typical` stands for it in a preview.
    """

    resource: Resource
    purpose: str = ""
    reads: str = ""
    typical: str = ""

    def command(self, former: str = "") -> Command:
        """Return the command of the undo, with a sysctl's `former` value as it was printed."""
        return undo_of(self.resource, former.strip())


@dataclass(frozen=True, slots=True)
class Capture:
    """The frames at the link `dev` of the node `role` while `checks` run; a server writes them to `file`."""

    role: str
    dev: str
    file: str
    section: str
    checks: tuple[Probe, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One command on a machine, with its purpose; the undo of steps that it `cancels_undo_of` is needless.

    Only a step that ended with exit code 0 has something to undo. A server has a command that prints
    something when it is `ready`: the others of its stage begin then, and it is ended after them. It can have
    a `capture`.
    """

    id: str
    purpose: str
    command: Command
    undo: Undo | None = None
    cancels_undo_of: tuple[str, ...] = ()
    probe: Probe | None = None
    ready: Command | None = None
    on: str = HOST
    capture: Capture | None = None


Stage = tuple[Step, ...]
"""Independent steps, which run concurrently."""

Draft = (
    tuple[str, Command] | tuple[str, Command, Undo | None] | tuple[str, Command, Undo | None, tuple[str, ...]]
)
"""A step without an id: its purpose, its command, its undo, and the steps that it `cancels_undo_of`."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the plan that reports name: the simulated LAN (`phase` None), or a phase.

    `acts` are the stages of each of its acts, from the first one up to another, by number.
    """

    name: str
    title: str
    phase: Phase | None
    stages: tuple[Stage, ...]
    skipped: tuple[Probe, ...] = ()
    acts: tuple[slice, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is to happen, in order: sections, their stages, their steps."""

    lab: Lab
    sections: tuple[Section, ...]

    @property
    def stages(self) -> Iterator[Stage]:
        """All stages in order."""
        return (stage for section in self.sections for stage in section.stages)

    @property
    def steps(self) -> Iterator[Step]:
        """All steps in order."""
        return (step for stage in self.stages for step in stage)

    @property
    def undos(self) -> tuple[Step, ...]:
        """The steps that are undone at the end of a run without failures, in that order."""
        settled = {id for step in self.steps for id in step.cancels_undo_of}
        return tuple(s for s in reversed(list(self.steps)) if s.undo is not None and s.id not in settled)

    @property
    def resources(self) -> list[Resource]:
        """What the steps create, in order."""
        return [step.undo.resource for step in self.steps if step.undo is not None]

    @property
    def captures(self) -> bool:
        """Whether frames are captured."""
        return any(step.capture is not None for step in self.steps)

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs that the commands need, sorted."""
        commands = [c for step in self.steps for c in (step.command, step.ready) if c is not None]
        names = {command.argv[0] for command in commands}
        names |= {c.argv[4] for c in commands if c.argv[:3] == ("ip", "netns", "exec")}
        return tuple(sorted(names))

    def sysctls_on(self, machine: str) -> tuple[str, ...]:
        """Return the sysctls of a machine that are read, and put back to what they were."""
        found = (step.undo.resource for step in self.steps if step.undo is not None and step.on == machine)
        return tuple(one.key for one in found if isinstance(one, Sysctl))


class Steps:
    """Collects the stages of one section and numbers their steps, which run `on` a machine."""

    def __init__(self, section: str, on: str = HOST) -> None:
        self.section = section
        self.on = on
        self.stages: list[Stage] = []
        self._stage: list[Step] = []
        self._count = 0
        # In groups, what `end_phase` adds: a purpose, a command, the step that it undoes, and the machine.
        self._at_end: list[list[tuple[str, Command, tuple[str, ...], str]]] = [[]]

    def concurrently(self, machines: Sequence[str], add: Callable[[str], None]) -> None:
        """Let `add` add steps for each machine, which run on it; the first stages of all run concurrently.

        So do the second ones, and so on, and what is undone at the end.
        """
        self.end_group()
        former, stages, groups = self.on, self.stages, self._at_end
        parts: list[list[Stage]] = []
        undone: list[list[list[tuple[str, Command, tuple[str, ...], str]]]] = []
        for self.on in machines:
            self.stages, self._at_end = [], [[]]
            add(self.on)
            self.end_stage()
            parts.append(self.stages)
            undone.append(self._at_end)
        merged = zip_longest(*parts, fillvalue=())
        self.stages = [*stages, *(tuple(chain(*stage)) for stage in merged)]
        self._at_end = [*groups, *(list(chain(*group)) for group in zip_longest(*undone, fillvalue=[])), []]
        self.on = former

    @contextmanager
    def at(self, machine: str) -> Iterator[None]:
        """Let what is added run on `machine`."""
        former, self.on = self.on, machine
        yield
        self.on = former

    def add(
        self,
        purpose: str,
        command: Command,
        undo: Undo | None = None,
        cancels_undo_of: tuple[str, ...] = (),
        *,
        at_end: bool = False,
        probe: Probe | None = None,
        ready: Command | None = None,
    ) -> str:
        """Add a step to the current stage, and return its id; `end_phase` undoes what is undone `at_end`."""
        self._count += 1
        id = f"{self.section}.{self._count}"
        self._stage.append(Step(id, purpose, command, undo, cancels_undo_of, probe, ready, self.on))
        if at_end and undo is not None:
            self._at_end[-1].append((undo.purpose, undo.command(), (id,), self.on))
        return id

    def add_stage(self, drafts: Iterable[Draft], *, at_end: bool = False) -> list[str]:
        """Add a step for each draft, and end the stage; return their ids."""
        ids = [self.add(*draft, at_end=at_end) for draft in drafts]
        self.end_stage()
        return ids

    def at_end(self, purpose: str, command: Command) -> None:
        """Have `end_phase` add a command, for what needs no undo at the end of a run."""
        self._at_end[-1].append((purpose, command, (), self.on))

    def now(self, command: Command) -> None:
        """Add a command that was to run on this machine at the end of the phase."""
        for group in self._at_end:
            for added in [added for added in group if added[1] == command and added[3] == self.on]:
                group.remove(added)
                purpose, _, undone, _ = added
                self.add(purpose, command, cancels_undo_of=undone)

    def end_stage(self) -> None:
        """Have what is added from now on run after all that was added before."""
        if self._stage:
            self.stages.append(tuple(self._stage))
            self._stage = []

    def end_group(self) -> None:
        """End a stage, and have `end_phase` undo the next steps before those."""
        self.end_stage()
        self._at_end.append([])

    def end_phase(self) -> None:
        """Add the steps that undo what is to be undone at the end of a phase, the last group first."""
        for group in reversed(self._at_end):
            for purpose, command, undone, on in group:
                with self.at(on):
                    self.add(purpose, command, cancels_undo_of=undone)
            self.end_stage()
