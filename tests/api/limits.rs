//! How often somebody may do something.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sigilo::{config::Config, fetch_all};
use sigilo_wire::{Role, Timestamp};

use crate::support::{
    TestServer, both_engines_with,
    clinic::{Clinic, PASSWORD},
    http::Answer,
};

const ANA: &str = "ana@clinic.example";
const NOBODY: &str = "nobody@clinic.example";
const WRONG: &str = "wrong horse battery";
const HERE: &str = "192.0.2.7";
const ELSEWHERE: &str = "192.0.2.8";

/// The limits as they are where nobody has set others, and a proxy that says where callers are.
fn as_shipped(config: &mut Config) {
    config.limits = sigilo::config::Limits::default();
    config.server.behind_proxy = true;
}

async fn post_from(server: &TestServer, address: &str, path: &str, body: &Value) -> Answer {
    let request = server.client.post(format!("{}{path}", server.url)).header("x-forwarded-for", address);
    Answer::of(request.json(body).send().await.unwrap()).await
}

async fn log_in(server: &TestServer, address: &str, clinic: &str, email: &str, password: &str) -> Answer {
    let body = json!({"clinic": clinic, "email": email, "password": password});
    post_from(server, address, "/api/auth/login/", &body).await
}

/// How many of these were compared with a password, and how many were refused before.
fn counted(answers: &[Answer]) -> (usize, usize) {
    let with = |code: &str| answers.iter().filter(|answer| answer.body["error"] == code).count();
    (with("invalid_credentials"), with("rate_limited"))
}

#[tokio::test]
async fn guesses_at_a_password_are_few_and_the_right_one_comes_no_sooner() {
    both_engines_with(as_shipped, async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        clinic.person(server, Role::Patient, ANA).await;
        let guess = || log_in(server, HERE, "ejemplo", ANA, WRONG);
        assert_eq!(counted(&join_all((0..12).map(|_| guess())).await), (5, 7));

        let refused = log_in(server, HERE, "ejemplo", ANA, PASSWORD).await;
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((100..=180).contains(&seconds), "one more every three minutes, not after {seconds} s");
        let details = refused.expect_error(429, "rate_limited");
        assert_eq!((&details["limit"], &details["remaining"]), (&json!(5), &json!(0)));
        let reset_at: Timestamp = details["reset_at"].as_str().unwrap().parse().unwrap();
        let wait = reset_at.since(server.app.clock.now()).as_secs();
        assert!((90..=180).contains(&wait), "{details}");
        assert_eq!(details["retry_after_s"], json!(seconds));

        // Another name of the same clinic, another spelling of the address: the same account.
        let same = log_in(server, HERE, &clinic.id.to_string(), " ANA@Clinic.Example ", PASSWORD).await;
        same.expect_error(429, "rate_limited");
        // She is not locked out where she is.
        log_in(server, ELSEWHERE, "ejemplo", ANA, PASSWORD).await.expect(200);

        server.clock.advance(Duration::from_mins(4));
        log_in(server, HERE, "ejemplo", ANA, PASSWORD).await.expect(200);
        log_in(server, HERE, "ejemplo", ANA, PASSWORD).await.expect_error(429, "rate_limited");
    })
    .await;
}

#[tokio::test]
async fn an_account_that_is_not_there_is_limited_like_one_that_is() {
    both_engines_with(as_shipped, async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        clinic.person(server, Role::Patient, ANA).await;
        let mut told = Vec::new();
        for (clinic, email) in [("ejemplo", ANA), ("ejemplo", NOBODY), ("nowhere", ANA), ("nowhere", NOBODY)]
        {
            let mut answers = Vec::new();
            for _ in 0..7 {
                answers.push(log_in(server, HERE, clinic, email, WRONG).await);
            }
            assert_eq!(counted(&answers), (5, 2), "{clinic} {email}");
            let last = answers.pop().unwrap();
            let mut names: Vec<_> = last.headers.keys().map(|name| name.as_str().to_owned()).collect();
            names.sort();
            let mut body = last.body.clone();
            for volatile in ["reset_at", "retry_after_s"] {
                assert!(body["details"][volatile].take() != Value::Null);
            }
            body["message"].take();
            body["request_id"].take();
            told.push((last.status, names, body));
        }
        assert!(told.windows(2).all(|two| two[0] == two[1]), "{told:?}");
    })
    .await;
}

