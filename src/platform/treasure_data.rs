//! Treasure Data's REST API v3.
