//! FLOOR 3, the pretend platform.
