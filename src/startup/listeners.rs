//! The listeners: the one for everybody, with TLS where it is set, and the one for those who watch
//! the service. Each is an HTTP server of its own.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::{
    App as WebApp, HttpServer,
    dev::{Server, ServerHandle},
    middleware::Condition,
    web,
};

use super::{StartError, connections::Connections};
use crate::{
    config::ServerSettings,
    http::{self, edge, edge::Edge, state::AppState},
};

/// The bound sockets of a service.
pub struct Listeners {
    public: TcpListener,
    internal: Option<TcpListener>,
}

impl Listeners {
    /// Binds them.
    ///
    /// # Errors
    /// An address cannot be bound.
    pub fn bind(settings: &ServerSettings) -> Result<Self, StartError> {
        let bind = |key: &'static str, address: &str| {
            TcpListener::bind(address).map_err(|source| StartError::Bind {
                key,
                address: address.to_owned(),
                source,
            })
        };
        Ok(Listeners {
            public: bind("server.bind, or BIND_ADDR", &settings.bind)?,
            internal: settings
                .internal_bind
                .as_deref()
                .map(|address| bind("server.internal_bind", address))
                .transpose()?,
        })
    }

    /// The address of the one for everybody.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Starts to serve, and says so in the log.
    pub fn serve(self, app: &web::Data<AppState>) -> Result<Serving, StartError> {
        let settings = app.settings.server.clone();
        let address = self.address()?;
        let public = public(self.public, app)?;
        let internal_address = self.internal.as_ref().map(TcpListener::local_addr).transpose()?;
        let internal = self.internal.map(|listener| internal(listener, app)).transpose()?;
        let handles = std::iter::once(&public).chain(&internal).map(Server::handle).collect();
        let servers = futures_util::future::try_join_all(std::iter::once(public).chain(internal));
        let task = tokio::spawn(async move { servers.await.map(|_| ()) });
        tracing::info!(
            %address,
            internal_address = internal_address.map(tracing::field::display),
            tls = settings.tls().is_some(),
            version = env!("CARGO_PKG_VERSION"),
            database = app.store.dialect(),
            "listening"
        );
        Ok(Serving { handles, task })
    }
}

/// Servers that run.
pub struct Serving {
    handles: Vec<ServerHandle>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Serving {
    /// Takes no more connections, and waits until the requests under way have ended.
    pub async fn stop(self) -> std::io::Result<()> {
        futures_util::future::join_all(self.handles.iter().map(|handle| handle.stop(true))).await;
        self.task.await.map_err(std::io::Error::other)?
    }
}

/// The server for everybody.
fn public(listener: TcpListener, app: &web::Data<AppState>) -> Result<Server, StartError> {
    let settings = &app.settings.server;
    let workers = match settings.workers {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        workers => workers,
    };
    let (shared, has_cors) = (app.clone(), settings.cors_origins.is_some());
    let connections = Connections::new(settings, &app.metrics)?;
    let server = HttpServer::new(move || {
        let routed = shared.clone();
        WebApp::new()
            .app_data(shared.clone())
            .wrap(Condition::new(has_cors, edge::cors(&shared.settings.server)))
            .configure(move |config| http::routes(config, &routed))
    })
    .workers(workers)
    .max_connections(settings.max_connections)
    .backlog(4096)
    .client_request_timeout(Duration::from_millis(settings.read_timeout_ms))
    .client_disconnect_timeout(Duration::from_secs(1))
    .shutdown_timeout(settings.shutdown_timeout_seconds)
    .disable_signals()
    .on_connect(move |connection, data| connections.begin(connection, data));
    let server = match &app.certificate {
        None => server.listen(listener)?,
        Some(certificate) => {
            let config = certificate.server_config().map_err(std::io::Error::other)?;
            server.listen_rustls_0_23(listener, config)?
        }
    };
    Ok(server.run())
}

/// The server for those who watch: one thread is enough.
fn internal(listener: TcpListener, app: &web::Data<AppState>) -> Result<Server, StartError> {
    let settings = &app.settings.server;
    let (shared, edge) = (app.clone(), Arc::new(Edge::internal(&app.settings)?));
    let server = HttpServer::new(move || {
        let (routed, edge) = (shared.clone(), edge.clone());
        WebApp::new()
            .app_data(shared.clone())
            .configure(move |config| http::internal_routes(config, &routed, &edge))
    })
    .workers(1)
    .client_request_timeout(Duration::from_millis(settings.read_timeout_ms))
    .client_disconnect_timeout(Duration::from_secs(1))
    .shutdown_timeout(settings.shutdown_timeout_seconds)
    .disable_signals()
    .listen(listener)?;
    Ok(server.run())
}
