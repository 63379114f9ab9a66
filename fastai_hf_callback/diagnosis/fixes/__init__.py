"""From an action to the line to write and the function that does it. Imports nothing of the diagnosis."""
