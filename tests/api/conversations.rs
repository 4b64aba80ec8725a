//! Who may start a conversation, and what its members see.

use std::collections::HashSet;

use serde_json::{Value, json};
use sigilo::{auth, conversations, execute, fetch_all, policy::SendMessage, storage::crypter::Place};
use sigilo_wire::{ConversationId, RequestId, Role, UserId};

use crate::support::{
    TestServer, both_engines,
    cast::{Cast, join, revoke_between},
    clinic::{PASSWORD, Person},
    http::Answer,
};

const PATH: &str = "/api/chat/conversations/";

fn direct(with: UserId) -> Value {
    json!({"type": "direct", "participants": [with]})
}

async fn start(server: &TestServer, who: &Person, body: &Value) -> Answer {
    server.post(PATH, who.token(), body).await
}

async fn start_with_key(server: &TestServer, who: &Person, key: &str, body: &Value) -> Answer {
    server.post_with_key(PATH, who.token(), key, body).await
}

/// A direct conversation between two people, made by the first.
async fn started(server: &TestServer, who: &Person, with: &Person) -> ConversationId {
    let body = start(server, who, &direct(with.tokens.user_id)).await.expect(201);
    serde_json::from_value(body["id"].clone()).unwrap()
}

fn ids(list: &Value) -> Vec<String> {
    list["results"].as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
}

/// The decision on a send, with the version of the facts it was made on.
async fn decide_send(
    server: &TestServer,
    who: &Person,
    conversation: ConversationId,
) -> sigilo::Result<sigilo::policy::Grant<SendMessage>> {
    let request = RequestId::new(server.app.clock.now(), [0; 10]);
    let ctx = auth::authenticate(&server.app, &who.tokens.access_token, request, None).await?;
    // As on a node that has kept nothing; what is kept too long the writer refuses.
    server.app.snapshots.forget(conversation);
    conversations::authorize_send(&server.app, &ctx, conversation).await.map(|(grant, _)| grant)
}

#[tokio::test]
async fn a_patient_without_an_appointment_is_refused_and_told_why() {
    both_engines(async |server| {
        let cast = Cast::create(server, "demo").await;
        for (who, with) in [
            (&cast.ana, &cast.jorge),
            (&cast.jorge, &cast.ana),
            // The appointment was cancelled.
            (&cast.luis, &cast.maria),
            (&cast.maria, &cast.luis),
        ] {
            let answer = start(server, who, &direct(with.tokens.user_id)).await;
            assert_eq!(answer.body["policies"], json!(["medical-relationship"]));
            let details = answer.expect_error(403, "conversation_not_allowed");
            assert_eq!(details["reason"], "no_medical_relationship");
            assert_eq!(details["target_user_id"], json!(with.tokens.user_id));
            assert!(details["suggestion"].as_str().unwrap().contains("appointment"));
        }
        let answer = start(server, &cast.ana, &direct(cast.luis.tokens.user_id)).await;
        assert_eq!(answer.expect_error(403, "conversation_not_allowed")["reason"], "patients_apart");
        started(server, &cast.ana, &cast.maria).await;
        started(server, &cast.maria, &cast.jorge).await;
        started(server, &cast.luis, &cast.jorge).await;
    })
    .await;
}

