//! `_core.Worker`: one native worker with its queues.

use std::net::IpAddr;

use meeshy_sfu_worker::{Request, WorkerConfig};
use pyo3::prelude::*;
use serde::Deserialize;

use crate::errors;
use crate::fork::Guarded;

/// One pinned thread that owns a UDP port, the same TCP port, and routers.
#[derive(Debug)]
#[pyclass(frozen, module = "meeshy_sfu._core")]
pub(crate) struct Worker {
    inner: Guarded<meeshy_sfu_worker::Worker>,
}

/// What Python says about a worker; the certificate comes beside it, as it is secret.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    index: u32,
    listen: Vec<IpAddr>,
    announced: Option<String>,
    port: u16,
    pin_cpu: Option<usize>,
    allow_panic: bool,
    allow_faults: bool,
    window_max_us: u32,
    gso: bool,
    /// Of TCP; absent: the worker's own default.
    max_connections: Option<u16>,
}

/// What `worker_metrics` of the module returns.
pub(crate) fn metrics() -> String {
    serde_json::to_string(&meeshy_sfu_worker::metrics::families())
        .expect("invariant: names, words and numbers are JSON")
}

#[pymethods]
impl Worker {
    #[new]
    fn new(
        py: Python<'_>,
        config_json: &str,
        certificate_der: Vec<u8>,
        key_pkcs8_der: Vec<u8>,
    ) -> PyResult<Self> {
        let config: Config =
            serde_json::from_str(config_json).map_err(|e| errors::bad_config(&e))?;
        let defaults = WorkerConfig::new(certificate_der, key_pkcs8_der);
        let config = WorkerConfig {
            index: config.index,
            listen: config.listen,
            announced: config.announced,
            port: config.port,
            pin_cpu: config.pin_cpu,
            allow_panic: config.allow_panic,
            allow_faults: config.allow_faults,
            window_max_us: config.window_max_us,
            gso: config.gso,
            max_connections: config.max_connections.unwrap_or(defaults.max_connections),
            ..defaults
        };
        let worker = py
            .detach(|| meeshy_sfu_worker::Worker::start(config))
            .map_err(|e| errors::not_started(&e))?;
        Ok(Worker {
            inner: Guarded::new(worker),
        })
    }

    #[getter]
    fn event_fd(&self) -> PyResult<i32> {
        Ok(self.inner.get()?.event_fd())
    }

    #[getter]
    fn port(&self) -> PyResult<u16> {
        Ok(self.inner.get()?.port())
    }

    fn request(&self, request_json: &str) -> PyResult<()> {
        let worker = self.inner.get()?;
        let request: Request = serde_json::from_str(request_json)
            .map_err(|e| errors::bad_request(request_json, &e))?;
        worker.request(request).map_err(|e| errors::not_taken(&e))
    }

    #[pyo3(signature = (max = 4096))]
    fn events(&self, max: usize) -> PyResult<Vec<String>> {
        let events = self.inner.get()?.drain_events(max);
        Ok(events
            .iter()
            .map(|event| {
                serde_json::to_string(event)
                    .expect("invariant: events have string keys and finite numbers")
            })
            .collect())
    }

    fn alive(&self) -> PyResult<bool> {
        Ok(self.inner.get()?.is_alive())
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let worker = self.inner.get()?;
        py.detach(|| worker.close());
        Ok(())
    }
}
