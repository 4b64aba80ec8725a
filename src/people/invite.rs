//! Invitations: the way into a clinic.
//!
//! The invitation carries the root's fingerprint, which the person's app pins. It is taken from the root card
//! the inviting person holds, and compared with what is installed: a server that has replaced its root cannot
//! invite anybody by a true card.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use sigilo_seal::{Ed25519Public, RootFingerprint};
use sigilo_wire::{ErrorCode, InvitationId, Role, TenantId, Timestamp, UserId};

use super::{
    INVITATION_LIFE, RootCard,
    store::{self, Sealed, UserRow},
    user_place,
};
use crate::{
    Ctx, Error, Result,
    app::App,
    audit::Act,
    auth::Opaque,
    policy::{Grant, ManagePeople, facts},
    rng,
    storage::Tx,
};

/// Who is invited.
#[derive(Clone, Debug)]
pub struct Invitee {
    /// Their role.
    pub role: Role,
    /// Their name, 1 to 200 characters. An imported person may keep the one they have.
    pub name: Option<String>,
    /// Their e-mail address, with which they log in; unique in the clinic.
    pub email: String,
    /// What another system calls them: attaches the account to a person an import has made.
    pub identifier: Option<(String, String)>,
}

/// An invitation, to be handed to the person. Its code is not kept.
#[derive(Clone)]
pub struct Invitation {
    /// The invited person.
    pub user_id: UserId,
    /// The clinic.
    pub clinic_id: TenantId,
    /// The single-use code.
    pub code: String,
    /// From when it is not good any more.
    pub expires_at: Timestamp,
    /// The root to pin.
    pub root: RootFingerprint,
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invitation").field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

impl Invitation {
    /// The text and QR code to hand out: `sigilo://activate?v=1&server=&clinic=&code=&root=`.
    #[must_use]
    pub fn uri(&self, server: &str) -> String {
        let server: String = server
            .bytes()
            .map(|byte| match byte {
                // RFC 3986 unreserved, and what a query may hold unescaped that URLs are made of.
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' => {
                    char::from(byte).to_string()
                }
                other => format!("%{other:02X}"),
            })
            .collect();
        let root = URL_SAFE_NO_PAD.encode(self.root.0);
        format!(
            "sigilo://activate?v=1&server={server}&clinic={}&code={}&root={root}",
            self.clinic_id, self.code
        )
    }
}

/// The grant to manage the people of the clinic `ctx` is for.
///
/// # Errors
/// `forbidden` for all but the operator and the clinic's admins.
pub fn authorize_manage_people(app: &App, ctx: &Ctx) -> Result<Grant<ManagePeople>> {
    app.policy.decide::<ManagePeople>(ctx, &facts::Clinic { tenant: ctx.tenant })
}

/// Invites a person. Somebody invited before and not yet active gets a new invitation, and the old one ends.
///
/// # Errors
/// `clinic_keys_missing` before the clinic's keys are installed; `invalid_key` when the card is another root's;
/// `already_exists` when the person has an account, or another one has the e-mail address; 404 for an unknown
/// identifier; `invalid_field`.
pub async fn invite(
    app: &App,
    ctx: &Ctx,
    grant: Grant<ManagePeople>,
    invitee: &Invitee,
    card: &RootCard,
) -> Result<Invitation> {
    check(invitee)?;
    let key = app.clinic_key(ctx, ctx.tenant).await?;
    let mut tx = app.db.begin("invite").await?;
    let tenant = store::lock_tenant(&mut tx, ctx.tenant).await?.ok_or(Error::NotFound)?;
    let root = require_card(ctx.tenant, tenant.root_key()?, card)?;
    let user = find_or_make(app, &mut tx, ctx, invitee).await?;
    let code = Opaque::new(&*app.entropy);
    let invitation = InvitationId::new(ctx.now, rng::bytes(&*app.entropy));
    let expires_at = ctx.now + INVITATION_LIFE;
    store::insert_invitation(&mut tx, invitation, (ctx.tenant, user), &code.hash, ctx.now, expires_at)
        .await?;
    let act = Act::done("invite")
        .object("user", user)
        .object("invitation", invitation)
        .object("role", invitee.role)
        .about(invitee.role, user)
        .by(grant.basis());
    app.audit(&mut tx, ctx, &key, act).await?;
    tx.commit().await?;
    Ok(Invitation { user_id: user, clinic_id: ctx.tenant, code: code.text, expires_at, root })
}

/// The card's root, if it is the installed one.
fn require_card(tenant: TenantId, installed: Option<[u8; 32]>, card: &RootCard) -> Result<RootFingerprint> {
    if card.clinic == tenant { require_root(installed, card.root) } else { Err(another_root()) }
}

