"""From a Run to verdicts, and from verdicts to what a person or a program reads."""
