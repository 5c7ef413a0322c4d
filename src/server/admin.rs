//! The admin port: liveness, readiness and metrics.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::readiness::{PartState, Readiness};
use crate::telemetry::{Metrics, metrics};

/// The routes of the admin port. They have no TLS and show nothing confidential.
pub fn admin_router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(show_metrics).with_state(metrics))
        .method_not_allowed_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, "only GET is allowed\n"))
        .fallback(async || (StatusCode::NOT_FOUND, "no such path; use /livez, /readyz or /metrics\n"))
}

async fn readyz(State(readiness): State<Readiness>) -> (StatusCode, String) {
    let report = readiness.report();
    let mut text: String = report.iter().map(|part| format!("{part}\n")).collect();
    if report.iter().any(|part| matches!(part.state, PartState::NotReady(_))) {
        text.push_str("readyz check failed\n");
        return (StatusCode::SERVICE_UNAVAILABLE, text);
    }
    text.push_str("readyz check passed\n");
    (StatusCode::OK, text)
}

async fn show_metrics(State(metrics): State<Metrics>) -> Response {
    match metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Method, Request};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::server::readiness::PartReport;

    async fn call(readiness: &Readiness, method: Method, path: &str) -> (StatusCode, String, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = admin_router(readiness.clone(), Metrics::new()).oneshot(request).await.unwrap();
        let status = response.status();
        let content_type = response.headers().get(CONTENT_TYPE).unwrap().to_str().unwrap().to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, content_type, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(readiness: &Readiness, path: &str) -> (StatusCode, String, String) {
        call(readiness, Method::GET, path).await
    }

    #[tokio::test]
    async fn a_program_that_is_not_ready_is_alive() {
        let readiness = Readiness::default();
        let _starting = readiness.part("policy");
        let (status, _, body) = get(&readiness, "/livez").await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "ok\n"));
    }

    #[tokio::test]
    async fn the_program_is_ready_when_every_part_is() {
        let readiness = Readiness::default();
        readiness.part("certificate").ready();
        readiness.part("policy").ready();
        let (status, _, body) = get(&readiness, "/readyz").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(body, "[+]certificate ok\n[+]policy ok\nreadyz check passed\n");
    }

    #[tokio::test]
    async fn a_part_without_a_report_is_starting() {
        let readiness = Readiness::default();
        let _policy = readiness.part("policy");
        let (status, _, body) = get(&readiness, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body, "[-]policy: starting\nreadyz check failed\n");
    }

    #[tokio::test]
    async fn a_part_can_stop_being_ready() {
        let readiness = Readiness::default();
        let part = readiness.part("shutdown");
        part.ready();
        assert_eq!(get(&readiness, "/readyz").await.0, StatusCode::OK);
        part.not_ready("stopping");
        let (status, _, body) = get(&readiness, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.starts_with("[-]shutdown: stopping\n"), "{body}");
    }

    #[tokio::test]
    async fn parts_with_a_callback_are_listed_with_their_current_state() {
        let readiness = Readiness::default();
        let listing = PartReport {
            name: "directory Company.crm.milo.io".into(),
            state: PartState::NotReady("listing".into()),
        };
        readiness.ask(move || vec![listing.clone()]);
        let (status, _, body) = get(&readiness, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body, "[-]directory Company.crm.milo.io: listing\nreadyz check failed\n");
    }

    #[tokio::test]
    async fn an_optional_part_is_listed_and_does_not_block_readiness() {
        let readiness = Readiness::default();
        let forbidden = PartReport {
            name: "directory User.iam.miloapis.com".into(),
            state: PartState::Impaired("forbidden".into()),
        };
        readiness.ask(move || vec![forbidden.clone()]);
        let (status, _, body) = get(&readiness, "/readyz").await;
        assert_eq!(status, StatusCode::OK);
        assert!(
            body.starts_with("[!]directory User.iam.miloapis.com: forbidden (does not block readiness)\n"),
            "{body}"
        );
    }

    #[tokio::test]
    async fn metrics_are_openmetrics() {
        let (status, content_type, body) = get(&Readiness::default(), "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        assert!(body.contains("crm_admission_panics_total 0"), "{body}");
    }

    #[tokio::test]
    async fn head_is_answered_like_get_without_a_body() {
        let (status, _, body) = call(&Readiness::default(), Method::HEAD, "/readyz").await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, ""));
    }

    #[tokio::test]
    async fn other_methods_are_rejected() {
        let (status, _, body) = call(&Readiness::default(), Method::POST, "/metrics").await;
        assert_eq!((status, body.as_str()), (StatusCode::METHOD_NOT_ALLOWED, "only GET is allowed\n"));
    }

    #[tokio::test]
    async fn unknown_paths_get_the_list_of_paths() {
        let (status, _, body) = get(&Readiness::default(), "/healthz").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(body, "no such path; use /livez, /readyz or /metrics\n");
    }
}