/// The root somebody has on their card, if it is the installed one.
///
/// # Errors
/// `clinic_keys_missing`, 422 `invalid_key`.
pub(super) fn require_root(installed: Option<[u8; 32]>, shown: RootFingerprint) -> Result<RootFingerprint> {
    let installed = installed.ok_or_else(|| Error::conflict(ErrorCode::ClinicKeysMissing, json!({})))?;
    let installed = RootFingerprint::of(&Ed25519Public::parse(&installed).map_err(Error::internal)?);
    if shown == installed { Ok(shown) } else { Err(another_root()) }
}

fn another_root() -> Error {
    let problem = "the root card is not that of the root installed for this clinic";
    Error::invalid(ErrorCode::InvalidKey, json!({"key": "root_card", "problem": problem}))
}

async fn find_or_make(app: &App, tx: &mut Tx, ctx: &Ctx, invitee: &Invitee) -> Result<UserId> {
    let index = app.crypter.email_index(ctx.tenant.as_bytes(), &invitee.email);
    let by_email = store::user_by_email(tx, ctx.tenant, &index).await?;
    let known = match &invitee.identifier {
        Some((system, value)) => {
            let person = store::user_by_identifier(tx, ctx.tenant, system, value).await?;
            let person = person.ok_or(Error::NotFound)?;
            if by_email.is_some_and(|other| other.user_id != person.user_id) {
                return Err(taken("email"));
            }
            Some(person)
        }
        None => by_email,
    };
    if let Some(person) = &known {
        require_same_role(person, invitee.role)?;
    }
    let user = known
        .as_ref()
        .map_or_else(|| UserId::new(ctx.now, rng::bytes(&*app.entropy)), |person| person.user_id);
    let sealed = seal(app, &user, invitee, index)?;
    let done = match &known {
        Some(_) => store::invite_user(tx, user, &sealed).await?,
        None => store::insert_user(tx, user, (ctx.tenant, invitee.role), &sealed, ctx.now).await?,
    };
    if done { Ok(user) } else { Err(taken("account")) }
}

fn require_same_role(person: &UserRow, role: Role) -> Result<()> {
    let before = person.role()?;
    if before == role {
        return Ok(());
    }
    Err(Error::field("role", format!("this person is known as a {before}")))
}

fn taken(what: &str) -> Error {
    Error::conflict(ErrorCode::AlreadyExists, json!({"field": what}))
}

fn seal(app: &App, user: &UserId, invitee: &Invitee, email_index: Vec<u8>) -> Result<Sealed> {
    let encrypt = |column, value: &str| {
        app.crypter.encrypt(user_place(user, column), value.trim().as_bytes(), &*app.entropy)
    };
    Ok(Sealed {
        name: invitee.name.as_deref().map(|name| encrypt("full_name_enc", name)).transpose()?,
        email: encrypt("email_enc", &invitee.email)?,
        email_index,
    })
}

fn check(invitee: &Invitee) -> Result<()> {
    match &invitee.name {
        Some(name) => super::check_name("full_name", name)?,
        None if invitee.identifier.is_none() => super::check_name("full_name", "")?,
        None => {}
    }
    let email = invitee.email.trim();
    let good = email.len() <= 254
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && email
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if good { Ok(()) } else { Err(Error::field("email", "not an e-mail address")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_one_line_with_everything_an_app_needs() {
        let invitation = Invitation {
            user_id: UserId::from_bytes([1; 16]),
            clinic_id: TenantId::from_bytes([2; 16]),
            code: "code".to_owned(),
            expires_at: Timestamp::from_micros(0),
            root: RootFingerprint([0; 32]),
        };
        assert_eq!(
            invitation.uri("https://chat.example:8443/a?b&c"),
            format!(
                "sigilo://activate?v=1&server=https://chat.example:8443/a%3Fb%26c\
                 &clinic=02020202-0202-0202-0202-020202020202&code=code&root={}",
                "A".repeat(43)
            )
        );
        assert!(!format!("{invitation:?}").contains("code"), "a code is a secret");
    }

    #[test]
    fn an_invitee_has_a_name_and_an_address() {
        let good = Invitee {
            role: Role::Patient,
            name: Some("Ana López".to_owned()),
            email: "ana@clinic.example".to_owned(),
            identifier: None,
        };
        check(&good).unwrap();
        check(&Invitee { name: None, identifier: Some(("s".into(), "v".into())), ..good.clone() }).unwrap();
        assert!(check(&Invitee { name: None, ..good.clone() }).is_err());
        for email in ["", "ana", "@clinic.example", "ana@", "a na@clinic.example", "a@b@c"] {
            assert!(check(&Invitee { email: email.to_owned(), ..good.clone() }).is_err(), "{email}");
        }
    }
}
