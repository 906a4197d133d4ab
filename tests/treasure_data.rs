//! Tests of treasure_data.
