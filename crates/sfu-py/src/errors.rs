//! Errors of the crates below as exceptions of `meeshy_sfu.errors`.
//!
//! # Job
//! One function per Rust error. The exceptions live in Python, so that they can be imported, documented and caught
//! without this module.

use meeshy_sfu_bot::PoolError;
use meeshy_sfu_io::BindError;
use meeshy_sfu_worker::{RequestError, StartError};
use pyo3::PyErr;

#[allow(missing_docs, reason = "documented in meeshy_sfu/errors.py")]
mod python {
    use pyo3::import_exception;

    import_exception!(meeshy_sfu.errors, AddressUnavailableError);
    import_exception!(meeshy_sfu.errors, BindPermissionError);
    import_exception!(meeshy_sfu.errors, CapacityError);
    import_exception!(meeshy_sfu.errors, CertificateError);
    import_exception!(meeshy_sfu.errors, ConfigError);
    import_exception!(meeshy_sfu.errors, ForkError);
    import_exception!(meeshy_sfu.errors, InvalidRequestError);
    import_exception!(meeshy_sfu.errors, InvalidStateError);
    import_exception!(meeshy_sfu.errors, NotFoundError);
    import_exception!(meeshy_sfu.errors, PortInUseError);
    import_exception!(meeshy_sfu.errors, WorkerDiedError);
    // Two crates have an error of this name, so this one keeps Python's module in front.
    import_exception!(meeshy_sfu.errors, StartError);
}

/// A worker did not start.
pub(crate) fn not_started(error: &StartError) -> PyErr {
    let text = error.to_string();
    match error {
        StartError::Bind(BindError::PortInUse { .. }) => python::PortInUseError::new_err(text),
        StartError::Bind(BindError::PermissionDenied { .. }) => {
            python::BindPermissionError::new_err(text)
        }
        StartError::Bind(BindError::NoSuchAddress { .. } | BindError::FamilyUnsupported { .. }) => {
            python::AddressUnavailableError::new_err(text)
        }
        StartError::Listen(_) | StartError::Cpu { .. } => python::ConfigError::new_err(text),
        StartError::Certificate(_) => python::CertificateError::new_err(text),
        _ => python::StartError::new_err(text),
    }
}

/// A worker did not take a request.
pub(crate) fn not_taken(error: &RequestError) -> PyErr {
    let text = error.to_string();
    match error {
        RequestError::Full => python::CapacityError::new_err(text),
        _ => python::WorkerDiedError::new_err(text),
    }
}

/// A pool did not start.
pub(crate) fn no_pool(error: &PoolError) -> PyErr {
    let text = error.to_string();
    match error {
        PoolError::Clip(_) | PoolError::Invalid(_) => python::ConfigError::new_err(text),
        _ => python::StartError::new_err(text),
    }
}

/// A pool refused a call.
pub(crate) fn refused(error: &PoolError) -> PyErr {
    let text = error.to_string();
    match error {
        PoolError::UnknownBot(_) => python::NotFoundError::new_err(text),
        PoolError::Invalid(_) => python::InvalidRequestError::new_err(text),
        PoolError::Stopped => python::InvalidStateError::new_err(text),
        PoolError::Clip(_) => python::ConfigError::new_err(text),
        _ => python::StartError::new_err(text),
    }
}

/// A configuration cannot be read.
pub(crate) fn bad_config(error: &serde_json::Error) -> PyErr {
    python::ConfigError::new_err(format!("malformed configuration: {error}"))
}

/// An argument cannot be read.
pub(crate) fn bad_argument(error: &serde_json::Error) -> PyErr {
    python::InvalidRequestError::new_err(format!("malformed argument: {error}"))
}

/// A request cannot be read; names the command, as one of its many keys may be the wrong one.
pub(crate) fn bad_request(json: &str, error: &serde_json::Error) -> PyErr {
    let request: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    match request
        .pointer("/command/type")
        .and_then(|name| name.as_str())
    {
        Some(name) => {
            python::InvalidRequestError::new_err(format!("malformed command {name}: {error}"))
        }
        None => bad_argument(error),
    }
}

/// The object belongs to the parent process.
pub(crate) fn forked() -> PyErr {
    python::ForkError::new_err(
        "this object works in the parent process only; start workers and bots after the fork, or use spawn",
    )
}
