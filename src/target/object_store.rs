//! S3 and compatible object stores as a target.
