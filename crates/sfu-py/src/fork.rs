//! Forks: threads do not survive them, so what owns threads must not be used, or waited for, in a child.
//!
//! # Job
//! Remembers which process made an object; a child that uses it gets an error. The fork itself is let pass: most
//! are followed by an exec, as when a subprocess is started, and then nothing is lost.

use pyo3::prelude::*;

use crate::errors;

/// Something with threads, owned by the process that made it.
#[derive(Debug)]
pub(crate) struct Guarded<T> {
    value: Option<T>,
    process: u32,
}

impl<T> Guarded<T> {
    /// Takes note of the process that made `value`.
    pub(crate) fn new(value: T) -> Self {
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
        if self.process != std::process::id() {
            // Dropping would wait for threads that this process does not have.
            std::mem::forget(self.value.take());
        }
    }
}
