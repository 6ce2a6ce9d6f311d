"""ipvkit beside what else does the same: who is compared, where, and what is made of the times."""
