//! The account itself: logging in and out, passwords, the second factor. None of this touches a key.

use futures_util::FutureExt as _;
use sigilo_wire::{
    Timestamp,
    account::{ChangePassword, ResetPassword},
    mfa::{ConfirmMfa, Enrolment, MfaStatus, VerifyMfa},
};

use crate::{
    Client, Error, Result,
    engine::Engine,
    profile::records::{Home, ONLY},
};

/// What proves that the account's owner uses this device.
#[derive(Clone)]
pub enum Proof {
    /// A code of the authenticator app, or a recovery code.
    Code(String),
    /// The password, of an account without a second factor.
    Password(String),
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proof")
    }
}

impl Client {
    /// New tokens for a device that was logged out. `code` is the authenticator app's, or a recovery code.
    ///
    /// # Errors
    /// [`Error::Server`] with `invalid_credentials`; of an account with a second factor `mfa_required` without a
    /// code, `invalid_totp`, `rate_limited`.
    pub async fn log_in(
        &self,
        email: impl Into<String>,
        password: impl Into<String>,
        code: Option<String>,
    ) -> Result<()> {
        let (email, password) = (email.into(), password.into());
        self.act(move |engine| async move { engine.log_in(email, password, code).await }.boxed_local())
            .await?
    }

    /// Ends the session on the server; keys and history stay on this device.
    ///
    /// # Errors
    /// Those of the server and the connection.
    pub async fn log_out(&self) -> Result<()> {
        self.act(|engine| {
            async move {
                engine.disconnect();
                engine.api.logout().await?;
                engine.api.forget_tokens().await
            }
            .boxed_local()
        })
        .await?
    }

    /// Whether logins need a code.
    ///
    /// # Errors
    /// Those of the server and the connection.
    pub async fn mfa_status(&self) -> Result<MfaStatus> {
        self.act(|engine| async move { engine.api.mfa_status().await }.boxed_local()).await?
    }

    /// Begins to enrol an authenticator app, in place of one there may be. It counts once
    /// [`Client::confirm_mfa`] was given a code of it.
    ///
    /// # Errors
    /// [`Error::Server`] with `step_up_required`: [`Client::prove`] first.
    pub async fn enroll_mfa(&self) -> Result<Enrolment> {
        self.act(|engine| async move { engine.api.enroll_mfa().await }.boxed_local()).await?
    }

    /// Ends the enrolment with a code of the app; gives the recovery codes, which are shown this once.
    ///
    /// # Errors
    /// [`Error::Server`] with `no_enrolment`, `invalid_totp`, `rate_limited`.
    pub async fn confirm_mfa(&self, code: impl Into<String>) -> Result<Vec<String>> {
        let request = ConfirmMfa { code: code.into() };
        self.act(move |engine| async move { engine.api.confirm_mfa(&request).await }.boxed_local()).await?
    }

    /// Ends the second factor.
    ///
    /// # Errors
    /// [`Error::Server`] with `step_up_required`: [`Client::prove`] first.
    pub async fn disable_mfa(&self) -> Result<()> {
        self.act(|engine| async move { engine.api.disable_mfa().await }.boxed_local()).await?
    }

    /// Stops a new identity that the clinic is giving this account: the devices are not lost.
    ///
    /// # Errors
    /// [`Error::Server`] with `step_up_required`: [`Client::prove`] first; `not_found` when none is under way.
    pub async fn stop_identity_reset(&self) -> Result<()> {
        self.act(|engine| async move { engine.api.stop_identity_reset().await }.boxed_local()).await?
    }

    /// Proves who uses this device; gives until when that counts.
    ///
    /// # Errors
    /// [`Error::Server`] with `invalid_totp`, `invalid_credentials`, `rate_limited`, or `invalid_field` when the
    /// account proves itself in the other way.
    pub async fn prove(&self, proof: Proof) -> Result<Timestamp> {
        let request = match proof {
            Proof::Code(code) => VerifyMfa { code: Some(code), password: None },
            Proof::Password(password) => VerifyMfa { code: None, password: Some(password) },
        };
        let verified =
            self.act(move |engine| async move { engine.api.verify(&request).await }.boxed_local()).await??;
        Ok(verified.verified_until)
    }

    /// Changes the password; all other devices are logged out.
    ///
    /// # Errors
    /// [`Error::Server`] with `invalid_credentials`, `weak_password`, `step_up_required`, `rate_limited`.
    pub async fn change_password(&self, current: impl Into<String>, new: impl Into<String>) -> Result<()> {
        let request = ChangePassword { current: current.into(), new: new.into() };
        self.act(move |engine| async move { engine.api.change_password(&request).await }.boxed_local())
            .await?
    }

    /// Chooses a new password with a code of the clinic. All devices are logged out, this one, too.
    ///
    /// # Errors
    /// [`Error::Server`] with `invalid_reset`, `weak_password`.
    pub async fn reset_password(&self, code: impl Into<String>, new: impl Into<String>) -> Result<()> {
        let (code, new) = (code.into(), new.into());
        self.act(move |engine| async move { engine.reset_password(code, new).await }.boxed_local()).await?
    }
}

impl Engine {
    async fn reset_password(&self, code: String, new_password: String) -> Result<()> {
        let home: Home = self.profile.get(ONLY).await?.ok_or(Error::NotActivated)?;
        self.api.reset_password(&ResetPassword { clinic: home.clinic, code, new_password }).await
    }
}
