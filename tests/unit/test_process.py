"""What is guarded runs as a child of this process's child, and not where somebody has died in between."""

import os
import subprocess

from ipvkit.targets.process import guarded


def said_by(argv: list[str]) -> tuple[int, str]:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout


def test_a_guarded_program_has_its_words_and_its_exit_code() -> None:
    assert said_by(guarded(["printf", "<%s>", "a b", "$x", ""], 60)) == (0, "<a b><$x><>")
    assert said_by(guarded(["bash", "-c", "exit 7"], 60)) == (7, "")


def test_it_is_not_begun_where_the_parent_is_another_since_the_right_one_has_died() -> None:
    adopted = ["bash", "-c", '"$@"; exit $?', "bash", *guarded(["echo", "begun"], 60)]
    assert said_by(adopted) == (1, "")


def test_it_is_not_begun_where_what_bounds_its_life_has_died() -> None:
    argv = guarded(["echo", "begun"], 60)
    without_timeout = argv[argv.index("setpriv", 1) :]
    assert str(os.getpid()) in without_timeout
    assert said_by(without_timeout) == (1, "")


def test_it_ends_with_what_bounds_its_life() -> None:
    argv = guarded(["bash", "-c", "echo $PPID; exec sleep 60"], 60)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.kill()
        # The end of its output is that of sleep, which holds the pipe.
        assert process.stdout.read() == ""
