//! Stable error codes and the one error body of every gateway.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{RequestId, policy::Decision};

macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident = $code:tt;)*) => {
        /// What went wrong, as a stable word. Clients decide by this, never by the message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum ErrorCode {
            $($(#[$meta])* #[serde(rename = $code)] $name,)*
            /// A code of a newer server.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl ErrorCode {
            /// Every code a server may answer.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word in JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                    Self::Unknown => "unknown",
                }
            }
        }
    };
}

codes! {
    // 400
    /// The body is not JSON, or a value has the wrong shape.
    InvalidJson = "invalid_json";
    /// A field this version does not know.
    UnknownField = "unknown_field";
    /// A field's value is out of range or badly written.
    InvalidField = "invalid_field";
    /// A filter or field the server cannot see because it is encrypted.
    EncryptedField = "encrypted_field";
    /// A WebSocket frame of a type this server does not know.
    UnknownFrame = "unknown_frame";
    /// Denied by the clinic's hours.
    OutsideChatHours = "outside_chat_hours";
    /// The clinic does not take files of this type.
    FileTypeNotAllowed = "file_type_not_allowed";
    // 401
    /// No token, or one that does not verify.
    Unauthenticated = "unauthenticated";
    /// The access token's 15 minutes are over.
    TokenExpired = "token_expired";
    /// A refresh token was used twice; its whole family is revoked.
    TokenReused = "token_reused";
    /// The device was revoked or the account suspended.
    DeviceRevoked = "device_revoked";
    /// Wrong clinic, e-mail or password; not said which.
    InvalidCredentials = "invalid_credentials";
    /// The password was right, and the account has a second factor.
    MfaRequired = "mfa_required";
    /// A code that is wrong or was used before; not said which.
    InvalidTotp = "invalid_totp";
    /// An invitation that is unknown, used or expired; not said which.
    InvalidInvitation = "invalid_invitation";
    /// A claim to a linked device that is unknown, used or expired; not said which.
    InvalidLink = "invalid_link";
    /// A code for a new password that is unknown, used or expired; not said which.
    InvalidReset = "invalid_reset";
    /// A login with an identity provider does not fit what was begun, or is too old; not said which.
    OidcLoginFailed = "oidc_login_failed";
    /// The provider knows somebody who is bound to no account here.
    OidcNotBound = "oidc_not_bound";
    // 403
    /// Denied by the clinic's rules.
    Forbidden = "forbidden";
    /// Denied by the clinic's rules on who may start a conversation.
    ConversationNotAllowed = "conversation_not_allowed";
    /// Denied by the clinic's rules on who may send.
    MessageNotAllowed = "message_not_allowed";
    /// What could lock the owner out needs a proof of the last minutes.
    StepUpRequired = "step_up_required";
    /// The account's role needs a second factor, and until it is enrolled its tokens serve for nothing else.
    MfaEnrolmentRequired = "mfa_enrolment_required";
    /// The clinic does not let this role in from where the request comes.
    NetworkNotAllowed = "network_not_allowed";
    // 404, 405
    /// Not there, or not yours.
    NotFound = "not_found";
    /// The path exists, not with this method.
    MethodNotAllowed = "method_not_allowed";
    // 409
    /// An emergency, or a use of break-glass, is past this step.
    AlreadySettled = "already_settled";
    /// The same idempotency key with another request.
    IdempotencyConflict = "idempotency_conflict";
    /// The envelopes are not exactly those of the current devices.
    DeviceMismatch = "device_mismatch";
    /// The sending device's own keys are too old to send.
    DeviceKeysExpired = "device_keys_expired";
    /// The record seal is too old or for other members.
    SealStale = "seal_stale";
    /// The seal is not known here.
    SealUnknown = "seal_unknown";
    /// The device's chain of messages has a gap.
    ChainGap = "chain_gap";
    /// The server's copy of the keys differs from the device's.
    KeysDiffer = "keys_differ";
    /// The manifest is not the successor of the current one.
    ManifestConflict = "manifest_conflict";
    /// The user already has an identity key.
    IdentityExists = "identity_exists";
    /// Identity key, manifest or device keys are not published yet.
    KeysMissing = "keys_missing";
    /// The clinic's keys are not installed.
    ClinicKeysMissing = "clinic_keys_missing";
    /// The limit of devices of this kind is reached.
    DeviceLimit = "device_limit";
    /// No enrolment of a second factor is under way, or it took too long.
    NoEnrolment = "no_enrolment";
    /// Something with this name exists.
    AlreadyExists = "already_exists";
    /// The conversation is closed.
    ConversationClosed = "conversation_closed";
    /// The file is not given out: it waits for its scan, is in quarantine, or its time is over.
    FileNotAvailable = "file_not_available";
    /// The upload goes on elsewhere in the file than the request says.
    UploadOffset = "upload_offset";
    /// The bytes that came are not those that were announced.
    ChecksumMismatch = "checksum_mismatch";
    // 413, 415
    /// The body is larger than allowed.
    TooLarge = "body_too_large";
    /// The file is larger than allowed.
    FileTooLarge = "file_too_large";
    /// The clinic's share of the vault is used up.
    StorageFull = "storage_full";
    /// Not JSON.
    UnsupportedMediaType = "unsupported_media_type";
    // 422
    /// A signature does not verify.
    InvalidSignature = "invalid_signature";
    /// A key is malformed or unsafe.
    InvalidKey = "invalid_key";
    /// A manifest's content is wrong.
    InvalidManifest = "invalid_manifest";
    /// A seal's content is wrong.
    InvalidSeal = "invalid_seal";
    /// A message's content is wrong.
    InvalidMessage = "invalid_message";
    /// Text the server can read identifies somebody or names an illness.
    PhiDetected = "phi_detected";
    /// The password is too weak.
    WeakPassword = "weak_password";
    // 429
    /// Too many requests.
    RateLimited = "rate_limited";
    // 500, 503
    /// A fault of the server.
    Internal = "internal";
    /// The server cannot do this now.
    Unavailable = "unavailable";
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The body of every error answer, on HTTP and WebSocket alike.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// The stable code.
    pub error: ErrorCode,
    /// For people: what happened and what to do.
    pub message: String,
    /// What a program needs to react, by code.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub details: Value,
    /// The policies that decided, when a rule denied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// What the clinic's server signed of it, when a rule denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Box<Decision>>,
    /// Names this request in the server's logs.
    pub request_id: RequestId,
}
