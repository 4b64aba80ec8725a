//! The scan worker before a real clamd: what it finds, what it refuses, and what it never calls clean.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod blobs;
mod clamd;
mod content;
mod failures;
mod liar;
mod separate;
mod vault;
