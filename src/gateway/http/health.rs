//! Whether the process lives, and whether it can serve.

use std::collections::BTreeMap;

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{App, Result, app::SharedApp, vault::scan};

/// GET /health
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// Always `ok`: a process that answers lives.
    status: &'static str,
    /// The program's version.
    version: &'static str,
}

/// GET /ready
#[derive(Debug, Serialize, ToSchema)]
struct Ready {
    /// `ready`, `not_ready`, or `stopping`.
    status: &'static str,
    /// What the server needs, by name: `ok` or `unavailable`.
    dependencies: BTreeMap<&'static str, &'static str>,
    /// What looks into files. While it is away the server serves, and files wait.
    scanner: ScannerReady,
}

/// What looks into files.
#[derive(Debug, Serialize, ToSchema)]
struct ScannerReady {
    /// `ok`, or `away`: no scan worker was heard of, or its engine does not answer.
    status: &'static str,
    /// The engine with its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<String>,
    /// The version of its database; empty when it has none of the maker's.
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    /// Whether it knows the maker's signatures. Without them it finds next to nothing: development alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    official_database: Option<bool>,
}

/// Routes of this file.
pub(super) fn routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(ready))
}

/// Whether the process lives.
#[utoipa::path(get, path = "/health", tag = "Operation", security(()),
    responses((status = 200, description = "The process answers.", body = Health)))]
async fn health() -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// Whether the server can serve: each thing it needs, by name.
#[utoipa::path(get, path = "/ready", tag = "Operation", security(()),
    responses((status = 200, description = "Everything needed is there.", body = Ready),
              (status = 503, description = "Something needed is away, or the server is stopping.", body = Ready)))]
async fn ready(State(app): State<SharedApp>) -> (StatusCode, Json<Ready>) {
    let (database, keystore, objects) =
        tokio::join!(app.db.ping(), app.keystore.db().ping(), app.objects.ping());
    let dependencies = BTreeMap::from([
        ("database", state(&database)),
        ("keystore", state(&keystore)),
        ("object_store", state(&objects)),
    ]);
    let scanner = scanner(&app).await;
    let status = if app.shutdown.borrow().is_draining() {
        "stopping"
    } else if dependencies.values().all(|state| *state == "ok") {
        "ready"
    } else {
        "not_ready"
    };
    let code = if status == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Ready { status, dependencies, scanner }))
}

async fn scanner(app: &App) -> ScannerReady {
    match scan::scanner(app, app.clock.now()).await {
        Ok(scan::Scanner { engine: Some(state) }) => ScannerReady {
            status: "ok",
            engine: Some(state.engine),
            database: Some(state.database),
            official_database: Some(state.official),
        },
        // What keeps it from being read shows beside it.
        Ok(scan::Scanner { engine: None }) | Err(_) => {
            ScannerReady { status: "away", engine: None, database: None, official_database: None }
        }
    }
}

const fn state(answer: &Result<()>) -> &'static str {
    match answer {
        Ok(()) => "ok",
        Err(_) => "unavailable",
    }
}
