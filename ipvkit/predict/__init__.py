"""The rules of ipvlan: who reaches whom, and why."""
