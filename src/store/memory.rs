//! The ledger in memory, for replay.
