//! FLOOR 3, pages, API, metrics and the intake over HTTP.
