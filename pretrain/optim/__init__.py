"""Update rules, parameter groups and schedules."""
