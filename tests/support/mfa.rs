//! Authenticator apps.

use std::time::Duration;

use serde_json::{Value, json};
use totp_rs::{Builder, Secret, Totp};

use super::{TestServer, http::Answer};

/// An app that holds one account's secret.
pub struct Authenticator {
    /// As shown at the enrolment.
    pub secret: String,
    totp: Totp,
}

impl Authenticator {
    /// Begins an enrolment and keeps its secret.
    pub async fn begin(server: &TestServer, token: Option<&str>) -> Self {
        let enrolment = server.post("/api/auth/mfa/enroll/", token, &json!({})).await.expect(200);
        let secret = enrolment["secret"].as_str().unwrap().to_owned();
        assert!(enrolment["uri"].as_str().unwrap().contains(&format!("secret={secret}")), "{enrolment}");
        let totp = Builder::new().with_secret(Secret::try_from_base32(&secret).unwrap()).build().unwrap();
        Self { secret, totp }
    }

    /// Enrols; gives the recovery codes, too.
    pub async fn enroll(server: &TestServer, token: Option<&str>) -> (Self, Vec<String>) {
        let app = Self::begin(server, token).await;
        let answer = app.confirm(server, token, &app.code(server)).await.expect(200);
        (app, serde_json::from_value(answer["recovery_codes"].clone()).unwrap())
    }

    /// Shows a code to the enrolment.
    pub async fn confirm(&self, server: &TestServer, token: Option<&str>, code: &str) -> Answer {
        server.post("/api/auth/mfa/confirm/", token, &json!({"code": code})).await
    }

    /// What the app shows now.
    pub fn code(&self, server: &TestServer) -> String {
        let now = server.app.clock.now().seconds();
        self.totp.generate(u64::try_from(now).unwrap()).to_string()
    }

    /// What it shows half a minute later: a code nobody has used.
    pub fn next_code(&self, server: &TestServer) -> String {
        server.clock.advance(Duration::from_secs(30));
        self.code(server)
    }

    /// Six digits that are none of the codes of now.
    pub fn wrong_code(&self, server: &TestServer) -> String {
        let now = u64::try_from(server.app.clock.now().seconds()).unwrap();
        let good: Vec<String> = (0..4).map(|i| self.totp.generate(now + 30 * i - 30).to_string()).collect();
        (0..).map(|n| format!("{n:06}")).find(|code| !good.contains(code)).unwrap()
    }
}

/// How the caller's second factor stands.
pub async fn status(server: &TestServer, token: Option<&str>) -> Value {
    server.get("/api/auth/mfa/", token).await.expect(200)
}
