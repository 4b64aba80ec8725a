//! Logs and metrics of the process.
//!
//! Logs hold request ids, route templates, counts and times; no names, addresses, bodies, queries or tokens.

use std::{io::IsTerminal as _, sync::OnceLock};

use axum::{Router, routing::get};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::{
    Error, Result,
    config::{Log, LogFormat},
};

/// Upper bounds of the buckets of every duration, in seconds.
const SECONDS: &[f64] =
    &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Sends log events to stderr. Once a process; later calls change nothing.
///
/// # Errors
/// When the filter does not parse.
pub fn start_logs(config: &Log) -> Result<()> {
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|error| Error::internal(format!("log.filter = {:?}: {error}", config.filter)))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Already set: a test process starts many servers.
    let _ = match config.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).try_init(),
    };
    Ok(())
}

/// The process's metrics; the first call begins to collect them.
///
/// # Errors
/// When another recorder is already installed.
pub fn metrics() -> Result<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let handle = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
                .and_then(PrometheusBuilder::install_recorder)
                .map_err(|error| error.to_string())?;
            describe();
            Ok(handle)
        })
        .as_ref()
        .map_err(Error::internal)
}

fn describe() {
    metrics::describe_histogram!(
        "sigilo_http_request_duration_seconds",
        "Time from a request's headers to its answer, by route template, method and status."
    );
    metrics::describe_counter!("sigilo_transactions_total", "Database transactions begun, by name.");
    metrics::describe_gauge!("sigilo_scans_waiting", "Files that wait for the scan worker.");
    metrics::describe_gauge!(
        "sigilo_scans_oldest_waiting_seconds",
        "For how long the oldest of the files has been there that wait for the scan worker."
    );
    metrics::describe_counter!(
        "sigilo_scan_verdicts_total",
        "Verdicts on files, by result: also those that a newer one had superseded, and those that were not believed."
    );
    metrics::describe_counter!("sigilo_scan_recalls_total", "Files that were given out and are not clean.");
    metrics::describe_counter!(
        "sigilo_scan_put_back_total",
        "Scans that are tried again later because the engine or the blob was out of reach."
    );
    metrics::describe_counter!(
        "sigilo_scan_keys_asked_total",
        "Files whose key is asked for anew, by reason: key_lost or wrong_key."
    );
    metrics::describe_gauge!("sigilo_sockets", "WebSocket connections that are open on this process.");
}

/// Serves `/metrics`, for a listener that is not for the public.
///
/// # Errors
/// As [`metrics()`].
pub fn metrics_router() -> Result<Router> {
    let handle = metrics()?;
    Ok(Router::new().route(
        "/metrics",
        get(async move || {
            handle.run_upkeep();
            ([("content-type", "text/plain; version=0.0.4; charset=utf-8")], handle.render())
        }),
    ))
}
