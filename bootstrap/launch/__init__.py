"""One run of the kit: the agent, its steps, the processes that it starts, and what people see meanwhile."""
