//! FLOOR 3, the agent.
