//! Errors as callers see them, the same on every gateway.

use serde_json::json;
use sigilo_wire::{
    Base64Array, ErrorBody, ErrorCode, RequestId,
    policy::{DeterminingPolicy, Explanation, PolicyEffect},
};

use super::{language::Language, messages};
use crate::{Error, explain::Explained, policy::DEFAULT_DENY};

/// Seconds after which trying again may help when a part of the server is away.
const UNAVAILABLE_RETRY_S: u64 = 2;

/// The body of an error answer.
#[must_use]
pub fn error_body(error: &Error, request_id: RequestId, language: Language) -> ErrorBody {
    let code = error.code();
    let mut details = error.details();
    if let Error::Denied(denial) = error
        && let Some(suggestion) = messages::suggestion(&denial.suggestion, language, &details)
    {
        details["suggestion"] = json!(suggestion);
    }
    // On a socket there is no header that says it.
    if let (Some(seconds), Some(details)) = (retry_after_s(error), details.as_object_mut()) {
        details.entry("retry_after_s").or_insert(json!(seconds));
    }
    ErrorBody {
        error: code,
        message: messages::text(code, language, &details),
        details,
        policies: error.policies().to_vec(),
        decision: match error {
            Error::Denied(denial) => denial.decision.clone(),
            _ => None,
        },
        request_id,
    }
}

/// What the rules would say, for a person.
#[must_use]
pub fn explanation(explained: &Explained, language: Language) -> Explanation {
    let Explained { actor, action, at, looked, facts } = explained;
    let of =
        |ids: &[String], effect| ids.iter().map(|id| DeterminingPolicy { id: id.clone(), effect }).collect();
    let empty = Explanation {
        actor_id: *actor,
        action: action.clone(),
        at: *at,
        allowed: true,
        policies: Vec::new(),
        policy_set: Base64Array([0; 32]),
        error: None,
        reason: None,
        message: None,
        suggestion: None,
        next_open_at: None,
        facts: facts.clone(),
    };
    match &looked.answer {
        Ok(basis) => Explanation {
            policies: of(&basis.policies, PolicyEffect::Permit),
            policy_set: Base64Array(basis.policy_set),
            ..empty
        },
        Err(denial) => {
            let nobody = denial.policies.iter().all(|id| id == DEFAULT_DENY);
            let effect = if nobody { PolicyEffect::Default } else { PolicyEffect::Forbid };
            let word = |name: &str| denial.details[name].as_str();
            Explanation {
                allowed: false,
                policies: of(&denial.policies, effect),
                policy_set: Base64Array(denial.policy_set),
                error: Some(denial.code),
                reason: word("reason").map(str::to_owned),
                message: Some(messages::text(denial.code, language, &denial.details)),
                suggestion: messages::suggestion(&denial.suggestion, language, &denial.details),
                next_open_at: word("next_open_at").and_then(|at| at.parse().ok()),
                ..empty
            }
        }
    }
}

/// The HTTP status of an error.
#[must_use]
pub fn status(error: &Error) -> u16 {
    match error {
        Error::Invalid { code, .. } => match code {
            ErrorCode::InvalidJson
            | ErrorCode::UnknownField
            | ErrorCode::InvalidField
            | ErrorCode::EncryptedField
            | ErrorCode::FileTypeNotAllowed
            | ErrorCode::UnknownFrame => 400,
            ErrorCode::MethodNotAllowed => 405,
            ErrorCode::FileTooLarge => 413,
            ErrorCode::UnsupportedMediaType => 415,
            // As tus has it.
            ErrorCode::ChecksumMismatch => 460,
            ErrorCode::StorageFull => 507,
            _ => 422,
        },
        Error::Unauthenticated(_) => 401,
        // The contract has it so: what is refused is the hour.
        Error::Denied(denial) if denial.code == ErrorCode::OutsideChatHours => 400,
        Error::Denied(_) => 403,
        Error::NotFound => 404,
        Error::Conflict { .. } => 409,
        Error::TooLarge { .. } => 413,
        Error::RateLimited { .. } => 429,
        Error::Unavailable(_) => 503,
        Error::Internal(_) => 500,
    }
}

/// How long to wait before trying again, in seconds, when that may help.
#[must_use]
pub const fn retry_after_s(error: &Error) -> Option<u64> {
    match error {
        Error::RateLimited { retry_after_s, .. } => Some(*retry_after_s),
        Error::Unavailable(_) => Some(UNAVAILABLE_RETRY_S),
        _ => None,
    }
}

/// Writes what callers must not see to the log, once, at the boundary.
pub fn log_fault(error: &Error, request_id: RequestId) {
    match error {
        Error::Internal(fault) => tracing::error!(%request_id, fault, "a request failed"),
        Error::Unavailable(part) => tracing::warn!(%request_id, part, "a request met a part that is away"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use sigilo_wire::Timestamp;

    use super::*;

    #[test]
    fn a_fault_keeps_its_text_from_the_caller() {
        let id = RequestId::new(Timestamp::from_micros(0), [0; 10]);
        let body = error_body(&Error::internal("the password of the database"), id, Language::English);
        assert!(!serde_json::to_string(&body).unwrap().contains("password"));
        assert_eq!(body.error, ErrorCode::Internal);
    }
}
