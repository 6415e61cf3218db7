"""Worker processes: functions that run on all cores, called from a Trio program."""
