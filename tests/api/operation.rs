//! Health, metrics, headers, shapes of errors, draining.

use serde_json::json;
use uuid::Uuid;

use crate::support::{both_engines, both_engines_with};

#[tokio::test]
async fn a_fresh_server_is_healthy_and_ready() {
    both_engines(async |server| {
        let health = server.get("/health", None).await.expect(200);
        assert_eq!(health["status"], "ok");
        let ready = server.get("/ready", None).await.expect(200);
        assert_eq!(
            ready,
            json!({
                "status": "ready", "dependencies": {"database": "ok", "keystore": "ok", "object_store": "ok"},
                "scanner": {"status": "away"},
            })
        );
    })
    .await;
}

#[tokio::test]
async fn a_server_without_its_database_names_it_and_says_when_to_come_back() {
    both_engines(async |server| {
        server.app.db.close().await;
        let ready = server.get("/ready", None).await.expect(503);
        assert_eq!(
            ready,
            json!({
                "status": "not_ready", "dependencies": {"database": "unavailable", "keystore": "ok", "object_store": "ok"},
                "scanner": {"status": "away"},
            })
        );
        assert_eq!(server.get("/health", None).await.status, 200, "the process lives on");
    })
    .await;
}

#[tokio::test]
async fn paths_work_with_and_without_the_trailing_slash() {
    both_engines(async |server| {
        server.get("/health/", None).await.expect(200);
        server.get("/api/openapi.json", None).await.expect(200);
        server.get("/ready/?x=1", None).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn requests_have_ids_and_only_uuids_are_taken_from_callers() {
    both_engines(async |server| {
        let ask = async |id: Option<&str>| {
            let mut request = server.client.get(format!("{}/api/nowhere/", server.url));
            if let Some(id) = id {
                request = request.header("x-request-id", id);
            }
            let answer = crate::support::http::Answer::of(request.send().await.unwrap()).await;
            assert_eq!(answer.header("x-request-id"), answer.body["request_id"].as_str());
            answer.body["request_id"].as_str().unwrap().to_owned()
        };
        let mine = "0197f6a2-0000-7000-8000-000000000001";
        assert_eq!(ask(Some(mine)).await, mine);
        let made = ask(Some("<script>")).await;
        assert_eq!(Uuid::parse_str(&made).unwrap().get_version_num(), 7);
        assert_ne!(ask(None).await, made);
    })
    .await;
}

#[tokio::test]
async fn wrong_paths_and_methods_get_the_error_shape_in_the_callers_language() {
    both_engines(async |server| {
        server.get("/nowhere", None).await.expect_error(404, "not_found");
        let wrong = server.delete("/health", None).await;
        assert_eq!(wrong.header("allow"), Some("GET,HEAD"));
        wrong.expect_error(405, "method_not_allowed");
        let spanish = server
            .client
            .get(format!("{}/nowhere", server.url))
            .header("accept-language", "es-MX, en;q=0.5")
            .send()
            .await
            .unwrap();
        let spanish = crate::support::http::Answer::of(spanish).await;
        assert_eq!(spanish.body["message"], "Aquí no hay nada, o no es suyo.");
    })
    .await;
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    both_engines(async |server| {
        for path in ["/health", "/nowhere", "/api/docs/", "/api/openapi.json"] {
            let answer = server.get(path, None).await;
            for header in ["content-security-policy", "strict-transport-security", "x-request-id"] {
                assert!(answer.header(header).is_some(), "{path}: {header}");
            }
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
            assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn only_configured_origins_may_call_from_a_page() {
    let origin = "https://app.clinic.example";
    let preflight = async |server: &crate::support::TestServer| {
        server
            .client
            .request(reqwest::Method::OPTIONS, format!("{}/api/me/", server.url))
            .header("origin", origin)
            .header("access-control-request-method", "GET")
            .send()
            .await
            .unwrap()
            .headers()
            .get("access-control-allow-origin")
            .map(|value| value.to_str().unwrap().to_owned())
    };
    both_engines(async |server| assert_eq!(preflight(server).await, None)).await;
    both_engines_with(
        |config| config.server.allowed_origins = vec![origin.to_owned()],
        async |server| assert_eq!(preflight(server).await.as_deref(), Some(origin)),
    )
    .await;
}

#[tokio::test]
async fn metrics_name_routes_and_never_paths() {
    both_engines(async |server| {
        let secret = "0197f6a2-dead-7000-8000-000000000001";
        server.get(&format!("/api/keys/{secret}/1/?secret={secret}"), None).await;
        server.get("/health", None).await.expect(200);
        let metrics = server.metrics().await;
        assert!(metrics.contains("sigilo_http_request_duration_seconds_bucket{"), "{metrics}");
        assert!(metrics.contains(r#"route="/health""#), "{metrics}");
        assert!(!metrics.contains(secret), "an id of a path is in the metrics");
    })
    .await;
}

#[tokio::test]
async fn the_page_and_the_description_are_served() {
    both_engines(async |server| {
        let page = server.get("/api/docs/", None).await;
        assert_eq!(page.status, 200);
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'; script-src 'self'; "), "{policy}");
        assert!(!page.body.as_str().unwrap().contains("<script>"), "a script the policy refuses");
        server.get("/api/docs/swagger-ui-bundle.js", None).await.expect(200);
        assert!(page.body.as_str().unwrap().contains("swagger-ui"));
        let description = server.get("/api/openapi.json", None).await.expect(200);
        assert_eq!(description["openapi"], "3.1.0");
    })
    .await;
}
