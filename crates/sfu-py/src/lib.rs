//! Python skin over the worker and the bots: converts, releases the GIL, maps errors; holds no logic.
use pyo3::prelude::*;

/// Native module `meeshy_sfu._core`.
#[pymodule]
mod _core {
    #[pymodule_export]
    const BUILD_PROFILE: &str = if cfg!(debug_assertions) { "debug" } else { "release" };
}
