//! Clinics and their keys.

use serde_json::json;
use sigilo::{
    Error, hours,
    people::{self, RootCard},
};
use sigilo_seal::{RootFingerprint, RootStatement};
use sigilo_wire::Role;

use crate::support::{
    both_engines,
    clinic::{Clinic, ceremony, install, invite, invitee},
};

fn code(error: &Error) -> &'static str {
    error.code().as_str()
}

#[tokio::test]
async fn members_see_the_root_and_what_it_says() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = clinic.person(server, Role::Patient, "ana@clinic.example").await;
        server.get("/api/clinic/", None).await.expect_error(401, "unauthenticated");
        let body = server.get("/api/clinic/", ana.token()).await.expect(200);
        assert_eq!(body["slug"], "ejemplo");
        assert_eq!(body["time_zone"], "America/Mexico_City");
        assert_eq!(body["hours"]["sun"], json!([["00:00", "24:00"]]));
        let seen: sigilo_wire::keys::Clinic = serde_json::from_value(body).unwrap();
        let pin = clinic.ceremony.card.root;
        let root = pin.admit(&seen.root_public_key.unwrap().0).unwrap();
        let mut purposes: Vec<_> = seen
            .root_statements
            .iter()
            .map(|signed| {
                assert!(root.verify(&signed.statement, &signed.signature.0));
                let statement = RootStatement::decode(&signed.statement).unwrap();
                assert_eq!(statement.tenant, clinic.id);
                statement.purpose.as_str()
            })
            .collect();
        purposes.sort_unstable();
        assert_eq!(purposes, ["export", "ledger", "moderation", "receipt", "records", "scanner"]);
    })
    .await;
}

#[tokio::test]
async fn installing_keys_is_idempotent_and_refuses_others() {
    both_engines(async |server| {
        let request = Clinic::request(server, "ejemplo").await;
        let (first, other) = (ceremony(&request, 1), ceremony(&request, 2));
        let foreign = ceremony(&Clinic::request(server, "otra").await, 3);

        let mut mixed = first.clinic_keys.clone();
        mixed.clinic_id = foreign.clinic_keys.clinic_id;
        assert_eq!(code(&install(server, request.clinic_id, &mixed).await.unwrap_err()), "invalid_field");
        // Somebody else's server keys, certified by a true root for this clinic.
        let mut stolen = request.clone();
        let ours = stolen.keys[1].public_key;
        stolen.keys[1].public_key = stolen.keys[0].public_key;
        stolen.keys[0].public_key = ours;
        let refused =
            install(server, request.clinic_id, &ceremony(&stolen, 4).clinic_keys).await.unwrap_err();
        assert_eq!(code(&refused), "invalid_key");
        assert_eq!(refused.details()["key"], json!("ledger"), "{refused}");

        assert!(install(server, request.clinic_id, &first.clinic_keys).await.unwrap().changed);
        assert!(!install(server, request.clinic_id, &first.clinic_keys).await.unwrap().changed);
        let refused = install(server, request.clinic_id, &other.clinic_keys).await.unwrap_err();
        assert_eq!(code(&refused), "already_exists");
    })
    .await;
}

#[tokio::test]
async fn nobody_is_invited_before_keys_are_installed_or_by_a_wrong_card() {
    both_engines(async |server| {
        let request = Clinic::request(server, "ejemplo").await;
        let ceremony = ceremony(&request, 1);
        let ana = invitee(Role::Patient, "ana@clinic.example");
        let early = invite(server, request.clinic_id, &ana, &ceremony.card).await.unwrap_err();
        assert_eq!(code(&early), "clinic_keys_missing");
        install(server, request.clinic_id, &ceremony.clinic_keys).await.unwrap();

        let mut wrong = ceremony.card.root.0;
        wrong[31] ^= 1;
        let card = RootCard { root: RootFingerprint(wrong), ..ceremony.card };
        let refused = invite(server, request.clinic_id, &ana, &card).await.unwrap_err();
        assert_eq!((code(&refused), &refused.details()["key"]), ("invalid_key", &json!("root_card")));
        let other = Clinic::create(server, "otra").await;
        let refused = invite(server, request.clinic_id, &ana, &other.ceremony.card).await.unwrap_err();
        assert_eq!(code(&refused), "invalid_key");

        let invitation = invite(server, request.clinic_id, &ana, &ceremony.card).await.unwrap();
        assert_eq!(invitation.root, ceremony.card.root);
        // The same person, while not active: another invitation. Another role: refused.
        invite(server, request.clinic_id, &ana, &ceremony.card).await.unwrap();
        let doctor = invitee(Role::Doctor, "ana@clinic.example");
        let refused = invite(server, request.clinic_id, &doctor, &ceremony.card).await.unwrap_err();
        assert_eq!(code(&refused), "invalid_field");
    })
    .await;
}

#[tokio::test]
async fn an_active_account_is_not_invited_again() {
    both_engines(async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        clinic.person(server, Role::Patient, "ana@clinic.example").await;
        let again = invitee(Role::Patient, "ANA@clinic.example");
        let refused = invite(server, clinic.id, &again, &clinic.ceremony.card).await.unwrap_err();
        assert_eq!(code(&refused), "already_exists");
    })
    .await;
}

#[tokio::test]
async fn a_slug_names_one_clinic() {
    both_engines(async |server| {
        let request = Clinic::request(server, "ejemplo").await;
        assert_eq!(people::clinic_id(&server.app, "ejemplo").await.unwrap(), request.clinic_id);
        assert_eq!(
            people::clinic_id(&server.app, &request.clinic_id.to_string()).await.unwrap(),
            request.clinic_id
        );
        assert_eq!(code(&people::clinic_id(&server.app, "otra").await.unwrap_err()), "not_found");
        let id = sigilo_wire::TenantId::from_bytes([9; 16]);
        let ctx = sigilo::Ctx::operator(&server.app, id);
        let grant = people::authorize_manage_clinic(&server.app, &ctx).unwrap();
        let new = people::NewClinic {
            name: "Otra".to_owned(),
            slug: "ejemplo".to_owned(),
            time_zone: "Europe/Madrid".to_owned(),
            hours: hours::every_day("08:00-22:00").unwrap(),
            emergency_number: "112".to_owned(),
            second_factor: people::SecondFactorRule::Required,
        };
        let refused = people::create_clinic(&server.app, &ctx, grant, &new).await.unwrap_err();
        assert_eq!(code(&refused), "already_exists");
    })
    .await;
}
