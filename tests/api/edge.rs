//! The edge: limits of one client, proxies, TLS, headers for browsers, the listeners.

mod bounds;
mod headers;
mod limits;
mod listener;
mod metadata;
mod secrets;
pub mod tls;

use std::net::IpAddr;

use reqwest::{Client, Response};

use crate::support::{Service, service::Launch};

const REQUESTS: &str = "FACILITY_SUMMARY__LIMITS__REQUESTS_PER_MINUTE";
const CONCURRENT: &str = "FACILITY_SUMMARY__LIMITS__CONCURRENT_REQUESTS";
const EVENT_BYTES: &str = "FACILITY_SUMMARY__LIMITS__EVENT_BYTES_PER_MINUTE";
const PROXIES: &str = "FACILITY_SUMMARY__SERVER__TRUSTED_PROXIES";

/// A setting of `[server]`.
fn server(launch: Launch, key: &str, value: impl ToString) -> Launch {
    launch.env(&format!("FACILITY_SUMMARY__SERVER__{}", key.to_uppercase()), value)
}

/// A client that asks from this address of the machine.
fn client_at(address: &str) -> Client {
    let address: IpAddr = address.parse().unwrap();
    Client::builder().no_proxy().local_address(address).build().unwrap()
}

async fn get_from(client: &Client, service: &Service, path: &str) -> Response {
    client.get(format!("http://{}{path}", service.address)).send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    Some(response.headers().get(name)?.to_str().unwrap())
}

/// The value of a metric, or 0 where it has none yet.
async fn metric(service: &Service, name: &str) -> f64 {
    metric_of(&service.get("/metrics").await.text().await.unwrap(), name)
}

fn metric_of(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}
