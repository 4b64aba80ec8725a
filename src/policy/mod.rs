//! The clinic's rules: Cedar policies decide, and a decision to allow is a [`Grant`] the capabilities ask for.

mod grant;

pub use grant::*;