#[tokio::test]
async fn a_denial_is_in_the_audit_log_with_its_policies() {
    both_engines(async |server| {
        let cast = Cast::create(server, "demo").await;
        start(server, &cast.ana, &direct(cast.jorge.tokens.user_id)).await.expect_error(403, "conversation_not_allowed");
        started(server, &cast.ana, &cast.maria).await;
        let mut tx = server.app.db.read("test").await.unwrap();
        let sql = "SELECT outcome, canonical, patient_id FROM audit_entries WHERE act = 'start_conversation' ORDER BY seq";
        let rows: Vec<(String, Vec<u8>, Option<UserId>)> =
            fetch_all!(&mut tx, (String, Vec<u8>, Option<UserId>), sql).unwrap();
        let seen: Vec<(&str, String)> = rows
            .iter()
            .map(|(outcome, canonical, patient)| {
                assert_eq!(*patient, Some(cast.ana.tokens.user_id));
                let entry: Value = serde_json::from_slice(canonical).unwrap();
                (outcome.as_str(), entry["policies"].to_string())
            })
            .collect();
        let expected =
            [("denied", r#"["medical-relationship"]"#), ("allowed", r#"["patient-to-clinician"]"#)];
        assert_eq!(seen, expected.map(|(outcome, policies)| (outcome, policies.to_owned())));
    })
    .await;
}

#[tokio::test]
async fn a_pair_has_one_direct_conversation() {
    both_engines(async |server| {
        let cast = Cast::create(server, "demo").await;
        let (from_ana, from_maria) = (direct(cast.maria.tokens.user_id), direct(cast.ana.tokens.user_id));
        // Both sides, many times at once.
        let tries = (0..8).flat_map(|_| [(&cast.ana, &from_ana), (&cast.maria, &from_maria)]);
        let answers = futures_util::future::join_all(tries.map(|(who, body)| start(server, who, body))).await;
        let made = answers.iter().filter(|answer| answer.status == 201).count();
        let found: HashSet<&str> =
            answers.iter().map(|answer| answer.body["id"].as_str().expect("an id")).collect();
        assert_eq!((made, found.len()), (1, 1), "{:?}", answers.iter().map(|a| a.status).collect::<Vec<_>>());
        let again = start(server, &cast.ana, &from_ana).await.expect(200);
        assert_eq!(again["participants"].as_array().unwrap().len(), 2);
        assert_eq!(again["type"], "direct");
        assert_eq!(again["status"], "active");
        // Consultations may be several.
        let consultation = json!({"type": "consultation", "participants": [cast.maria.tokens.user_id]});
        let first = start(server, &cast.ana, &consultation).await.expect(201);
        let second = start(server, &cast.ana, &consultation).await.expect(201);
        assert_ne!(first["id"], second["id"]);
        // Settings are the starter's own from the first moment, and what a pair has stays as it is.
        let quiet = json!({"notifications_enabled": false, "archived": true});
        let with_settings = |body: &Value| {
            let mut body = body.clone();
            body["settings"] = quiet.clone();
            body
        };
        let third = start(server, &cast.ana, &with_settings(&consultation)).await.expect(201);
        assert_eq!(third["settings"], quiet);
        let path = format!("{PATH}{}/", third["id"].as_str().unwrap());
        let hers = server.get(&path, cast.maria.token()).await.expect(200);
        assert_eq!(hers["settings"], json!({"notifications_enabled": true, "archived": false}));
        let kept = start(server, &cast.ana, &with_settings(&from_ana)).await.expect(200);
        assert_eq!(kept["settings"], again["settings"]);
    })
    .await;
}

#[tokio::test]
async fn a_consultation_takes_clinicians_who_all_treat_the_patient() {
    both_engines(async |server| {
        let cast = Cast::create(server, "demo").await;
        let (ana, luis) = (cast.ana.tokens.user_id, cast.luis.tokens.user_id);
        let (maria, jorge) = (cast.maria.tokens.user_id, cast.jorge.tokens.user_id);
        let wanted = |people: &[UserId]| json!({"type": "consultation", "participants": people});
        // Jorge does not treat Ana.
        let answer = start(server, &cast.maria, &wanted(&[ana, jorge])).await;
        assert_eq!(answer.expect_error(403, "conversation_not_allowed")["reason"], "no_medical_relationship");
        let answer = start(server, &cast.maria, &wanted(&[ana, luis])).await;
        assert_eq!(answer.expect_error(403, "conversation_not_allowed")["reason"], "patients_apart");
        let body = json!({"type": "consultation", "participants": [maria],
            "metadata": {"consultation_type": "follow_up", "priority": "high"}});
        let made = start(server, &cast.jorge, &body).await.expect(201);
        assert_eq!(made["metadata"]["consultation_type"], "follow_up");
        assert_eq!(made["metadata"]["priority"], "high");
    })
    .await;
}

#[tokio::test]
async fn clinic_staff_stay_out_of_clinical_conversations() {
    both_engines(async |server| {
        let cast = Cast::create(server, "demo").await;
        let staff = cast.clinic.person(server, Role::Admin, "staff@demo.example").await;
        for (who, with) in [(&staff, &cast.ana), (&cast.ana, &staff)] {
            let answer = start(server, who, &direct(with.tokens.user_id)).await;
            let details = answer.expect_error(403, "conversation_not_allowed");
            assert_eq!(details["reason"], "admin_administrative_only");
        }
        let id = started(server, &staff, &cast.maria).await;
        // Not a participant: there is nothing.
        let other = started(server, &cast.ana, &cast.maria).await;
        server.get(&format!("{PATH}{other}/"), staff.token()).await.expect_error(404, "not_found");
        server.get(&format!("{PATH}{id}/"), staff.token()).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_repeated_key_gets_the_first_answer() {
    both_engines(async |server| {
        let cast = Cast::create(server, "demo").await;
        let body = json!({"type": "consultation", "participants": [cast.maria.tokens.user_id]});
        let tries = (0..6).map(|_| start_with_key(server, &cast.ana, "key-1", &body));
        let answers = futures_util::future::join_all(tries).await;
        for answer in &answers {
            assert_eq!((answer.status, &answer.body), (201, &answers[0].body));
        }
        let other = json!({"type": "consultation", "participants": [cast.maria.tokens.user_id],
            "metadata": {"consultation_type": "other"}});
        start_with_key(server, &cast.ana, "key-1", &other).await.expect_error(409, "idempotency_conflict");
        // Another person's key is another key.
        let hers = json!({"type": "consultation", "participants": [cast.ana.tokens.user_id]});
        let theirs = start_with_key(server, &cast.maria, "key-1", &hers).await.expect(201);
        assert_ne!(theirs["id"], answers[0].body["id"]);
        start_with_key(server, &cast.ana, "a b", &body).await.expect_error(400, "invalid_field");
        let list = server.get(PATH, cast.ana.token()).await.expect(200);
        assert_eq!(ids(&list).len(), 2, "one by each person");
    })
    .await;
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day_and_stored_without_names() {
    both_engines(async |server| {
        let cast = Cast::create(server, "demo").await;
        let body = json!({"type": "consultation", "participants": [cast.maria.tokens.user_id]});
        let first = start_with_key(server, &cast.ana, "key-1", &body).await.expect(201);
        let mut tx = server.app.db.read("test").await.unwrap();
        let stored: Vec<(Vec<u8>,)> =
            fetch_all!(&mut tx, (Vec<u8>,), "SELECT answer_enc FROM idempotency_keys").unwrap();
        drop(tx);
        assert_eq!(stored.len(), 1);
        assert!(!stored[0].0.windows(5).any(|window| window == "López".as_bytes().get(..5).unwrap()));
        server.clock.advance(std::time::Duration::from_secs(25 * 3600));
        let renewed = cast.clinic.login(server, &cast.ana.email, PASSWORD, json!(null)).await.expect(200);
        let request = server.client.post(format!("{}{PATH}", server.url)).json(&body);
        let request = request.bearer_auth(renewed["access_token"].as_str().unwrap());
        let second =
            Answer::of(request.header("idempotency-key", "key-1").send().await.unwrap()).await.expect(201);
        assert_ne!(first["id"], second["id"]);
    })
    .await;
}

#[tokio::test]
async fn other_clinics_do_not_exist() {
    both_engines(async |server| {
        let (here, there) = (Cast::create(server, "here").await, Cast::create(server, "there").await);
        let stranger = direct(there.maria.tokens.user_id);
        start(server, &here.ana, &stranger).await.expect_error(404, "not_found");
        start(server, &here.ana, &direct(UserId::from_bytes([7; 16]))).await.expect_error(404, "not_found");
        let theirs = started(server, &there.ana, &there.maria).await;
        for path in [format!("{PATH}{theirs}/"), format!("{PATH}{theirs}/seals/")] {
            server.get(&path, here.ana.token()).await.expect_error(404, "not_found");
            server.get(&path, None).await.expect_error(401, "unauthenticated");
        }
        let with = format!("{PATH}?with_user={}", there.maria.tokens.user_id);
        let list = server.get(&with, here.ana.token()).await.expect(200);
        assert_eq!(list, json!({"results": [], "next_cursor": null, "has_more": false}));
        let contacts = server.get("/api/chat/contacts/", here.maria.token()).await.expect(200);
        let text = contacts.to_string();
        assert!(!text.contains(&there.jorge.tokens.user_id.to_string()), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_list_of_participants_that_makes_no_sense_is_refused() {
    both_engines(async |server| {
        let cast = Cast::create(server, "demo").await;
        let (ana, maria) = (cast.ana.tokens.user_id, cast.maria.tokens.user_id);
        for (people, problem) in [
            (json!([]), "at least one"),
            (json!([ana]), "anyway"),
            (json!([maria, maria]), "once"),
            (json!([maria, cast.jorge.tokens.user_id]), "exactly one"),
        ] {
            let body = json!({"type": "direct", "participants": people});
            let details = start(server, &cast.ana, &body).await.expect_error(400, "invalid_field");
            assert_eq!(details["field"], "participants");
            assert!(details["problem"].as_str().unwrap().contains(problem), "{details}");
        }
        let many: Vec<UserId> = (0..50).map(|n| UserId::from_bytes([n; 16])).collect();
        let body = json!({"type": "consultation", "participants": many});
        start(server, &cast.ana, &body).await.expect_error(400, "invalid_field");
        let body = json!({"type": "direct", "participants": [maria], "title": "Presión"});
        let details = start(server, &cast.ana, &body).await.expect_error(400, "unknown_field");
        assert_eq!(details["field"], "title");
        for metadata in
            [json!({"consultation_type": "Dolor de pecho"}), json!({"related_appointment_id": maria})]
        {
            let body = json!({"type": "direct", "participants": [maria], "metadata": metadata});
            start(server, &cast.ana, &body).await.expect_error(400, "invalid_field");
        }
        let list = server.get(PATH, cast.ana.token()).await.expect(200);
        assert!(ids(&list).is_empty(), "nothing is half-written");
    })
    .await;
}

#[tokio::test]
async fn the_list_is_paged_and_filtered() {
    both_engines(async |server| {
        let cast = Cast::create(server, "demo").await;
        let maria = &cast.maria;
        let mut made = vec![started(server, maria, &cast.jorge).await.to_string()];
        made.push(started(server, maria, &cast.ana).await.to_string());
        for _ in 0..3 {
            let body = json!({"type": "consultation", "participants": [cast.ana.tokens.user_id]});
            let body = start(server, maria, &body).await.expect(201);
            made.push(body["id"].as_str().unwrap().to_owned());
        }
        let get = async |query: &str| server.get(&format!("{PATH}?{query}"), maria.token()).await.expect(200);
        let newest: Vec<String> = made.iter().rev().cloned().collect();
        assert_eq!(ids(&get("").await), newest);
        assert_eq!(ids(&get("ordering=updated_at").await), made);
        for ordering in ["-updated_at", "updated_at"] {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = get(&format!("page_size=2&ordering={ordering}{cursor}")).await;
                seen.extend(ids(&page));
                let Some(next) = page["next_cursor"].as_str() else { break };
                assert_eq!(page["has_more"], true);
                cursor = format!("&cursor={next}");
            }
            assert_eq!(seen, if ordering == "updated_at" { made.clone() } else { newest.clone() });
        }
        assert_eq!(ids(&get("page=2&page_size=2").await), newest[2..4]);
        assert_eq!(ids(&get("type=consultation").await), newest[..3]);
        let with_jorge = format!("with_user={}", cast.jorge.tokens.user_id);
        assert_eq!(ids(&get(&with_jorge).await), made[..1]);
        let since = get("ordering=updated_at").await["results"][3]["updated_at"].as_str().unwrap().to_owned();
        assert_eq!(ids(&get(&format!("updated_since={since}")).await), newest[..2]);
        let refused = async |query: &str, code: &str| {
            server.get(&format!("{PATH}?{query}"), maria.token()).await.expect_error(400, code)
        };
        for field in ["search", "title", "description", "tags"] {
            assert_eq!(refused(&format!("{field}=x"), "encrypted_field").await["field"], field);
        }
        assert_eq!(refused("colour=x", "unknown_field").await["field"], "query.colour");
        for query in
            ["page_size=0", "page_size=101", "page=0", "page=101", "cursor=x", "ordering=name", "type=circle"]
        {
            refused(query, "invalid_field").await;
        }
    })
    .await;
}

#[tokio::test]
async fn contacts_are_whom_the_rules_allow_and_say_why() {
    both_engines(async |server| {
        let cast = Cast::create(server, "demo").await;
        let staff = cast.clinic.person(server, Role::Admin, "staff@demo.example").await;
        let get = async |who: &Person, query: &str| {
            let list = server.get(&format!("/api/chat/contacts/?{query}"), who.token()).await.expect(200);
            let mut found: Vec<(String, String)> = list["results"]
                .as_array()
                .unwrap()
                .iter()
                .map(|c| (c["name"].as_str().unwrap().to_owned(), c["why"][0].as_str().unwrap().to_owned()))
                .collect();
            found.sort();
            found
        };
        let pair = |name: &str, why: &str| (name.to_owned(), why.to_owned());
        assert_eq!(get(&cast.ana, "").await, [pair("Dra. María Martínez", "patient-to-clinician")]);
        assert_eq!(get(&cast.luis, "").await, [pair("Dr. Jorge Ramírez", "patient-to-clinician")]);
        let hers = [
            pair("Ana López", "clinician-to-patient"),
            pair("Dr. Jorge Ramírez", "staff-to-staff"),
            pair("Luis Pérez", "staff-to-staff"),
        ];
        // The clinic's administrator is called Luis Pérez, too.
        assert_eq!(get(&cast.maria, "").await, hers);
        assert_eq!(get(&cast.maria, "role=patient").await, hers[..1]);
        assert_eq!(get(&cast.maria, "q=RAM%C3%8DR").await, hers[1..2]);
        assert!(get(&cast.maria, "q=nobody").await.is_empty());
        assert_eq!(get(&cast.maria, "q=ramirez").await, hers[1..2]);
        let patients = [pair("Ana López", "admin-to-anyone"), pair("Luis Pérez", "admin-to-anyone")];
        assert_eq!(get(&staff, "role=patient").await, patients);
        let list = server.get("/api/chat/contacts/?q=ana", staff.token()).await.expect(200);
        assert_eq!(list["results"][0]["types"], json!(["administrative"]), "and nothing else");
        let list = server.get("/api/chat/contacts/?q=ana", cast.maria.token()).await.expect(200);
        assert_eq!(list["results"][0]["types"], json!(["direct", "consultation", "group"]));
        let list = server.get("/api/chat/contacts/", cast.ana.token()).await.expect(200);
        assert_eq!(list["results"][0]["types"], json!(["direct", "consultation"]));
        let first = server.get("/api/chat/contacts/?page_size=2", cast.maria.token()).await.expect(200);
        let next =
            format!("/api/chat/contacts/?page_size=2&cursor={}", first["next_cursor"].as_str().unwrap());
        let second = server.get(&next, cast.maria.token()).await.expect(200);
        assert_eq!(second["results"].as_array().unwrap().len(), 1);
        assert_eq!(second["has_more"], false);
        let by_number = server.get("/api/chat/contacts/?page_size=2&page=2", cast.maria.token()).await;
        assert_eq!(by_number.expect(200), second);
        assert_eq!(
            server.get("/api/chat/contacts/", cast.ana.token()).await.expect(200)["results"][0]["speciality"],
            "Cardiología"
        );
        server.get("/api/chat/contacts/?cursor=x", cast.ana.token()).await.expect_error(400, "invalid_field");
        server.get("/api/chat/contacts/", None).await.expect_error(401, "unauthenticated");
    })
    .await;
}

#[tokio::test]
async fn a_search_for_a_name_looks_at_so_many_people_and_goes_on_from_there() {
    both_engines(async |server| {
        let cast = Cast::create(server, "demo").await;
        let mut tx = server.app.db.begin("test").await.unwrap();
        let sql = "INSERT INTO users (user_id, tenant_id, role, status, full_name_enc, created_at)
            VALUES ($1, $2, 'doctor', 'active', $3, $4)";
        let now = server.app.clock.now();
        for n in 0..2_500u16 {
            let user = UserId::new(now, [[0; 8].as_slice(), &n.to_be_bytes()].concat().try_into().unwrap());
            let place = Place { table: "users", row: user.as_bytes(), column: "full_name_enc" };
            let name = if n == 2_400 { "Dra. Zoé Última" } else { "Dr. Otro" };
            let name = server.app.crypter.encrypt(place, name.as_bytes(), &*server.app.entropy).unwrap();
            execute!(&mut tx, sql, user, cast.clinic.id, name, now).unwrap();
        }
        tx.commit().await.unwrap();
        let page = async |cursor: &str| {
            let path = format!("/api/chat/contacts/?q=ultima{cursor}");
            server.get(&path, cast.maria.token()).await.expect(200)
        };
        let first = page("").await;
        assert_eq!((&first["results"], &first["has_more"]), (&json!([]), &json!(true)));
        let second = page(&format!("&cursor={}", first["next_cursor"].as_str().unwrap())).await;
        assert_eq!(second["results"][0]["name"], "Dra. Zoé Última");
        assert_eq!((&second["next_cursor"], &second["has_more"]), (&json!(null), &json!(false)));
    })
    .await;
}

#[tokio::test]
async fn somebody_without_an_account_cannot_be_written_to() {
    both_engines(async |server| {
        let cast = Cast::create(server, "demo").await;
        let file = "appointment_id,status,patient_id,patient_name,clinician_id,clinician_name\n\
                    A-9,booked,P-rosa,Rosa Hernández,D-maria,Dra. María Martínez\n";
        crate::support::cast::import(server, &cast.clinic, file).await;
        let rosa = crate::support::cast::relationships_of(server, &cast.clinic)
            .await
            .into_iter()
            .find(|relationship| relationship.patient_name == "Rosa Hernández")
            .expect("the import made a relationship")
            .patient_id;
        let answer = start(server, &cast.maria, &direct(rosa)).await;
        assert_eq!(answer.expect_error(403, "conversation_not_allowed")["reason"], "recipient_inactive");
        let identifier = Some(("urn:sigilo:patient".to_owned(), "P-rosa".to_owned()));
        let joined = join(server, &cast.clinic, Role::Patient, "rosa@demo.example", identifier).await;
        assert_eq!(joined.tokens.user_id, rosa, "the invitation attaches the account to the imported person");
        started(server, &cast.maria, &joined).await;
    })
    .await;
}

#[tokio::test]
async fn a_revoked_relationship_stops_new_messages_at_once_and_history_stays() {
    both_engines(async |server| {
        let cast = Cast::create(server, "demo").await;
        let id = started(server, &cast.ana, &cast.maria).await;
        let before = decide_send(server, &cast.ana, id).await.unwrap();
        assert_eq!(before.basis().policies.as_ref(), ["members-send"]);
        revoke_between(server, &cast.clinic, &cast.ana, &cast.maria).await;
        for who in [&cast.ana, &cast.maria] {
            let error = decide_send(server, who, id).await.unwrap_err();
            assert_eq!(error.code().as_str(), "message_not_allowed");
            assert_eq!(error.details()["reason"], "no_medical_relationship");
            assert_eq!(error.policies(), ["medical-relationship"]);
            server.get(&format!("{PATH}{id}/"), who.token()).await.expect(200);
        }
        start(server, &cast.ana, &direct(cast.maria.tokens.user_id))
            .await
            .expect_error(403, "conversation_not_allowed");
        // A new appointment: care again. The grant of before stays stale for good.
        let file = "appointment_id,status,patient_id,patient_name,clinician_id,clinician_name\n\
                    A-7,booked,P-ana,Ana López,D-maria,Dra. María Martínez\n";
        crate::support::cast::import(server, &cast.clinic, file).await;
        let after = decide_send(server, &cast.ana, id).await.unwrap();
        assert!(after.resource().facts_version > before.resource().facts_version);
    })
    .await;
}

#[tokio::test]
async fn a_session_lists_but_sees_no_content() {
    both_engines(async |server| {
        let cast = Cast::create(server, "demo").await;
        let id = started(server, &cast.ana, &cast.maria).await;
        let tokens = cast.clinic.login(server, &cast.ana.email, PASSWORD, json!(null)).await.expect(200);
        let session = tokens["access_token"].as_str();
        let list = server.get(PATH, session).await.expect(200);
        assert_eq!(ids(&list), [id.to_string()]);
        let answer = server.get(&format!("{PATH}{id}/"), session).await;
        assert_eq!(answer.body["policies"], json!(["session-device"]));
        assert_eq!(answer.expect_error(403, "forbidden")["reason"], "session_device");
    })
    .await;
}

#[tokio::test]
async fn members_devices_hear_of_a_new_conversation_without_names() {
    both_engines(async |server| {
        let cast = Cast::create(server, "demo").await;
        let id = started(server, &cast.ana, &cast.maria).await;
        let events = server.get("/api/chat/events/", cast.maria.token()).await.expect(200);
        let event = events["results"]
            .as_array()
            .unwrap()
            .iter()
            .find(|event| event["type"] == "conversation_updated")
            .expect("the clinician's device is told");
        assert_eq!(event["conversation_id"], json!(id));
        assert_eq!(event["data"], json!({"conversation_id": id, "change": "created"}));
        assert_eq!(event["sender_id"], json!(cast.ana.tokens.user_id));
        // The device that did it knows.
        let own = server.get("/api/chat/events/", cast.ana.token()).await.expect(200);
        assert!(own["results"].as_array().unwrap().is_empty(), "{own}");
    })
    .await;
}
