//! What the audit log says of acts on accounts.

use serde_json::{Value, json};
use sigilo::fetch_all;
use sigilo_wire::{Role, UserId};

use crate::support::{
    both_engines,
    clinic::{Clinic, PASSWORD},
};

const ANA: &str = "ana@clinic.example";

#[tokio::test]
async fn acts_on_an_account_name_the_patient_they_concern() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let phone = clinic.person(server, Role::Patient, ANA).await;
        let maria = clinic.person(server, Role::Doctor, "maria@clinic.example").await;
        clinic
            .login(server, ANA, "wrong horse battery", Value::Null)
            .await
            .expect_error(401, "invalid_credentials");
        let session = clinic.login(server, ANA, PASSWORD, Value::Null).await.expect(200);
        let token = session["access_token"].as_str();
        server.put("/api/me/", token, &json!({"locale": "es-MX"})).await.expect(200);
        let device = format!("/api/devices/{}/", phone.tokens.device.id);
        server.delete(&device, token).await.expect(204);
        let refresh = json!({"refresh_token": session["refresh_token"]});
        let next = server.post("/api/auth/refresh/", None, &refresh).await.expect(200);
        let next = json!({"refresh_token": next["refresh_token"]});
        server.post("/api/auth/refresh/", None, &next).await.expect(200);
        server.post("/api/auth/refresh/", None, &refresh).await.expect_error(401, "token_reused");
        let refresh = json!({"refresh_token": maria.tokens.refresh_token});
        server.post("/api/auth/logout/", None, &refresh).await.expect(204);

        const ACTS: &str =
            "SELECT act, outcome, patient_id FROM audit_entries WHERE act IN ('activate', 'login',
            'update_account', 'revoke_device', 'refresh', 'logout') ORDER BY seq";
        let mut tx = server.app.db.read("test").await.unwrap();
        let acts: Vec<(String, String, Option<UserId>)> =
            fetch_all!(&mut tx, (String, String, Option<UserId>), ACTS).unwrap();
        let her = Some(phone.tokens.user_id);
        let expected = [
            ("activate", "allowed", her),
            ("activate", "allowed", None),
            ("login", "failed", her),
            ("login", "allowed", her),
            ("update_account", "allowed", her),
            ("revoke_device", "allowed", her),
            ("refresh", "failed", her),
            ("logout", "allowed", None),
        ];
        let seen: Vec<_> =
            acts.iter().map(|(act, outcome, who)| (act.as_str(), outcome.as_str(), *who)).collect();
        assert_eq!(seen, expected);
    })
    .await;
}
