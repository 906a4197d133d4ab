//! FLOOR 2, metrics: every one once.
