//! Python skin over the worker and the bots: converts, releases the GIL, maps errors; holds no logic.
//!
//! # Job
//! The native module `meeshy_sfu._core`. Its manual is the stub `meeshy_sfu/_core.pyi`, which a test compares
//! with this module.
//!
//! # Invariants
//! - Nothing that waits holds the GIL, and no thread of ours ever takes it.
//! - Only exceptions of `meeshy_sfu.errors` are raised.
//! - Objects are useless in a forked child and say so: threads do not survive a fork.
#![forbid(unsafe_code)]

mod bots;
mod errors;
mod fork;
mod worker;

use pyo3::prelude::*;

/// Native module `meeshy_sfu._core`.
///
/// It does not claim to run without the GIL: the classes are ready for it, the Python package above is not.
#[pymodule(gil_used = true)]
mod _core {
    use pyo3::exceptions::PyRuntimeWarning;
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::bots::BotPool;
    #[pymodule_export]
    use crate::worker::Worker;

    #[pymodule_export]
    const BUILD_PROFILE: &str = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };

    /// The metrics of a worker, as JSON: see the stub.
    #[pyfunction]
    fn worker_metrics() -> String {
        crate::worker::metrics()
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        if cfg!(debug_assertions) {
            PyErr::warn(
                py,
                &py.get_type::<PyRuntimeWarning>(),
                c"meeshy_sfu._core is a debug build, many times slower than a release build",
                1,
            )?;
        }
        Ok(())
    }
}
