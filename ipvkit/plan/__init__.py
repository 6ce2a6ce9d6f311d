"""From a Lab to a Plan: the steps, their order, and the resources that they create."""
