//! Stable error codes and the one error body of every gateway.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::RequestId;

macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident = $code:tt, $message:literal;)*) => {
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

            /// What happened and what to do, for a person, in English.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self {
                    $(Self::$name => $message,)*
                    Self::Unknown => "The server answered with an error this program does not know. Update it.",
                }
            }
        }
    };
}

codes! {
    // 400
    /// The body is not JSON, or a value has the wrong shape.
    InvalidJson = "invalid_json", "The request is not valid JSON of the expected shape. The details say where.";
    /// A field this version does not know.
    UnknownField = "unknown_field", "The request has a field this server does not know. Remove it, or update the server.";
    /// A field's value is out of range or badly written.
    InvalidField = "invalid_field", "A value in the request is not acceptable. The details name it and say what is.";
    /// A filter or field the server cannot see because it is encrypted.
    EncryptedField = "encrypted_field", "The server cannot see this field: it is end-to-end encrypted. Filter on the device.";
    /// A WebSocket frame of a type this server does not know.
    UnknownFrame = "unknown_frame", "This frame type is not known. See the protocol documentation.";
    /// Denied by the clinic's hours.
    OutsideChatHours = "outside_chat_hours", "The clinic is closed for messages now. The details say when it opens, and where help is at any hour.";
    // 401
    /// No token, or one that does not verify.
    Unauthenticated = "unauthenticated", "Log in to do this.";
    /// The access token's 15 minutes are over.
    TokenExpired = "token_expired", "The access token has expired. Refresh it and try again.";
    /// A refresh token was used twice; its whole family is revoked.
    TokenReused = "token_reused", "This refresh token was used before. For safety this device was logged out; log in again.";
    /// The device was revoked or the account suspended.
    DeviceRevoked = "device_revoked", "This device no longer has access. Log in again or ask the clinic.";
    /// Wrong clinic, e-mail or password; not said which.
    InvalidCredentials = "invalid_credentials", "Clinic, e-mail or password is wrong.";
    /// The password was right, and the account has a second factor.
    MfaRequired = "mfa_required", "This account has a second factor. Send the authenticator app's code, or a recovery code, as 'totp'.";
    /// A code that is wrong or was used before; not said which.
    InvalidTotp = "invalid_totp", "The code is wrong or was used before. Wait for the next one, and check this device's clock.";
    /// An invitation that is unknown, used or expired; not said which.
    InvalidInvitation = "invalid_invitation", "This invitation is not valid (any more). Ask the clinic for a new one.";
    /// A claim to a linked device that is unknown, used or expired; not said which.
    InvalidLink = "invalid_link", "This link is not valid (any more). Begin again on both devices.";
    /// A code for a new password that is unknown, used or expired; not said which.
    InvalidReset = "invalid_reset", "This code for a new password is not valid (any more). Ask the clinic for a new one.";
    // 403
    /// Denied by the clinic's rules.
    Forbidden = "forbidden", "The clinic's rules do not allow this.";
    /// Denied by the clinic's rules on who may start a conversation.
    ConversationNotAllowed = "conversation_not_allowed", "You cannot start a conversation with this person.";
    /// Denied by the clinic's rules on who may send.
    MessageNotAllowed = "message_not_allowed", "You cannot send a message in this conversation.";
    /// What could lock the owner out needs a proof of the last minutes.
    StepUpRequired = "step_up_required", "Confirm that it is you: with a code of the authenticator app, or the password if the account has none. Then try again.";
    /// The account's role needs a second factor, and until it is enrolled its tokens serve for nothing else.
    MfaEnrolmentRequired = "mfa_enrolment_required", "Your role needs an authenticator app. Enrol one; until then nothing else is possible.";
    // 404, 405
    /// Not there, or not yours.
    NotFound = "not_found", "There is nothing here, or it is not yours.";
    /// The path exists, not with this method.
    MethodNotAllowed = "method_not_allowed", "This path does not take this method. See /api/docs/.";
    // 409
    /// The same idempotency key with another request.
    IdempotencyConflict = "idempotency_conflict", "This idempotency key or message id was used for a different request. Use a new one.";
    /// The envelopes are not exactly those of the current devices.
    DeviceMismatch = "device_mismatch", "The recipients' devices have changed. Fetch the manifests named in the details, check them, and send again.";
    /// The sending device's own keys are too old to send.
    DeviceKeysExpired = "device_keys_expired", "This device's signed prekey is older than 45 days. Publish a new one, then send.";
    /// The record seal is too old or for other members.
    SealStale = "seal_stale", "The conversation needs a new record seal. Make one for the current members and send again.";
    /// The seal is not known here.
    SealUnknown = "seal_unknown", "The record seal named in the message is not known for this device and conversation. Publish it first.";
    /// The device's chain of messages has a gap.
    ChainGap = "chain_gap", "A message of this device is missing before this one. Continue from the state in the details.";
    /// The server's copy of the keys differs from the device's.
    KeysDiffer = "keys_differ", "The server holds other keys for this device. Publish the device's keys again.";
    /// The manifest is not the successor of the current one.
    ManifestConflict = "manifest_conflict", "The device manifest is not version + 1 of the current one. Fetch it and sign a new one.";
    /// The user already has an identity key.
    IdentityExists = "identity_exists", "This account already has an identity key. A change needs a signature by the old one or a reset.";
    /// Identity key, manifest or device keys are not published yet.
    KeysMissing = "keys_missing", "Keys are not published yet for this person or device.";
    /// The clinic's keys are not installed.
    ClinicKeysMissing = "clinic_keys_missing", "The clinic's keys are not installed. Run 'sigilo records init' offline, then 'sigilo admin clinic install-keys'.";
    /// The limit of devices of this kind is reached.
    DeviceLimit = "device_limit", "This account has as many devices as it may. Remove one first.";
    /// No enrolment of a second factor is under way, or it took too long.
    NoEnrolment = "no_enrolment", "No enrolment of an authenticator app is under way. Begin a new one.";
    /// Something with this name exists.
    AlreadyExists = "already_exists", "This already exists.";
    /// The conversation is closed.
    ConversationClosed = "conversation_closed", "This conversation is closed. Start a new one.";
    // 413, 415
    /// The body is larger than allowed.
    TooLarge = "body_too_large", "The request is larger than allowed. The details give the limit.";
    /// Not JSON.
    UnsupportedMediaType = "unsupported_media_type", "Send the body as application/json.";
    // 422
    /// A signature does not verify.
    InvalidSignature = "invalid_signature", "A signature does not verify. The details name it.";
    /// A key is malformed or unsafe.
    InvalidKey = "invalid_key", "A key is malformed or unsafe. The details name it.";
    /// A manifest's content is wrong.
    InvalidManifest = "invalid_manifest", "The device manifest is malformed or names other devices. The details say what.";
    /// A seal's content is wrong.
    InvalidSeal = "invalid_seal", "The record seal is malformed or for other recipients. The details say what.";
    /// A message's content is wrong.
    InvalidMessage = "invalid_message", "The message is malformed. The details say what.";
    /// Text the server can read identifies somebody or names an illness.
    PhiDetected = "phi_detected", "The server can read this text: leave out what identifies somebody or names an illness.";
    /// The password is too weak.
    WeakPassword = "weak_password", "Choose a longer password: at least 12 characters.";
    // 429
    /// Too many requests.
    RateLimited = "rate_limited", "Too many requests. Wait as long as Retry-After says.";
    // 500, 503
    /// A fault of the server.
    Internal = "internal", "Something failed on the server. Try again; if it persists, give support the request id.";
    /// The server cannot do this now.
    Unavailable = "unavailable", "The server cannot do this right now. Try again as Retry-After says; nothing was lost.";
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
    /// Names this request in the server's logs.
    pub request_id: RequestId,
}
