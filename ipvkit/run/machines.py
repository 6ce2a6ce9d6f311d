"""The machines on which a plan runs: one, or several hosts beside the machine with the simulated LAN."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Self

from ipvkit.core.command import Command, T
from ipvkit.plan.steps import Plan
from ipvkit.run import execution
from ipvkit.run.batches import Job
from ipvkit.run.execution import Signal
from ipvkit.targets.agent import Agent, Inbox, Target


class Machines:
    """The agents of machines, those of `plan` if there is one, by their names, which share an inbox."""

    def __init__(self, targets: Mapping[str, Target], inbox: Inbox, plan: Plan | None = None) -> None:
        """Start nothing yet; `plan` is what will run, None if that is unknown."""
        self.inbox = inbox
        self.each = {name: Agent(target, inbox, plan) for name, target in targets.items()}
        self._of_key: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the agents and all that runs."""
        self.kill()

    @property
    def ephemeral(self) -> bool:
        """Whether all that is done ends with them."""
        return all(agent.target.ephemeral for agent in self.each.values())

    @property
    def kernel(self) -> str:
        """The version of their kernel."""
        return next((agent.kernel for agent in self.each.values() if agent.kernel), "")

    @property
    def complaint(self) -> str:
        """What an agent printed at its end."""
        return next((agent.complaint for agent in self.each.values() if agent.complaint), "")

    def begin(self) -> None:
        """Start all agents, concurrently."""
        for agent in self.each.values():
            agent.start(())

    def on_each(self, do: Callable[[str, Agent], T]) -> dict[str, T]:
        """Return what `do` returns for each machine, concurrently; raise the first failure after the last.

        Meanwhile each agent has a separate inbox, and a signal comes into all of them.
        """
        if len(self.each) == 1:
            return {name: do(name, agent) for name, agent in self.each.items()}
        for agent in self.each.values():
            agent.inbox = SimpleQueue()
        try:
            with ThreadPoolExecutor(len(self.each)) as pool:
                running = {name: pool.submit(do, name, agent) for name, agent in self.each.items()}
                for future in running.values():
                    future.add_done_callback(self.inbox.put)
                self._pass_on_signals(len(running))
        finally:
            for agent in self.each.values():
                agent.inbox = self.inbox
        return {name: future.result() for name, future in running.items()}

    def _pass_on_signals(self, running: int) -> None:
        """Pass signals on to all agents, until so many have ended; keep those that none has seen."""
        passed = []
        while running:
            news = self.inbox.get()
            running -= isinstance(news, Future)
            if isinstance(news, Signal):
                passed.append(news)
                for agent in self.each.values():
                    agent.inbox.put(news)
        unseen = min(_signals_in(agent.inbox) for agent in self.each.values())
        for news in passed[len(passed) - unseen :]:
            self.inbox.put(news)

    def require_for(self, jobs: Iterable[Job]) -> None:
        """Raise MissingRequirement where a program of `jobs` is not installed on its machine."""
        found = list(jobs)
        for name in dict.fromkeys(job.on for job in found):
            commands = (command for job in found if job.on == name for command in job.commands)
            execution.require_for(self.each[name].target, commands)

    def start(self, jobs: Iterable[Job]) -> None:
        """Start `jobs`, each on its machine."""
        found = list(jobs)
        self._of_key |= {job.id: job.on for job in found}
        for name in dict.fromkeys(job.on for job in found):
            own = [job for job in found if job.on == name]
            servers = [{job.id: job.command} for job in own if job.ready is not None]
            self.each[name].start(servers, serves=True)
            execution.start(self.each[name], {job.id: job.command for job in own if job.ready is None})

    def ask(self, key: str, of: str, command: Command) -> None:
        """Run `command` under `key` where the job with the key `of` runs."""
        self.each[self._of_key[of]].start([{key: command}])

    def stop(self, key: str) -> None:
        """Kill the command of a job, and begin no other in its row."""
        self.each[self._of_key[key]].stop(key)

    def end(self, key: str) -> None:
        """Ask the command of a job, which runs, to end."""
        self.each[self._of_key[key]].end(key)

    def rest(self) -> None:
        """Begin no other command; those that run continue to their end."""
        for agent in self.each.values():
            agent.rest()

    def kill(self) -> None:
        """Kill all agents with all commands, which are reported as killed."""
        for agent in self.each.values():
            agent.kill()


def _signals_in(inbox: Inbox) -> int:
    """Return how many signals are in `inbox`, and empty it."""
    found = 0
    while not inbox.empty():
        found += isinstance(inbox.get(), Signal)
    return found
