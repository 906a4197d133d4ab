//! Job APIs that the config declares: a small one with a PostgreSQL behind it, and one that says whatever a
//! test makes it say.

mod api;
mod calls;
mod hostile;
mod line;
