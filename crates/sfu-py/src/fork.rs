//! Forks: threads do not survive them, so what owns threads must not be used, or waited for, in a child.
//!
//! # Job
//! Remembers which process made an object, and counts what runs, to tell of a fork when it happens. Python cannot
//! be kept from forking; the error of the hook is printed, and raised for good when the child uses the object.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Something with threads, owned by the process that made it.
#[derive(Debug)]
pub(crate) struct Guarded<T> {
    value: Option<T>,
    process: u32,
}

impl<T> Guarded<T> {
    /// Takes note of a running `value`.
    pub(crate) fn new(value: T) -> Self {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        Guarded {
            value: Some(value),
            process: std::process::id(),
        }
    }

    /// The value, unless the process is a forked child.
    pub(crate) fn get(&self) -> PyResult<&T> {
        if self.process != std::process::id() {
            return Err(errors::forked());
        }
        Ok(self
            .value
            .as_ref()
            .expect("invariant: only drop takes the value"))
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            RUNNING.fetch_sub(1, Ordering::Relaxed);
        } else {
            // Dropping would wait for threads that this process does not have.
            std::mem::forget(self.value.take());
        }
    }
}

/// Has Python tell of forks while something runs.
pub(crate) fn watch(py: Python<'_>) -> PyResult<()> {
    let arguments = PyDict::new(py);
    arguments.set_item("before", wrap_pyfunction!(before_fork, py)?)?;
    py.import("os")?
        .call_method("register_at_fork", (), Some(&arguments))?;
    Ok(())
}

#[pyfunction]
fn before_fork() -> PyResult<()> {
    match RUNNING.load(Ordering::Relaxed) {
        0 => Ok(()),
        live => Err(errors::forking(live)),
    }
}
