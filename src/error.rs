//! The one error of the capability layer. Gateways give it a status and a body.

use serde_json::{Value, json};
use sigilo_wire::{ErrorCode, policy::Decision};

use crate::Ctx;

/// What a capability answers when it cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong, whoever makes it (400, 422).
    #[error("{code}: {details}")]
    Invalid {
        /// The code.
        code: ErrorCode,
        /// What is wrong where.
        details: Value,
    },
    /// Nobody known makes it (401).
    #[error("{0}")]
    Unauthenticated(ErrorCode),
    /// A rule denies it (403).
    #[error("{}: {}", .0.code, .0.details)]
    Denied(Box<Denial>),
    /// Not there or not the caller's (404).
    #[error("not found")]
    NotFound,
    /// The state does not allow it; the details say what to do (409).
    #[error("{code}: {details}")]
    Conflict {
        /// The code.
        code: ErrorCode,
        /// What the caller needs to mend it.
        details: Value,
    },
    /// Larger than allowed (413).
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Too many (429).
    #[error("rate limited")]
    RateLimited {
        /// Seconds to wait.
        retry_after_s: u64,
        /// Limit, remaining, reset.
        details: Value,
    },
    /// A part the server needs is away (503).
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// A fault of the server (500). The text goes to the log, never to the caller.
    #[error("internal: {0}")]
    Internal(String),
}

/// A rule's refusal.
#[derive(Clone, Debug, PartialEq)]
pub struct Denial {
    /// The code of the answer.
    pub code: ErrorCode,
    /// The reason, and what a program needs.
    pub details: Value,
    /// What the person can do.
    pub suggestion: Suggestion,
    /// The determining policies.
    pub policies: Vec<String>,
    /// SHA-256 of the set they are of.
    pub policy_set: [u8; 32],
    /// Which act it was, when the rules decided on one.
    pub refused: Option<Refused>,
    /// What was signed of it, for whoever asked.
    pub decision: Option<Box<Decision>>,
}

/// An act that the rules refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Who asked, and when.
    pub ctx: Ctx,
    /// The act's name.
    pub act: &'static str,
    /// The leaf of its audit entry, once that is written.
    pub leaf: Option<[u8; 32]>,
}

/// What a person can do about a denial, before their language is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Suggestion {
    /// Nothing is said.
    #[default]
    None,
    /// In the words of the rule.
    Rule {
        /// For languages it does not speak.
        default: String,
        /// By the language's tag.
        translated: Vec<(String, String)>,
    },
    /// A message of `locales/`.
    Said(&'static str),
}

/// The capability layer's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A field with an unacceptable value.
    #[must_use]
    pub fn field(field: &str, problem: impl std::fmt::Display) -> Self {
        Self::Invalid {
            code: ErrorCode::InvalidField,
            details: json!({"field": field, "problem": problem.to_string()}),
        }
    }

    /// A request that is wrong in another way.
    #[must_use]
    pub const fn invalid(code: ErrorCode, details: Value) -> Self {
        Self::Invalid { code, details }
    }

    /// A state that does not allow it.
    #[must_use]
    pub const fn conflict(code: ErrorCode, details: Value) -> Self {
        Self::Conflict { code, details }
    }

    /// A fault of the server.
    #[must_use]
    pub fn internal(what: impl std::fmt::Display) -> Self {
        Self::Internal(what.to_string())
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { code, .. } | Self::Unauthenticated(code) | Self::Conflict { code, .. } => *code,
            Self::Denied(denial) => denial.code,
            Self::NotFound => ErrorCode::NotFound,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::RateLimited { .. } => ErrorCode::RateLimited,
            Self::Unavailable(_) => ErrorCode::Unavailable,
            Self::Internal(_) => ErrorCode::Internal,
        }
    }

    /// What a program needs to react; never a secret, never another person's data.
    #[must_use]
    pub fn details(&self) -> Value {
        match self {
            Self::Invalid { details, .. }
            | Self::Conflict { details, .. }
            | Self::RateLimited { details, .. } => details.clone(),
            Self::Denied(denial) => denial.details.clone(),
            Self::TooLarge { limit } => json!({"max_size": limit}),
            Self::Unauthenticated(_) | Self::NotFound | Self::Unavailable(_) | Self::Internal(_) => json!({}),
        }
    }

    /// The determining policies of a denial.
    #[must_use]
    pub fn policies(&self) -> &[String] {
        match self {
            Self::Denied(denial) => &denial.policies,
            _ => &[],
        }
    }
}
