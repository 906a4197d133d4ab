//! Tests of sandbox_http.