#[tokio::test]
async fn an_account_is_not_guessed_at_from_everywhere_either() {
    let settings = |config: &mut Config| {
        as_shipped(config);
        config.limits.logins_per_account = 8;
    };
    both_engines_with(settings, async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        clinic.person(server, Role::Patient, ANA).await;
        let from: Vec<String> = (1..=12).map(|n| format!("198.51.100.{n}")).collect();
        let answers = join_all(from.iter().map(|from| log_in(server, from, "ejemplo", ANA, WRONG))).await;
        assert_eq!(counted(&answers), (8, 4));
        let other = log_in(server, "198.51.100.1", "ejemplo", NOBODY, WRONG).await;
        other.expect_error(401, "invalid_credentials");
    })
    .await;
}

#[tokio::test]
async fn an_address_shows_few_secrets_of_any_kind() {
    let settings = |config: &mut Config| {
        as_shipped(config);
        config.limits.logins_per_address = 6;
    };
    both_engines_with(settings, async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let invitation = clinic.invite(server, Role::Patient, ANA).await;
        for n in 0..3 {
            let email = format!("somebody{n}@clinic.example");
            let answer = log_in(server, HERE, "ejemplo", &email, WRONG).await;
            answer.expect_error(401, "invalid_credentials");
        }
        let device = json!({"kind": "messaging", "name": "phone"});
        let activate =
            |code: &str| json!({"clinic": "ejemplo", "code": code, "password": PASSWORD, "device": device});
        let reset = json!({"clinic": "ejemplo", "code": "guess", "new_password": PASSWORD});
        let claim = json!({"claim": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "name": "phone"});
        let links = "/api/devices/link/0198c0de-0000-7000-8000-000000000000/claim/";
        let from = async |address, path, body: &Value| post_from(server, address, path, body).await;
        let path = "/api/auth/activate/";
        from(HERE, path, &activate("guess")).await.expect_error(401, "invalid_invitation");
        from(HERE, "/api/auth/password/reset/", &reset).await.expect_error(401, "invalid_reset");
        from(HERE, links, &claim).await.expect_error(401, "invalid_link");

        log_in(server, HERE, "ejemplo", ANA, WRONG).await.expect_error(429, "rate_limited");
        from(HERE, path, &activate(&invitation.code)).await.expect_error(429, "rate_limited");
        from(HERE, "/api/auth/password/reset/", &reset).await.expect_error(429, "rate_limited");
        from(HERE, links, &claim).await.expect_error(429, "rate_limited");
        // What was refused was not used up, and others are not concerned.
        let answer = from(ELSEWHERE, path, &activate(&invitation.code)).await;
        answer.expect(200);
    })
    .await;
}

#[tokio::test]
async fn everybody_together_makes_the_server_compute_few_slow_hashes() {
    let settings = |config: &mut Config| {
        as_shipped(config);
        config.limits.logins_per_minute = 4;
    };
    both_engines_with(settings, async |server| {
        Clinic::create(server, "ejemplo").await;
        let guesses: Vec<_> =
            (1..=9).map(|n| (format!("198.51.100.{n}"), format!("somebody{n}@clinic.example"))).collect();
        let guess = |(from, email): &(String, String)| {
            let (from, email) = (from.clone(), email.clone());
            async move { log_in(server, &from, "ejemplo", &email, WRONG).await }
        };
        assert_eq!(counted(&join_all(guesses.iter().map(guess)).await), (4, 5));
        server.clock.advance(Duration::from_mins(1));
        assert_eq!(counted(&join_all(guesses.iter().take(2).map(guess)).await), (2, 0));
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_guesses_is_one_entry_of_the_audit_log_and_a_number_in_the_metrics() {
    both_engines_with(as_shipped, async |server| {
        let clinic = Clinic::create(server, "ejemplo").await;
        let ana = clinic.person(server, Role::Patient, ANA).await;
        for _ in 0..9 {
            log_in(server, HERE, "ejemplo", ANA, WRONG).await;
        }
        const ENTRIES: &str =
            "SELECT patient_id, canonical FROM audit_entries WHERE act = 'login' ORDER BY seq";
        let mut tx = server.app.db.read("test").await.unwrap();
        let entries = fetch_all!(&mut tx, (Option<sigilo_wire::UserId>, Vec<u8>), ENTRIES).unwrap();
        let with = |reason: &str| {
            let reason = format!("\"reason\":\"{reason}\"");
            let about = |(patient, entry): &&(Option<sigilo_wire::UserId>, Vec<u8>)| {
                *patient == Some(ana.tokens.user_id) && String::from_utf8_lossy(entry).contains(&reason)
            };
            entries.iter().filter(about).count()
        };
        assert_eq!((with("wrong_password"), with("rate_limited")), (5, 1));
        drop(tx);
        assert!(server.metrics().await.contains("sigilo_limited_total{kind=\"login_pair\"}"));
    })
    .await;
}
