"""Before a job is queued: does it fit, how long will it take, can it run at all."""
