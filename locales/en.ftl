### What happened and what to do, for people: one message for each code of the API.
### Details of the answer that are words or numbers can be named, as { $max_size }.

# 400
invalid_json = The request is not valid JSON of the expected shape. The details say where.
unknown_field = The request has a field this server does not know. Remove it, or update the server.
invalid_field = A value in the request is not acceptable. The details name it and say what is.
encrypted_field = The server cannot see this field: it is end-to-end encrypted. Filter on the device.
unknown_frame = This frame type is not known. See the protocol documentation.

# 401
unauthenticated = Log in to do this.
token_expired = The access token has expired. Refresh it and try again.
token_reused = This refresh token was used before. For safety this device was logged out; log in again.
device_revoked = This device no longer has access. Log in again or ask the clinic.
invalid_credentials = Clinic, e-mail or password is wrong.
mfa_required = This account has a second factor. Send the authenticator app's code, or a recovery code, as 'totp'.
invalid_totp = The code is wrong or was used before. Wait for the next one, and check this device's clock.
invalid_invitation = This invitation is not valid (any more). Ask the clinic for a new one.
invalid_link = This link is not valid (any more). Begin again on both devices.
invalid_reset = This code for a new password is not valid (any more). Ask the clinic for a new one.
oidc_login_failed = A login with the clinic's identity provider did not work out. Begin again.
oidc_not_bound = The clinic has not connected this login with an account here. Ask the clinic.

# 403
forbidden = The clinic's rules do not allow this.
conversation_not_allowed = You cannot start a conversation with this person.
message_not_allowed = You cannot send a message in this conversation.
step_up_required = Confirm that it is you: with a code of the authenticator app, or the password if the account has none. Then try again.
mfa_enrolment_required = Your role needs an authenticator app. Enrol one; until then nothing else is possible.
network_not_allowed = Your clinic does not let you in from this network. Use the clinic's network, or ask the clinic.

# 404, 405
not_found = There is nothing here, or it is not yours.
method_not_allowed = This path does not take this method. See /api/docs/.

# 409
idempotency_conflict = This idempotency key or message id was used for a different request. Use a new one.
device_mismatch = The recipients' devices have changed. Fetch the manifests named in the details, check them, and send again.
device_keys_expired = This device's signed prekey is older than 45 days. Publish a new one, then send.
seal_stale = The conversation needs a new record seal. Make one for the current members and send again.
seal_unknown = The record seal named in the message is not known for this device and conversation. Publish it first.
chain_gap = A message of this device is missing before this one. Continue from the state in the details.
keys_differ = The server holds other keys for this device. Publish the device's keys again.
manifest_conflict = The device manifest is not version + 1 of the current one. Fetch it and sign a new one.
identity_exists = This account already has an identity key. A change needs a signature by the old one or a reset.
keys_missing = Keys are not published yet for this person or device.
clinic_keys_missing = The clinic's keys are not installed. Run 'sigilo records init' offline, then 'sigilo admin clinic install-keys'.
device_limit = This account has as many devices as it may. Remove one first.
no_enrolment = No enrolment of an authenticator app is under way. Begin a new one.
already_settled = This has been dealt with already, or there is nobody left to call. The details say how it stands.
already_exists = This already exists.
conversation_closed = This conversation is closed. Start a new one.
file_not_available = This file is not given out: it waits for its scan, is in quarantine, or its time is over. The details say which.
upload_offset = The upload goes on at another place. Ask with HEAD where, and go on from there.
checksum_mismatch = The bytes that came are not those that were announced. Send them again.

# 413, 415
body_too_large = The request is larger than the { $max_size } bytes allowed.
file_too_large = The file is larger than the { $max_size } bytes the clinic takes.
storage_full = The clinic has no room left for files. Tell the clinic; its administrator can make room.
unsupported_media_type = Send the body as application/json.

# 422
invalid_signature = A signature does not verify. The details name it.
invalid_key = A key is malformed or unsafe. The details name it.
invalid_manifest = The device manifest is malformed or names other devices. The details say what.
invalid_seal = The record seal is malformed or for other recipients. The details say what.
invalid_message = The message is malformed. The details say what.
weak_password = Choose a longer password: at least 12 characters.

# 429
rate_limited = Too many requests. Wait as long as Retry-After says.

# 500, 503
internal = Something failed on the server. Try again; if it persists, give support the request id.
unavailable = The server cannot do this right now. Try again as Retry-After says; nothing was lost.
outside_chat_hours = The clinic is closed for messages now. The details say when it opens, and where help is at any hour.
file_type_not_allowed = The clinic does not take files of this type. The details list those it takes.
phi_detected = The server can read this text: leave out what identifies somebody or names an illness.

unknown = The server answered with an error this program does not know. Update it.

# What to do about a denial that comes of no rule.
two_people-another = Another person has to approve what you asked for.
two_people-ask_again = Whoever asked for it may not do so any more: ask again.
two_people-an_admin = One of the two has to be an admin.
