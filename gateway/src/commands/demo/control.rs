//! The demo's light switches: stop and start a region from another terminal.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::DemoFault;
use super::regions::Region;
use crate::admin::server::{self, Answer, json_answer, method_not_allowed, problem};

/// Serves the switches on loopback and returns where.
pub(super) async fn serve(port: u16, regions: Arc<Vec<Region>>) -> Result<SocketAddr, DemoFault> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    let answer = move |head: Parts, _| -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let regions = Arc::clone(&regions);
        Box::pin(async move { respond(&head, &regions).await })
    };
    tokio::spawn(server::serve(listener, address, Arc::new(answer)));
    Ok(address)
}

async fn respond(head: &Parts, regions: &[Region]) -> Answer {
    let segments: Vec<&str> = head.uri.path().trim_matches('/').split('/').collect();
    match segments.as_slice() {
        ["regions"] if head.method == Method::GET => json_answer(StatusCode::OK, &states(regions).await),
        ["regions", name, verb @ ("stop" | "start")] => {
            if head.method != Method::POST {
                return method_not_allowed("POST");
            }
            let Some(region) = regions.iter().find(|region| region.name == *name) else {
                return problem(StatusCode::NOT_FOUND, "there is no such region");
            };
            if *verb == "stop" {
                region.stop().await;
            } else if let Err(fault) = region.start().await {
                return problem(StatusCode::INTERNAL_SERVER_ERROR, &fault.to_string());
            }
            json_answer(StatusCode::OK, &states(regions).await)
        }
        _ => problem(
            StatusCode::NOT_FOUND,
            "GET /regions, POST /regions/NAME/stop or POST /regions/NAME/start",
        ),
    }
}

async fn states(regions: &[Region]) -> Value {
    let mut states = serde_json::Map::new();
    for region in regions {
        let word = if region.is_running().await {
            "running"
        } else {
            "stopped"
        };
        states.insert(region.name.to_owned(), json!(word));
    }
    Value::Object(states)
}
