"""What every package asks of the machine: whole files, locks, text that is safe to show."""
