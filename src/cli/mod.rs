//! FLOOR 4, commands.
