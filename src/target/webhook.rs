//! The agent's own intake as a target.
